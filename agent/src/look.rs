//! Looks at many devices, each in a time of its own.
//!
//! A disk that does not answer keeps whoever reads it for as long as it likes, and can't be interrupted. So each device is
//! looked at in a thread of its own: one that does not come back in time is left alone and told of, and until it does come back
//! no other look at that device begins.

use crate::host::{Device, Host};
use lustre_api::device;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How often a cancel is looked for.
const POLL: Duration = Duration::from_millis(50);
/// Devices that are looked at at once: the work is waiting for disks.
const AT_ONCE: usize = 8;

/// Looks that have not come back yet, by device.
#[derive(Clone, Debug, Default)]
pub struct Looking(Arc<Mutex<BTreeMap<PathBuf, Instant>>>);

impl Looking {
    /// For how long a look at the device has been under way; none where there is none.
    pub fn since(&self, device: &Path) -> Option<Duration> {
        self.devices().get(device).map(Instant::elapsed)
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of looking at a device.
#[derive(Debug)]
pub enum Look {
    /// What is on it.
    Seen(Box<device::Device>),
    /// It has not answered for so long.
    Silent(Duration),
}

/// Describes a device; another function in tests.
pub type Describe = Arc<dyn Fn(&Host, &Device) -> device::Device + Send + Sync>;

/// Looks at all devices, so many at once; gives what came of each, in their order. `tell` is told how many are done. `None`: cancelled.
pub fn look(
    host: &Arc<Host>,
    devices: &[Device],
    describe: &Describe,
    patience: Duration,
    tell: &dyn Fn(usize),
    is_cancelled: &dyn Fn() -> bool,
) -> Option<Vec<Look>> {
    let (told, answers) = mpsc::channel();
    let mut looks: Vec<Option<Look>> = devices.iter().map(|_| None).collect();
    let mut waiting = (0..devices.len()).collect::<std::collections::VecDeque<_>>();
    let mut at_work: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut done = 0;
    while done < devices.len() {
        if is_cancelled() {
            return None;
        }
        let before = done;
        while at_work.len() < AT_ONCE
            && let Some(at) = waiting.pop_front()
        {
            let device = &devices[at];
            match host.looking.since(&device.path) {
                // Whoever looks at it got no answer.
                Some(since) if since >= patience => {
                    looks[at] = Some(Look::Silent(since));
                    done += 1;
                }
                // Somebody else has only just begun; both read the same.
                _ => {
                    begin(host, device.clone(), describe.clone(), told.clone(), at);
                    at_work.insert(at, Instant::now());
                }
            }
        }
        if done == before && done < devices.len() {
            match answers.recv_timeout(POLL) {
                Ok((at, seen)) if at_work.remove(&at).is_some() => {
                    looks[at] = Some(Look::Seen(Box::new(seen)));
                    done += 1;
                }
                // Too late, or nothing yet.
                Ok(_) | Err(_) => {}
            }
        }
        at_work.retain(|at, begun| {
            let is_patient = begun.elapsed() < patience;
            if !is_patient {
                looks[*at] = Some(Look::Silent(begun.elapsed()));
                done += 1;
            }
            is_patient
        });
        if done > before {
            tell(done);
        }
    }
    Some(looks.into_iter().flatten().collect())
}

fn begin(host: &Arc<Host>, device: Device, describe: Describe, told: mpsc::Sender<(usize, device::Device)>, at: usize) {
    let host = host.clone();
    let looking = host.looking.clone();
    looking.devices().entry(device.path.clone()).or_insert_with(Instant::now);
    thread::spawn(move || {
        let seen = describe(&host, &device);
        looking.devices().remove(&device.path);
        // Nobody may be waiting any more.
        let _ = told.send((at, seen));
    });
}

/// Has something asked that may not answer; `None` where it does not in time.
pub fn ask<T: Send + 'static>(patience: Duration, question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (told, answer) = mpsc::channel();
    thread::spawn(move || told.send(question()));
    answer.recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{DeviceKind, Sysroot, Tools};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SHORT: Duration = Duration::from_millis(300);

    fn host() -> Arc<Host> {
        Arc::new(Host::new(Sysroot::default(), Tools::from_dir(None)))
    }

    fn devices(names: &[&str]) -> Vec<Device> {
        let device = |name: &&str| Device::plain(format!("/dev/{name}").into(), name, DeviceKind::Disk, 1 << 30);
        names.iter().map(device).collect()
    }

    fn describe(host: &Host, device: &Device) -> device::Device {
        let _ = host;
        device::Device::blank(device.path.to_string_lossy(), device.size_bytes)
    }

    #[test]
    fn a_disk_that_does_not_answer_is_told_of_and_no_second_look_at_it_begins() {
        let host = host();
        let devices = devices(&["sda", "sdb", "sdc"]);
        let (answer, answered) = mpsc::channel::<()>();
        let (answered, looks) = (Mutex::new(answered), Arc::new(AtomicUsize::new(0)));
        let counted = looks.clone();
        let hangs: Describe = Arc::new(move |host, device| {
            if device.name == "sdb" {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = answered.lock().unwrap().recv();
            }
            describe(host, device)
        });
        let done = Mutex::new(Vec::new());
        let tell = |count| done.lock().unwrap().push(count);
        for _ in 0..2 {
            let looks = look(&host, &devices, &hangs, SHORT, &tell, &|| false).unwrap();
            assert!(matches!(looks.as_slice(), [Look::Seen(_), Look::Silent(_), Look::Seen(_)]), "{looks:?}");
        }
        assert_eq!(done.lock().unwrap().last(), Some(&3));
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        answer.send(()).unwrap();
        let begun = Instant::now();
        while host.looking.since(&devices[1].path).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            thread::sleep(POLL);
        }
        answer.send(()).unwrap();
        let looks = look(&host, &devices, &hangs, Duration::from_secs(30), &tell, &|| false).unwrap();
        assert!(looks.iter().all(|look| matches!(look, Look::Seen(_))), "it is back: {looks:?}");
    }

    #[test]
    fn a_cancel_does_not_wait_for_a_disk() {
        let hangs: Describe = Arc::new(|_, _| {
            thread::sleep(Duration::from_secs(3600));
            unreachable!("the test is over")
        });
        let begun = Instant::now();
        let ended = look(&host(), &devices(&["sda"]), &hangs, Duration::from_secs(60), &|_| {}, &|| true);
        assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn more_disks_than_are_looked_at_at_once_are_all_looked_at_also_behind_hanging_ones() {
        let names: Vec<String> = (0..40).map(|at| format!("sd{at}")).collect();
        let devices = devices(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let some_hang: Describe = Arc::new(|host, device| {
            if device.name.len() == 3 {
                thread::sleep(Duration::from_secs(3600));
            }
            describe(host, device)
        });
        let looks = look(&host(), &devices, &some_hang, SHORT, &|_| {}, &|| false).unwrap();
        let silent = looks.iter().filter(|look| matches!(look, Look::Silent(_))).count();
        assert_eq!((looks.len(), silent), (40, 10));
    }
}
