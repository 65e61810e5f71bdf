//! `mgsctl source`: the configuration that the MGS reads by itself.

use lustre_api::Nothing;
use lustre_api::source::{GetSource, ReadSource, ReadSourceQuery, SourceMode, SourceOutcome, SourceStatus};

use crate::cli::SourceCommand;
use crate::output::fields;
use crate::{Context, Failure};

pub(crate) async fn run(context: &Context, command: SourceCommand) -> Result<(), Failure> {
    let status = match command {
        SourceCommand::Show => context.client.call::<GetSource>(&Nothing {}, &Nothing {}, &Nothing {}).await?,
        SourceCommand::Read { apply } => {
            let query = ReadSourceQuery { apply };
            context.client.call::<ReadSource>(&Nothing {}, &query, &Nothing {}).await?
        }
    };
    context.output.show(&status, text);
    let outcome = status.note.as_ref().map(|note| note.outcome);
    match outcome {
        Some(SourceOutcome::Refused | SourceOutcome::Failed | SourceOutcome::Unreadable) => Err(Failure::Shown),
        _ => Ok(()),
    }
}

fn text(status: &SourceStatus) -> String {
    let mode = match status.mode {
        SourceMode::Report => "differences are reported",
        SourceMode::Apply => "each new version is applied once",
    };
    let mut lines =
        vec![("source", status.source.clone()), ("mode", format!("{mode}; read every {} s", status.poll_s))];
    if let Some(note) = &status.note {
        lines.push(("version", note.version.clone().unwrap_or_else(|| "-".into())));
        lines.push(("outcome", format!("{} since {}", note.outcome.as_str(), note.at)));
        lines.push(("differences", note.differences.to_string()));
        if let Some(settled) = &note.settled {
            lines.push(("applied or given up", settled.clone()));
        }
        if let Some(message) = &note.message {
            lines.push(("message", message.clone()));
        }
    } else {
        lines.push(("outcome", "not read yet".into()));
    }
    let mut text = fields(&lines);
    if let Some(plan) = status.plan.as_ref().filter(|plan| !plan.changes.is_empty() || plan.has_errors()) {
        text.push('\n');
        text.push_str(&lustre_plan::render(plan));
    }
    text
}
