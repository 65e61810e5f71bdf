//! From the properties of a ZFS dataset to what it is formatted as. There is no `CONFIGS/mountdata` on ZFS: each of its fields
//! is a user property. Source: mountdata specification, section 8.

use super::{Content, Marker, target};
use crate::host::{Signature, chain, zfs::Properties};
use lustre_types::Dataset;
use lustre_wire::mountdata::{Flags, MountType, Mountdata, Params};

/// Says that a dataset is an unfinished format, and of what: `<svname> <uuid>`. Not below `lustre:`, which the kernel reads.
pub const MARK: &str = "lustre-agent:unfinished";
/// Says that a change of a finished target is half done, and of what: the label that it is to have. It does not start then.
pub const CHANGING: &str = "lustre-agent:changing";
/// The label of an ldiskfs target.
pub const SVNAME: &str = "lustre:svname";
/// The UUID that a format chose: what tells this target from another of the same name.
pub const UUID: &str = "lustre-agent:uuid";
/// What makes a dataset a Lustre target.
pub const VERSION: &str = "lustre:version";
/// Before every property of Lustre.
pub const PREFIX: &str = "lustre:";

/// What is in a dataset, from its properties.
pub(super) fn content(dataset: &Dataset, properties: &Properties) -> Content {
    if let Some(text) = properties.own.get(MARK) {
        return match marker(text) {
            Some(marker) => Content::Target(Box::new(target::from_marker(&marker, properties.size_bytes()))),
            None => unreadable(properties, format!("{MARK} is {text:?}")),
        };
    }
    if !properties.own.contains_key(VERSION) {
        return Content::Foreign(vec![Signature::of_dataset(&dataset.to_string(), guid(properties))]);
    }
    let volume =
        target::Volume { uuid: uuid(properties), size_bytes: properties.size_bytes(), label: label(properties) };
    match mountdata(properties).and_then(|file| target::of_volume(volume, &file, false)) {
        Ok(formatted_as) => Content::Target(Box::new(formatted_as)),
        Err(why) => unreadable(properties, why),
    }
}

fn unreadable(properties: &Properties, why: String) -> Content {
    Content::Unreadable { label: label(properties), uuid: uuid(properties), why }
}

fn marker(text: &str) -> Option<Marker> {
    let (svname, uuid) = text.split_once(' ')?;
    Some(Marker { svname: svname.parse().ok()?, uuid: uuid.parse().ok()? })
}

fn label(properties: &Properties) -> String {
    properties.own.get(SVNAME).cloned().unwrap_or_default()
}

/// What tells the target from another of its name: of one that `mkfs.lustre` made there is only ZFS's own.
pub fn uuid(properties: &Properties) -> String {
    properties.own.get(UUID).cloned().or_else(|| guid(properties)).unwrap_or_default()
}

fn guid(properties: &Properties) -> Option<String> {
    properties.native.get("guid").filter(|guid| *guid != "-").cloned()
}

/// The file that an ldiskfs target would have. Errors: in words, which property is wrong.
pub fn mountdata(properties: &Properties) -> Result<Mountdata, String> {
    let mut file = Mountdata::blank();
    file.mount_type = MountType::ZFS;
    let mut params = Params::default();
    for (name, value) in &properties.own {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        let number = || value.parse::<u32>().map_err(|_| format!("{name} is {value:?}, no number"));
        let set = match key {
            "version" => number().map(|version| file.config_ver = version),
            "flags" => number().map(|flags| file.flags = Flags(flags)),
            "index" => number().map(|index| file.svindex = index),
            "fsname" => file.fsname.set(value).map_err(|error| chain(&error)),
            "svname" => file.svname.set(value).map_err(|error| chain(&error)),
            "uuid" => file.uuid.set(value).map_err(|error| chain(&error)),
            "userdata" => file.userdata.set(value).map_err(|error| chain(&error)),
            "mountopts" => file.mount_opts.set(value).map_err(|error| chain(&error)),
            _ if value.is_empty() || value.contains(char::is_whitespace) => {
                Err(format!("{name} is {value:?}, no value of a parameter"))
            }
            _ => {
                params.push(key, value.clone());
                Ok(())
            }
        };
        set?;
    }
    file.params.set(&params.to_string()).map_err(|error| chain(&error))?;
    Ok(file)
}

/// The properties that say what `file` says, in the order in which they are set: the one that makes it a target comes last.
/// Errors: in words, what is no list of parameters.
pub fn properties_of(file: &Mountdata) -> Result<Vec<(String, String)>, String> {
    let params = Params::parse(&file.params.to_string_lossy()).map_err(|error| chain(&error))?;
    let mut properties = vec![
        ("flags".to_owned(), file.flags.0.to_string()),
        ("index".to_owned(), file.svindex.to_string()),
        ("fsname".to_owned(), file.fsname.to_string_lossy()),
        ("uuid".to_owned(), file.uuid.to_string_lossy()),
        ("userdata".to_owned(), file.userdata.to_string_lossy()),
        ("mountopts".to_owned(), file.mount_opts.to_string_lossy()),
    ];
    properties.extend(params.0.into_iter().map(|entry| (entry.key, entry.value)));
    properties.push(("svname".to_owned(), file.svname.to_string_lossy()));
    properties.push(("version".to_owned(), file.config_ver.to_string()));
    // An empty value would not be kept.
    properties.retain(|(_, value)| !value.is_empty());
    Ok(properties.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::mountdata::Mkfs;

    fn properties(own: &[(String, String)]) -> Properties {
        let native = [("used", "1000"), ("available", "2000"), ("guid", "77")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Properties { own: own.iter().cloned().collect(), native: native.into() }
    }

    fn target() -> Vec<(String, String)> {
        let mut mkfs = Mkfs::new("gold-OST0003".parse().unwrap(), Some("10.9.0.1@tcp:10.9.0.2@tcp".parse().unwrap()));
        mkfs.params.push("autodegrade", "on");
        mkfs.comment = Some("rack 7, left".to_owned());
        properties_of(&mkfs.mountdata().unwrap()).unwrap()
    }

    #[test]
    fn properties_say_what_the_file_would_say_and_the_version_comes_last() {
        let own = target();
        let text: Vec<String> = own.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            text,
            [
                "lustre:flags=98",
                "lustre:index=3",
                "lustre:fsname=gold",
                "lustre:userdata=rack 7, left",
                "lustre:mountopts=errors=remount-ro",
                "lustre:mgsnode=10.9.0.1@tcp:10.9.0.2@tcp",
                "lustre:autodegrade=on",
                "lustre:svname=gold:OST0003",
                "lustre:version=1",
            ]
        );
        let dataset = "tank/ost3".parse().unwrap();
        let Content::Target(found) = content(&dataset, &properties(&own)) else { panic!("no target") };
        assert_eq!((found.svname.to_string().as_str(), found.label.as_str()), ("gold-OST0003", "gold:OST0003"));
        assert_eq!((found.registered, found.incomplete, found.size_bytes), (false, false, 3000));
        assert_eq!((found.uuid.as_str(), found.comment.as_str()), ("77", "rack 7, left"));
        assert_eq!(found.params, [("autodegrade".to_owned(), "on".to_owned())].into());
        assert_eq!(found.mgs_nids.unwrap().to_string(), "10.9.0.1@tcp:10.9.0.2@tcp");
    }

    #[test]
    fn an_unfinished_dataset_is_no_target_and_a_plain_one_is_foreign() {
        let dataset = "tank/ost3".parse().unwrap();
        let mut own = target();
        own.push((MARK.to_owned(), format!("gold-OST0003 {}", uuid::Uuid::nil())));
        let Content::Target(found) = content(&dataset, &properties(&own)) else { panic!("not ours") };
        assert!(found.incomplete && !found.registered);
        let plain = content(&dataset, &properties(&[]));
        assert_eq!(plain.to_string(), "zfs_dataset label=tank/ost3 uuid=77");
        for broken in [("lustre:flags", "x"), ("lustre:sys.timeout", ""), ("lustre:svname", "?"), (MARK, "half")] {
            let mut own = target();
            own.retain(|(name, _)| name != broken.0);
            own.push((broken.0.to_owned(), broken.1.to_owned()));
            assert!(matches!(content(&dataset, &properties(&own)), Content::Unreadable { .. }), "{broken:?}");
        }
    }
}
