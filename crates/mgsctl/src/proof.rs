//! What nodes have of tunables, for people.

use lustre_api::event::{GetHistory, HistoryQuery};
use lustre_api::param::ListParams;
use lustre_api::proof::{Author, Explanation, NodeProof, ParamsDiff, ProofState, TemporaryParam};
use lustre_api::{Nothing, PageQuery};
use lustre_types::FsName;

use crate::output::{Table, fields, or_dash};
use crate::status::all;
use crate::{Context, Failure};

pub(crate) fn explanation(explanation: &Explanation) -> String {
    let mut text = fields(&[
        ("id", explanation.id.clone()),
        ("set_param", explanation.canonical_name.clone()),
        ("conf_param", or_dash(explanation.conf_param_name.as_ref())),
        ("wanted", or_dash(explanation.wanted.as_ref())),
        (
            "set by",
            explanation.author.as_ref().map_or_else(
                || "-".to_owned(),
                |author| {
                    let why = author.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                    format!("{} at {} (revision {}){why}", author.who, author.time, author.revision)
                },
            ),
        ),
    ]);
    text.push('\n');
    text.push_str(&table(&explanation.nodes));
    let mut layers = Table::new(&["NODE", "LAYER", "VALUE", "WON", "SOURCE"]);
    for proof in &explanation.nodes {
        for layer in &proof.layers {
            let won = if layer.won { "yes" } else { "" };
            let kind = word(&layer.kind);
            layers.row([proof.node.to_string(), kind, layer.value.clone(), won.to_owned(), layer.source.clone()]);
        }
    }
    if explanation.nodes.iter().any(|proof| !proof.layers.is_empty()) {
        text.push('\n');
        text.push_str(&layers.text(""));
    }
    text
}

/// An API word as people read it.
fn word<T: serde::Serialize>(word: &T) -> String {
    serde_json::to_value(word).ok().and_then(|word| Some(word.as_str()?.replace('_', " "))).unwrap_or_default()
}

pub(crate) fn table(nodes: &[NodeProof]) -> String {
    let mut table = Table::new(&["NODE", "STATE", "WHY"]);
    for proof in nodes {
        table.row([proof.node.to_string(), word(&proof.state), or_dash(proof.message.as_ref())]);
    }
    table.text("no node is known to have it")
}

/// Fails where a node did not do what it was asked.
pub(crate) fn all_taken(nodes: &[NodeProof]) -> Result<(), Failure> {
    use ProofState::{Applied, NotSet, Unknowable};
    let bad: Vec<&str> = nodes
        .iter()
        .filter(|proof| !matches!(proof.state, Applied | NotSet | Unknowable))
        .map(|proof| proof.node.as_str())
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(Failure::Local(format!("not on every node: {}", bad.join(", ")))) }
}

pub(crate) fn temporary(items: &[TemporaryParam]) -> String {
    let mut table = Table::new(&["NAME", "VALUE", "NODES", "LOST ON", "SET BY", "UNTIL"]);
    for item in items {
        let names =
            |nodes: &[lustre_types::NodeName]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let until = item.expires.map_or_else(|| "restart".to_owned(), |until| until.to_string());
        let (nodes, stale) = (names(&item.nodes), names(&item.stale));
        table.row([item.name.clone(), item.value.clone(), nodes, stale, item.who.clone(), until]);
    }
    table.text("no temporary values are set")
}

pub(crate) fn difference(diff: &ParamsDiff) -> String {
    let mut table = Table::new(&["TUNABLE", &format!("@{}", diff.then), "NOW"]);
    for one in &diff.differences {
        table.row([one.id.clone(), or_dash(one.then.as_ref()), or_dash(one.now.as_ref())]);
    }
    table.text("nothing differs")
}

/// `mgsctl param blame`
pub(crate) async fn blame(context: &Context, fsname: Option<FsName>) -> Result<(), Failure> {
    let list = all::<ListParams, _>(context, PageQuery { fsname, ..PageQuery::default() }).await?;
    let mut blamed = Vec::new();
    for param in list {
        let query = HistoryQuery { object: None, after: Some(param.revision.saturating_sub(1)), limit: Some(1) };
        let page = context.client.call::<GetHistory>(&Nothing {}, &query, &Nothing {}).await?;
        let event = page.items.into_iter().find(|event| event.revision == param.revision);
        let author =
            event.map(|event| Author { revision: event.revision, time: event.time, who: event.who, why: event.why });
        blamed.push(Blamed { id: param.id, value: param.spec.value, revision: param.revision, author });
    }
    context.output.show(&blamed, |blamed| {
        let mut table = Table::new(&["REVISION", "WHEN", "WHO", "TUNABLE", "VALUE", "WHY"]);
        for Blamed { id, value, revision, author } in blamed {
            let (when, who, why) = match author {
                Some(author) => (author.time.to_string(), author.who.clone(), or_dash(author.why.as_ref())),
                None => ("-".to_owned(), "the history no longer says".to_owned(), "-".to_owned()),
            };
            table.row([revision.to_string(), when, who, id.clone(), value.clone(), why]);
        }
        table.text("no tunables are set")
    });
    Ok(())
}

/// Who set a tunable last.
#[derive(serde::Serialize)]
struct Blamed {
    id: String,
    value: String,
    revision: u64,
    /// Missing where the history no longer says.
    author: Option<Author>,
}
