//! `mgsctl history` and `mgsctl events`

use std::collections::BTreeSet;
use std::time::Duration;

use lustre_api::event::{Event, EventQuery, GetHistory, HistoryQuery, StreamEvents};
use lustre_api::mgs::GetMgs;
use lustre_api::{Nothing, Page};
use serde_json::Value;

use crate::away::{PAUSE, Patience, ended_or};
use crate::cli::{EventsArgs, HistoryArgs};
use crate::output::print;
use crate::{Context, Failure};

/// Characters of a value that are shown.
const LONGEST: usize = 60;

pub(crate) async fn list(context: &Context, args: HistoryArgs) -> Result<(), Failure> {
    let query = HistoryQuery { object: args.object, after: Some(args.after), limit: Some(args.limit) };
    let page = context.client.call::<GetHistory>(&Nothing {}, &query, &Nothing {}).await?;
    context.output.show(&page, text);
    Ok(())
}

fn text(page: &Page<Event>) -> String {
    if page.items.is_empty() {
        return "no changes\n".into();
    }
    let mut text: String = page.items.iter().map(lines).collect();
    if let Some(next) = &page.next {
        text.push_str(&format!("there is more: --after {next}\n"));
    }
    text
}

pub(crate) async fn events(context: &Context, args: EventsArgs) -> Result<(), Failure> {
    let mgs = context.client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await?;
    let mut after = args.after.unwrap_or(mgs.revision);
    if !args.follow && after >= mgs.revision {
        return Ok(());
    }
    let mut patience = if args.follow { Patience::without_end() } else { Patience::of(Duration::ZERO) };
    loop {
        let EventsArgs { kind, object, fsname, .. } = args.clone();
        let query = EventQuery { after: Some(after), kind, object, fsname };
        let begun = context.client.stream::<StreamEvents>(&Nothing {}, &query).await;
        let Some(mut events) = patience.answer(begun).await? else { continue };
        while let Some((_, event)) = ended_or(events.next().await)? {
            after = event.revision;
            // One without changes says only how far a filter has come.
            if !event.changes.is_empty() {
                print(&context.output.one_of_many(&event).unwrap_or_else(|| lines(&event)));
            }
            if !args.follow && after >= mgs.revision {
                return Ok(());
            }
        }
        // The MGS restarts, or this instance of it is gone: begin again where it ended.
        tokio::time::sleep(PAUSE).await;
    }
}

/// An event: a line of its own, and one for each object that changed.
fn lines(event: &Event) -> String {
    let why = event.why.as_deref().unwrap_or("");
    let mut text = format!("{} {} {}: {why}\n", event.revision, event.time, event.who);
    for change in &event.changes {
        let what = match (&change.before, &change.after) {
            (_, Value::Null) => "removed".to_owned(),
            (Value::Null, _) => "new".to_owned(),
            (before, after) => differences(before, after),
        };
        text.push_str(&format!("    {} {what}\n", change.object));
    }
    text
}

/// The fields that changed, as in `description "a" -> "b"`; those within others with their path, as in `job.state`.
fn differences(before: &Value, after: &Value) -> String {
    let mut changed = Vec::new();
    collect(&mut changed, "", Some(before), Some(after));
    changed.join(", ")
}

fn collect(changed: &mut Vec<String>, path: &str, before: Option<&Value>, after: Option<&Value>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(changed, &path, old.get(name), new.get(name));
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                collect(changed, &format!("{path}[{at}]"), Some(old), Some(new));
            }
        }
        (before, after) => {
            changed.push(format!("{path} {} -> {}", short(before), short(after)).trim_start().to_owned())
        }
    }
}

/// A value as JSON, cut off where it is long.
fn short(value: Option<&Value>) -> String {
    let Some(value) = value else { return "none".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_changed_is_shown() {
        let (before, after) = (json!({"a": 1, "b": "x", "c": null}), json!({"a": 1, "b": "y", "d": 2}));
        assert_eq!(differences(&before, &after), "b \"x\" -> \"y\", c null -> none, d none -> 2");
        assert_eq!(differences(&json!(1), &json!(2)), "1 -> 2");
    }

    #[test]
    fn what_changed_within_an_object_is_shown_with_its_path_and_long_values_are_cut() {
        let job =
            |state: &str, steps: &[&str]| json!({"job": {"state": state, "steps": steps}, "who": "é".repeat(300)});
        let said = differences(&job("running", &["done", "running"]), &job("done", &["done", "done"]));
        assert_eq!(said, r#"job.state "running" -> "done", job.steps[1] "running" -> "done""#);
        let said = differences(&json!({}), &job("queued", &[]));
        let who = "é".repeat(LONGEST - 1);
        assert_eq!(said, format!(r#"job none -> {{"state":"queued","steps":[]}}, who none -> "{who}..."#));
    }
}
