//! `mgsctl history` and `mgsctl events`

use std::time::Duration;

use lustre_api::event::{Event, EventQuery, GetHistory, HistoryQuery, StreamEvents};
use lustre_api::mgs::GetMgs;
use lustre_api::{Nothing, Page};
use serde_json::Value;

use crate::away::{PAUSE, Patience, ended_or};
use crate::cli::{EventsArgs, HistoryArgs};
use crate::output::print;
use crate::{Context, Failure};

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

/// The fields that changed, as in `description "a" -> "b"`.
fn differences(before: &Value, after: &Value) -> String {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return format!("{before} -> {after}") };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let field = |value: Option<&Value>| match value.map(Value::to_string) {
        None => "none".to_owned(),
        Some(text) if text.len() > 60 => "(changed)".to_owned(),
        Some(text) => text,
    };
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed
        .map(|name| format!("{name} {} -> {}", field(old.get(name)), field(new.get(name))))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_changed_is_shown() {
        let (before, after) = (json!({"a": 1, "b": "x", "c": null}), json!({"a": 1, "b": "y", "d": 2}));
        assert_eq!(differences(&before, &after), "b \"x\" -> \"y\", c null -> none, d none -> 2");
    }
}
