//! What can go wrong between terraform and the MGS.

use std::sync::Arc;
use std::time::Duration;

use lustre_api::attributes::Resource as Table;
use lustre_api::job::{Job, JobState};
use lustre_api::{Problem, ProblemCode};
use tfplugin_proto::{Diagnostic, Diagnostics};

use super::wait::describe;
use crate::findings::{self, sentence};

/// Why something was not done. Cheap to copy: one failed connection is reported by each resource that needs it.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Nothing was configured.
    NotConfigured,
    /// Where the MGS is will be known after apply.
    UnknownEndpoint,
    /// The MGS said no.
    Refused(Arc<Problem>),
    /// The MGS can't be reached, or speaks something else; with the endpoint and the cause.
    Unreachable(Arc<str>),
    /// A job ended without success.
    Job(Arc<Job>),
    /// A job took longer than its timeout.
    TimedOut(Arc<Job>, Duration),
    /// The user pressed Ctrl-C.
    Interrupted(Arc<Job>),
}

impl Failure {
    /// Says it, as an error about an object of `table`.
    pub(crate) fn report(&self, table: &Table, what: &str, diags: &mut Diagnostics) {
        match self {
            Self::NotConfigured => diags.error(what, "The provider is not configured. This is a bug in the provider."),
            Self::UnknownEndpoint => diags.push(Diagnostic::error(
                what,
                "The endpoint of the provider depends on something that is known only after apply, so the MGS can't \
                     be asked yet. Apply that first, with -target.",
            )),
            Self::Refused(problem) if problem.code == ProblemCode::Conflict => {
                findings::problem(table, "Changed since the plan, or taken", problem, diags);
            }
            Self::Refused(problem) => findings::problem(table, what, problem, diags),
            Self::Unreachable(cause) => diags.error(what, format!("The MGS: {}", sentence(cause))),
            Self::Job(job) => {
                let headline =
                    if job.state == JobState::Cancelled { "The job was cancelled" } else { "The job failed" };
                diags.error(headline, format!("{}\n\n{}", describe(job), next_steps(job)));
            }
            Self::TimedOut(job, limit) => diags.error(
                "Still at work",
                format!(
                    "Not done in {}. {}\n\nThe job goes on. Apply again to wait for it, or raise `timeouts`.\n\n{}",
                    human(*limit),
                    describe(job),
                    next_steps(job),
                ),
            ),
            Self::Interrupted(job) => diags.error(
                "Interrupted",
                format!("{}\n\nThe job goes on; apply again to wait for it.\n\n{}", describe(job), next_steps(job)),
            ),
        }
    }
}

fn next_steps(job: &Job) -> String {
    if job.state.is_final() {
        format!(
            "More with `mgsctl job show {}`. When the cause is gone, apply again: what is done is not done twice.",
            job.id
        )
    } else {
        format!("Watch it with `mgsctl job watch {id}`, stop it with `mgsctl job cancel {id}`.", id = job.id)
    }
}

fn human(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        1 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

impl From<rest::ClientError> for Failure {
    fn from(err: rest::ClientError) -> Self {
        match err {
            rest::ClientError::Problem(problem) => Self::Refused(Arc::new(problem)),
            other => Self::Unreachable(other.to_string().into()),
        }
    }
}
