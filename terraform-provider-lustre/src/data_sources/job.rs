//! `data "lustre_job"`.

use std::sync::Arc;

use lustre_api::attributes::TARGET;
use lustre_api::job::{JobId, Progress, Step, WaitQuery};
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Schema, Shape, Type, Value, async_trait};

use super::{computed, parsed, texts, word};
use crate::session::Session;

pub(super) struct Job(pub(super) Arc<Session>);

#[async_trait]
impl DataSource for Job {
    fn schema(&self) -> Schema {
        let text = |name: &str, description: &str| computed(name, Type::String, description);
        Schema {
            description: "A job of the MGS: what it does, and how far it has come.".into(),
            attributes: vec![
                Attribute::new("id", Type::String, Mode::Required, "Its id, as messages name it."),
                text("kind", "What it is for, as in `ensure_target`."),
                text("svname", "The target that it works on; null where it works on something else."),
                text("state", "`queued`, `running`, `cancelling`, `cancelled`, `failed` or `done`."),
                text("error", "Why it failed; null while it didn't."),
                text("who", "Who started it."),
                text("created", "When it was accepted."),
                text("ended", "When it ended; null while it runs."),
                Attribute::of("steps", Shape::List(step_attributes()), Mode::Computed, "Its steps, in order."),
            ],
            ..Schema::default()
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        parsed::<JobId>(config, "id", diags);
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let id: JobId = parsed(config, "id", diags)?;
        let job = match self.0.mgs() {
            Ok(mgs) => mgs.job(&id, WaitQuery::default()).await,
            Err(failure) => Err(failure),
        };
        let job = job.map_err(|failure| failure.report(&TARGET, "Can't read the job", diags)).ok()?;
        Some(Value::object([
            ("id", job.id.to_string().into()),
            ("kind", word(&job.kind)),
            ("svname", job.svname().map(ToString::to_string).into()),
            ("state", job.state.as_str().into()),
            ("error", job.error.clone().into()),
            ("who", job.who.clone().into()),
            ("created", job.created.to_string().into()),
            ("ended", job.ended.map(|time| time.to_string()).into()),
            ("steps", Value::List(job.steps.iter().map(step).collect())),
        ]))
    }
}

fn step_attributes() -> Vec<Attribute> {
    let text = |name: &str, description: &str| computed(name, Type::String, description);
    vec![
        text("kind", "What it does, as in `format`."),
        text("node", "The node that does it; null for what the MGS does itself."),
        text("state", "How far it has come; as for the job."),
        text("phase", "What is going on, while it runs."),
        computed("percent", Type::Number, "How much of it is done, where that can be known."),
        text("message", "Why it failed, or what it found."),
        computed("output", Type::list(Type::String), "The last lines that its program printed."),
    ]
}

fn step(step: &Step) -> Value {
    let progress = step.progress.as_ref();
    Value::object([
        ("kind", word(&step.kind)),
        ("node", step.node.as_ref().map(ToString::to_string).into()),
        ("state", step.state.as_str().into()),
        ("phase", progress.map(|progress| progress.phase.clone()).into()),
        ("percent", progress.and_then(Progress::percent).map(u32::from).into()),
        ("message", step.message.clone().into()),
        ("output", texts(&step.output)),
    ])
}
