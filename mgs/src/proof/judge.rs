//! One node's proof from what its agent read.

use lustre_api::node_param::{NodeParam, NodeParams};
use lustre_api::param::CatalogueEntry;
use lustre_api::proof::{Layer, LayerKind, NodeProof, ProofState, ProvenValue};
use lustre_plan::catalogue::{self, Agreement};
use lustre_types::{NodeName, shortened};

use super::Others;

/// The most values that a proof shows, and the most letters of each.
const MAX_VALUES: usize = 20;
const MAX_LETTERS: usize = 200;

/// What is wanted of a tunable on a node.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The tunable's name, as the catalogue has it.
    pub name: &'a str,
    /// Its id on the MGS.
    pub id: &'a str,
    /// What is set permanently.
    pub permanent: Option<&'a str>,
    /// What is set for the time being on this node, with when that ends.
    pub temporary: Option<(&'a str, String)>,
    /// What the catalogue knows of it.
    pub entry: Option<&'a CatalogueEntry>,
    /// Other tunables that are set and could stand for the same values.
    pub others: Others,
}

/// What a node's values come to. None where it has no such tunable and need not have one.
pub fn judge(node: &NodeName, wanted: &Wanted<'_>, answer: &NodeParams, is_expected: bool) -> Option<NodeProof> {
    let found: Vec<&NodeParam> = answer.found.iter().flatten().collect();
    let proof = |state, message| NodeProof { node: node.clone(), state, message, values: vec![], layers: vec![] };
    if found.is_empty() {
        let message = format!("{node} has no {}; is Lustre running there, and the target started?", wanted.name);
        return is_expected.then(|| proof(ProofState::NoSuchParameter, Some(message)));
    }
    // What another tunable wants otherwise is as it should be.
    let is_own =
        |param: &&&NodeParam| !matches!(one(wanted, param).0, ProofState::Differs) || !wanted.others.has(param);
    let mut judged: Vec<(ProofState, Option<String>, &NodeParam)> =
        found.iter().filter(is_own).map(|param| one(wanted, param)).collect();
    // The worst first: that is what the node's state is, and what is shown where there are many.
    judged.sort_by_key(|(state, _, _)| std::cmp::Reverse(weight(*state)));
    let (state, message, worst) = judged.first()?.clone();
    let values = judged.iter().take(MAX_VALUES).map(|(_, _, param)| ProvenValue {
        name: param.name.clone(),
        value: short(param.value.as_deref().unwrap_or_default()),
    });
    Some(NodeProof { values: values.collect(), layers: layers(wanted, worst, answer), ..proof(state, message) })
}

fn weight(state: ProofState) -> u8 {
    match state {
        ProofState::Applied | ProofState::NotSet => 0,
        ProofState::Unknowable => 1,
        _ => 2,
    }
}

fn one<'a>(wanted: &Wanted<'_>, param: &'a NodeParam) -> (ProofState, Option<String>, &'a NodeParam) {
    let Some(value) = &param.value else {
        let why = param.error.clone().unwrap_or_else(|| "it can't be read".to_owned());
        return (ProofState::Unknowable, Some(format!("{}: {why}", param.name)), param);
    };
    let Some(permanent) = wanted.permanent else {
        return match &wanted.temporary {
            Some((temporary, _)) => temporary_only(wanted.name, temporary, param, value),
            None => (ProofState::NotSet, None, param),
        };
    };
    match catalogue::agreement(wanted.name, permanent, value) {
        Agreement::Same => (ProofState::Applied, None, param),
        Agreement::Unknowable(why) => (ProofState::Unknowable, Some(format!("{}: {why}", param.name)), param),
        Agreement::Different => {
            let message = match &wanted.temporary {
                Some((temporary, until)) if catalogue::agreement(wanted.name, temporary, value) == Agreement::Same => {
                    format!("{} is {}: a temporary value, {until}", param.name, short(value))
                }
                _ => format!("{} is {} instead of {permanent}", param.name, short(value)),
            };
            (ProofState::Differs, Some(message), param)
        }
    }
}

fn temporary_only<'a>(
    name: &str,
    wanted: &str,
    param: &'a NodeParam,
    value: &str,
) -> (ProofState, Option<String>, &'a NodeParam) {
    match catalogue::agreement(name, wanted, value) {
        Agreement::Same => (ProofState::Applied, None, param),
        Agreement::Unknowable(why) => (ProofState::Unknowable, Some(format!("{}: {why}", param.name)), param),
        Agreement::Different => {
            let message = format!("{} is {} instead of the temporary {wanted}", param.name, short(value));
            (ProofState::Differs, Some(message), param)
        }
    }
}

/// The layers that say something, the weakest first; the last that says what the node has has won.
fn layers(wanted: &Wanted<'_>, param: &NodeParam, answer: &NodeParams) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut add = |kind, value: &str, source: String| {
        layers.push(Layer { kind, value: short(value), source, won: false });
    };
    if let Some(default) = wanted.entry.and_then(|entry| entry.default.as_deref()) {
        add(LayerKind::Default, default, "the catalogue".to_owned());
    }
    for file in answer.files.iter().filter(|file| catalogue::stands_for(&file.name, &param.name)) {
        add(LayerKind::NodeFile, &file.value, format!("{} line {}", file.file, file.line));
    }
    for mounted in answer.mount_options.iter().filter(|mounted| catalogue::stands_for(&mounted.name, &param.name)) {
        add(LayerKind::MountOption, &mounted.value, format!("option {} of {}", mounted.option, mounted.mountpoint));
    }
    if let Some(value) = wanted.permanent {
        add(LayerKind::Mgs, value, format!("param {}", wanted.id));
    }
    if let Some((value, until)) = &wanted.temporary {
        add(LayerKind::Temporary, value, until.clone());
    }
    let Some(live) = &param.value else { return layers };
    let agrees = |layer: &Layer| catalogue::agreement(wanted.name, &layer.value, live) == Agreement::Same;
    match layers.iter().rposition(agrees) {
        Some(winner) => layers[winner].won = true,
        None => layers.push(Layer {
            kind: LayerKind::Live,
            value: short(live),
            source: "no layer says so: set by hand, or computed by the node".to_owned(),
            won: true,
        }),
    }
    layers
}

fn short(value: &str) -> String {
    shortened(value, MAX_LETTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::Time;
    use lustre_api::node_param::{FileParam, MountOption};

    fn param(value: &str) -> NodeParam {
        let name = "osc.scratch-OST0000-osc-ff.max_dirty_mb".to_owned();
        NodeParam { name, value: Some(value.to_owned()), is_writable: true, error: None }
    }

    fn file(value: &str) -> FileParam {
        FileParam {
            file: "/etc/lustre/a.params".into(),
            line: 3,
            name: "osc.*.max_dirty_mb".into(),
            value: value.into(),
        }
    }

    fn judged(permanent: Option<&str>, temporary: Option<&str>, live: &str, files: &[FileParam]) -> NodeProof {
        let wanted = Wanted {
            name: "osc.*.max_dirty_mb",
            id: "scratch/filesystem/osc.*.max_dirty_mb",
            permanent,
            temporary: temporary.map(|value| (value, "until the node restarts".to_owned())),
            entry: catalogue::lookup("osc.*.max_rpcs_in_flight"),
            others: Others::default(),
        };
        judge(&"c1".parse().unwrap(), &wanted, &answer(vec![param(live)], files), true).unwrap()
    }

    fn answer(found: Vec<NodeParam>, files: &[FileParam]) -> NodeParams {
        let (found, files) = (vec![found], files.to_vec());
        NodeParams { found, files, mount_options: vec![], lctl: None, boot_id: "b".into(), at: Time::from_unix_ms(0) }
    }

    #[test]
    fn a_mount_option_that_says_what_the_node_has_won() {
        let name = "llite.scratch-ff.checksums".to_owned();
        let found = NodeParam { name, value: Some("0".into()), is_writable: true, error: None };
        let option = MountOption {
            mountpoint: "/mnt".into(),
            option: "nochecksum".into(),
            name: "llite.scratch-*.checksums".into(),
            value: "0".into(),
        };
        let answer = NodeParams { mount_options: vec![option], ..answer(vec![found], &[]) };
        let wanted = Wanted { name: "llite.*.checksums", permanent: Some("1"), ..Wanted::default() };
        let proof = judge(&"c1".parse().unwrap(), &wanted, &answer, true).unwrap();
        assert_eq!((proof.state, winner(&proof)), (ProofState::Differs, LayerKind::MountOption));
        assert!(proof.layers.iter().any(|layer| layer.source == "option nochecksum of /mnt"));
    }

    fn winner(proof: &NodeProof) -> LayerKind {
        proof.layers.iter().find(|layer| layer.won).unwrap().kind
    }

    #[test]
    fn the_last_layer_that_says_what_the_node_has_won() {
        let proof = judged(Some("64M"), None, "64", &[file("32")]);
        assert_eq!((proof.state, winner(&proof)), (ProofState::Applied, LayerKind::Mgs));
        let proof = judged(Some("64M"), None, "32", &[file("32")]);
        assert_eq!((proof.state, winner(&proof)), (ProofState::Differs, LayerKind::NodeFile));
        let proof = judged(Some("64M"), Some("16M"), "16", &[]);
        assert_eq!((proof.state, winner(&proof)), (ProofState::Differs, LayerKind::Temporary));
        assert!(proof.message.unwrap().contains("a temporary value"));
        let proof = judged(Some("64M"), None, "48", &[]);
        assert_eq!((proof.state, winner(&proof)), (ProofState::Differs, LayerKind::Live));
        assert_eq!(proof.message.unwrap(), "osc.scratch-OST0000-osc-ff.max_dirty_mb is 48 instead of 64M");
        let proof = judged(None, None, "8", &[]);
        assert_eq!((proof.state, winner(&proof)), (ProofState::NotSet, LayerKind::Default));
    }

    #[test]
    fn a_node_without_the_tunable_counts_only_where_it_should_have_it() {
        let wanted = Wanted { name: "timeout", permanent: Some("1"), ..Wanted::default() };
        let node: NodeName = "oss1".parse().unwrap();
        assert!(judge(&node, &wanted, &answer(vec![], &[]), false).is_none());
        assert_eq!(judge(&node, &wanted, &answer(vec![], &[]), true).unwrap().state, ProofState::NoSuchParameter);
    }
}
