//! Targets that the userspace driver has started, across restarts of the agent: the kernel's tables know nothing of them.

use super::{Device, HostError};
use lustre_types::SvName;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// A started target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedTarget {
    /// Its name.
    pub svname: SvName,
    /// The canonical path of its device.
    pub device: PathBuf,
    /// How often it was started.
    pub instance: u32,
    /// Whether it is started now; its count outlives a stop.
    pub is_started: bool,
}

/// Every target that was ever started here by the userspace driver: one small file each.
#[derive(Debug, Default)]
pub struct Served {
    dir: Option<PathBuf>,
    targets: Mutex<BTreeMap<SvName, ServedTarget>>,
}

impl Served {
    /// Reads what the agent before left in `dir`. Errors: a directory that can't be read, a file that is none of ours.
    pub fn open(dir: &Path) -> Result<Self, HostError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(HostError::io("create", dir))?;
        let mut targets = BTreeMap::new();
        for name in super::devices::names_in(dir)? {
            let path = dir.join(&name);
            if !name.ends_with(".json") {
                continue;
            }
            let bytes = fs::read(&path).map_err(HostError::io("read", &path))?;
            let target: ServedTarget = serde_json::from_slice(&bytes).map_err(|error| HostError::Io {
                what: "understand",
                path: path.clone(),
                source: error.into(),
            })?;
            targets.insert(target.svname.clone(), target);
        }
        Ok(Self { dir: Some(dir.to_owned()), targets: Mutex::new(targets) })
    }

    /// Those that are started.
    pub fn started(&self) -> Vec<ServedTarget> {
        self.targets().values().filter(|target| target.is_started).cloned().collect()
    }

    /// The started target on a device.
    pub fn on(&self, device: &Device) -> Option<ServedTarget> {
        let targets = self.targets();
        targets.values().find(|target| target.is_started && target.device == device.path).cloned()
    }

    /// Notes that a target is about to be started, once more than before; durable when this returns.
    /// Errors: nothing can be written.
    pub fn start(&self, svname: &SvName, device: &Device) -> Result<ServedTarget, HostError> {
        let mut targets = self.targets();
        let instance = targets.get(svname).map_or(0, |target| target.instance) + 1;
        let target = ServedTarget { svname: svname.clone(), device: device.path.clone(), instance, is_started: true };
        self.write(&target)?;
        targets.insert(svname.clone(), target.clone());
        Ok(target)
    }

    /// Notes that a target is not started any more. Errors: nothing can be written.
    pub fn stop(&self, svname: &SvName) -> Result<(), HostError> {
        let mut targets = self.targets();
        if let Some(target) = targets.get(svname).filter(|target| target.is_started) {
            let target = ServedTarget { is_started: false, ..target.clone() };
            self.write(&target)?;
            targets.insert(svname.clone(), target);
        }
        Ok(())
    }

    fn write(&self, target: &ServedTarget) -> Result<(), HostError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.join(format!("{}.json", target.svname));
        let json = serde_json::to_vec(target).expect("names, paths and numbers");
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(&json)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            fs::File::open(dir)?.sync_all()
        };
        write().map_err(HostError::io("write", &path))
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<SvName, ServedTarget>> {
        self.targets.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::DeviceKind;

    #[test]
    fn a_start_is_remembered_and_counted_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let svname: SvName = "gold-OST0001".parse().unwrap();
        let device = Device::plain("/images/ost1".into(), "ost1", DeviceKind::Image, 1);
        let served = Served::open(dir.path()).unwrap();
        assert_eq!(served.start(&svname, &device).unwrap().instance, 1);
        let again = Served::open(dir.path()).unwrap();
        assert_eq!(again.on(&device).unwrap().svname, svname);
        again.stop(&svname).unwrap();
        let third = Served::open(dir.path()).unwrap();
        assert!(third.on(&device).is_none() && third.started().is_empty());
        assert_eq!(third.start(&svname, &device).unwrap().instance, 2);
    }
}
