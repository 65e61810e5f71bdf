//! Several files as one description.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use lustre_api::plan::{Desired, ObjectKey};
use sha2::{Digest, Sha256};

/// One file.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) text: Vec<u8>,
}

/// What all files say together. Errors: one that is no description, an object that two of them describe, no file at all: an
/// empty directory is more often a mistake than a wish.
pub(super) fn merged(parts: Vec<Part>) -> anyhow::Result<Desired> {
    ensure!(!parts.is_empty(), "there is no file *.json in it; one with {{}} says that nothing is wanted");
    let mut all = Desired::default();
    let mut owners: BTreeMap<ObjectKey, String> = BTreeMap::new();
    for Part { name, text } in parts {
        let one: Desired = serde_json::from_slice(&text).with_context(|| format!("{name} is not a description"))?;
        for key in keys(&one) {
            if let Some(other) = owners.get(&key) {
                anyhow::bail!("{key} is described twice: in {other} and in {name}");
            }
            owners.insert(key, name.clone());
        }
        let Desired { filesystems, targets, params, pools, nodemaps, nodemaps_active, mgs_proxies, absent } = one;
        all.filesystems.extend(filesystems);
        all.targets.extend(targets);
        all.params.extend(params);
        all.pools.extend(pools);
        all.nodemaps.extend(nodemaps);
        all.nodemaps_active = all.nodemaps_active.or(nodemaps_active);
        all.mgs_proxies.extend(mgs_proxies);
        all.absent.extend(absent);
    }
    Ok(all)
}

fn keys(desired: &Desired) -> impl Iterator<Item = ObjectKey> {
    let filesystems = desired.filesystems.iter().map(|spec| ObjectKey::Filesystem { name: spec.name.clone() });
    let targets = desired.targets.iter().map(|wanted| {
        let (node, device) = (wanted.target.node.clone(), wanted.target.device.clone());
        ObjectKey::NewTarget { node, device }
    });
    let params = desired.params.iter().map(|spec| {
        let (filesystem, scope, name) = (spec.filesystem.clone(), spec.scope.clone(), spec.name.clone());
        ObjectKey::Param { filesystem, scope, name }
    });
    let pools = desired.pools.iter().map(|spec| {
        let (filesystem, name) = (spec.filesystem.clone(), spec.name.clone());
        ObjectKey::Pool { filesystem, name }
    });
    let nodemaps = desired.nodemaps.iter().map(|spec| ObjectKey::Nodemap { name: spec.name.clone() });
    let nodemaps = nodemaps.chain(desired.nodemaps_active.map(|_| ObjectKey::Nodemaps {}));
    let proxies = desired.mgs_proxies.iter().map(|spec| ObjectKey::MgsProxy { node: spec.node.clone() });
    let others = nodemaps.chain(proxies).chain(desired.absent.iter().cloned());
    filesystems.chain(targets).chain(params).chain(pools).chain(others)
}

/// SHA-256 of all of it, in hex.
pub(super) fn sha256(texts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, text: &str) -> Part {
        Part { name: name.into(), text: text.into() }
    }

    #[test]
    fn files_are_one_description_and_no_object_is_in_two() {
        let (scratch, home) = (r#"{"filesystems": [{"name": "scratch"}]}"#, r#"{"filesystems": [{"name": "home"}]}"#);
        let both = merged(vec![part("a.json", scratch), part("b.json", home)]).unwrap();
        assert_eq!(both.filesystems.len(), 2);
        let twice = merged(vec![part("a.json", scratch), part("b.json", scratch)]).unwrap_err().to_string();
        assert_eq!(twice, "filesystem scratch is described twice: in a.json and in b.json");
        let contrary = r#"{"absent": [{"kind": "filesystem", "name": "scratch"}]}"#;
        assert!(merged(vec![part("a.json", scratch), part("b.json", contrary)]).is_err());
    }

    #[test]
    fn what_is_no_description_is_named() {
        let wrong = merged(vec![part("a.json", "{}"), part("b.json", r#"{"filesystem": []}"#)]).unwrap_err();
        assert!(format!("{wrong:#}").starts_with("b.json is not a description: unknown field"), "{wrong:#}");
        assert!(merged(vec![]).is_err());
    }
}
