//! Wanted configuration that the MGS reads by itself: from a web server, or from a directory, in git or not.
//!
//! What is read is a description as `mgsctl plan` takes one. It is planned with the same `lustre-plan`, against the same live
//! nodes, and by choice only reported, or each new version applied once. Never undone is what a person changes afterwards, and
//! never done unasked is what loses data. Of several instances one applies; all can tell.

mod apply;
mod directory;
mod http;
mod merge;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use lustre_api::plan::{Desired, Plan};
use lustre_api::source::{SourceMode, SourceNote, SourceOutcome, SourceStatus};
use lustre_api::{Problem, Time};
use lustre_mgs_core::decide;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::api::Api;
use crate::engine::Caller;
use crate::ownership::Ownership;
use crate::{clock, outgoing};
use apply::Applied;

/// Bytes of a description, all files together.
const MAX_BYTES: usize = 16 << 20;
/// Readings that may be asked for at the same time.
const MAX_ASKED: usize = 16;

/// How a source was configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// A directory, or the URL of a description.
    pub source: String,
    /// What happens with what it says.
    pub mode: SourceMode,
    /// How often it is read.
    pub poll: Duration,
    /// The authority of a web server's certificate.
    pub ca: Option<PathBuf>,
    /// Holds the bearer token for a web server, in its first line.
    pub token_file: Option<PathBuf>,
}

/// What was read.
#[derive(Clone, Debug)]
struct Found {
    /// Which version it is.
    version: String,
    desired: Desired,
}

enum Reader {
    Http(Box<http::Http>),
    Directory(PathBuf),
}

impl Reader {
    fn new(config: &Config) -> anyhow::Result<Self> {
        if outgoing::is_url(&config.source) {
            let client = outgoing::client(&config.source, http::TIMEOUT, config.ca.as_deref())?;
            let (url, token_file) = (config.source.clone(), config.token_file.clone());
            return Ok(Self::Http(Box::new(http::Http::new(client, url, token_file))));
        }
        anyhow::ensure!(
            !config.source.contains("://"),
            "{} is no source: a directory, http:// and https:// are",
            outgoing::host(&config.source)
        );
        let path = Path::new(&config.source);
        anyhow::ensure!(path.is_absolute(), "the source {} has to begin with /, or be a URL", path.display());
        Ok(Self::Directory(path.to_owned()))
    }

    /// The newest version. Errors: why it can't be read or understood, for people.
    async fn read(&mut self) -> anyhow::Result<Found> {
        match self {
            Self::Http(http) => http.read().await,
            Self::Directory(path) => directory::read(path).await,
        }
    }
}

/// A reading that somebody asked for.
struct Asked {
    apply: bool,
    answer: oneshot::Sender<SourceStatus>,
}

/// The source, for who asks about it.
pub struct Source {
    config: Config,
    asked: mpsc::Sender<Asked>,
    seen: Mutex<Seen>,
}

/// What this instance saw at its last reading.
#[derive(Default)]
struct Seen {
    read: Option<Time>,
    plan: Option<Plan>,
    is_owner: bool,
}

/// What will read the source: to be given to [`Task::run`].
pub struct Task {
    reader: Reader,
    source: Arc<Source>,
    asked: mpsc::Receiver<Asked>,
}

impl Source {
    /// Checks the configuration; reads nothing yet.
    pub fn new(config: Config) -> anyhow::Result<(Arc<Self>, Task)> {
        let reader = Reader::new(&config).context("--source can't be used")?;
        let (asked, receiver) = mpsc::channel(MAX_ASKED);
        let source = Arc::new(Self { config, asked, seen: Mutex::default() });
        Ok((source.clone(), Task { reader, source, asked: receiver }))
    }

    /// `get_source`
    pub fn show(&self, note: Option<SourceNote>) -> SourceStatus {
        let seen = self.seen();
        let Config { source, mode, poll, .. } = &self.config;
        SourceStatus {
            source: shown(source),
            mode: *mode,
            poll_s: poll.as_secs(),
            is_owner: seen.is_owner,
            read: seen.read,
            note,
            plan: seen.plan.clone(),
        }
    }

    /// `read_source`: reads it now, and waits for what comes of it.
    pub async fn read(&self, apply: bool) -> Result<SourceStatus, Problem> {
        let (answer, answered) = oneshot::channel();
        let busy = |_| Problem::unavailable("others wait for the source already").remedy("try again");
        self.asked.try_send(Asked { apply, answer }).map_err(busy)?;
        answered.await.map_err(|_| Problem::unavailable("the MGS is shutting down").remedy("try again"))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory; a URL without user, password and query.
fn shown(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://").filter(|_| outgoing::is_url(source)) else {
        return source.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    format!("{scheme}://{}{path}", outgoing::host(source))
}

/// When there was news of the source; 0 for never.
fn revision(api: &Api) -> u64 {
    api.engine.state().source.as_ref().map_or(0, |source| source.revision)
}

/// Waits until there is news of the source that is not known: another instance was asked to read it.
async fn told(api: &Api, known: u64) {
    let is_news = |_: &u64| revision(api) != known;
    if api.engine.applied().wait_for(is_news).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The time in which this instance is the one that applies.
struct Tenure<'a>(&'a watch::Sender<Option<Caller>>);

impl Drop for Tenure<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl Task {
    /// Reads the source, again and again, for ever. Every instance does, to tell what it finds; one of them applies.
    pub async fn run(self, api: Arc<Api>, ownership: Arc<Ownership>) {
        let owner = watch::Sender::new(None);
        let own = |guard| {
            let tenure = Tenure(&owner);
            tenure.0.send_replace(Some(Caller::owner(guard)));
            async move {
                let _ends_when_dropped = tenure;
                std::future::pending().await
            }
        };
        tokio::join!(ownership.run("source", own), self.read_on(api, owner.subscribe()));
    }

    async fn read_on(mut self, api: Arc<Api>, mut owner: watch::Receiver<Option<Caller>>) {
        let (mut known, mut was_owner) = (revision(&api), false);
        loop {
            let asked = tokio::select! {
                asked = self.asked.recv() => asked,
                () = told(&api, known) => None,
                // Whoever begins to be the one that applies looks at once: at its start, or after the death of another.
                Ok(_) = owner.wait_for(Option::is_some), if !was_owner => None,
                () = tokio::time::sleep(self.source.config.poll) => None,
            };
            known = revision(&api);
            let apply = asked.as_ref().is_some_and(|asked| asked.apply);
            let duty = owner.borrow().clone();
            was_owner = duty.is_some();
            let (is_owner, caller) = (duty.is_some(), duty.unwrap_or_else(Caller::mgs));
            let (note, plan) = self.once(&api, &caller.clone().named("source"), apply, is_owner).await;
            *self.source.seen() = Seen { read: Some(clock::now()), plan, is_owner };
            // Others look too, and would each say the same. Who was asked tells the one that applies.
            if is_owner || asked.is_some() {
                self.note(&api, &caller, note.clone()).await;
                // What this instance says itself is no news to it.
                if let Some(noted) = api.engine.state().source.as_ref().filter(|noted| noted.value == note) {
                    known = noted.revision;
                }
            }
            if let Some(asked) = asked {
                let _ = asked.answer.send(self.source.show(Some(note)));
            }
        }
    }

    /// What comes of the source as it is now.
    async fn once(
        &mut self,
        api: &Arc<Api>,
        caller: &Caller,
        asked: bool,
        is_owner: bool,
    ) -> (SourceNote, Option<Plan>) {
        let settled = api.engine.state().source.as_ref().and_then(|source| source.value.settled.clone());
        let note = SourceNote {
            version: None,
            outcome: SourceOutcome::Unreadable,
            message: None,
            differences: 0,
            settled: settled.clone(),
            at: clock::now(),
        };
        let found = match self.reader.read().await {
            Ok(found) => found,
            Err(err) => return (SourceNote { message: Some(format!("{err:#}")), ..note }, None),
        };
        let version = Some(found.version.clone());
        let note = SourceNote { version: version.clone(), ..note };
        let plan = match api.plan(&found.desired).await {
            Ok(plan) => plan,
            Err(problem) => {
                let message = Some(format!("no plan can be made: {problem}"));
                return (SourceNote { outcome: SourceOutcome::Failed, message, ..note }, None);
            }
        };
        let note = SourceNote { differences: u64::try_from(plan.changes.len()).unwrap_or(u64::MAX), ..note };
        let is_new = settled != version;
        let is_wanted = asked || (is_owner && self.source.config.mode == SourceMode::Apply && is_new);
        if let Some(refusal) = apply::refusal(&plan) {
            return (SourceNote { outcome: SourceOutcome::Refused, message: Some(refusal), ..note }, Some(plan));
        }
        if plan.changes.is_empty() {
            // What was wanted is so, whoever did it: it counts as applied.
            let settled = if self.source.config.mode == SourceMode::Apply { version } else { settled };
            return (SourceNote { outcome: SourceOutcome::Same, settled, ..note }, Some(plan));
        }
        if !is_wanted {
            let by_hand = "this version was applied; what differs was changed since, and is not undone";
            let message = (self.source.config.mode == SourceMode::Apply && !is_new).then(|| by_hand.to_owned());
            return (SourceNote { outcome: SourceOutcome::Differs, message, ..note }, Some(plan));
        }
        match apply::apply(api, caller, &found, &plan).await {
            Ok(()) => {
                info!(version = found.version, changes = plan.changes.len(), "source applied");
                let note = SourceNote { outcome: SourceOutcome::Same, differences: 0, settled: version, ..note };
                (note, None)
            }
            Err(Applied { made, error, is_passing }) => {
                let settled = if is_passing { settled } else { version };
                let of = plan.changes.len();
                let message = Some(format!("{made} of {of} changes are made; {error}"));
                let differences = note.differences.saturating_sub(u64::try_from(made).unwrap_or(u64::MAX));
                (SourceNote { outcome: SourceOutcome::Failed, message, differences, settled, ..note }, None)
            }
        }
    }

    async fn note(&self, api: &Api, caller: &Caller, note: SourceNote) {
        if !matches!(note.outcome, SourceOutcome::Same) {
            let (version, outcome) = (note.version.as_deref().unwrap_or(""), note.outcome.as_str());
            tracing::debug!(version, outcome, message = note.message.as_deref().unwrap_or(""), "source read");
        }
        let noted = api.engine.write_as(caller, |state, req| Ok(decide::source::note(state, req, &note)));
        if let Err(problem) = noted.await {
            warn!(error = %problem, "what came of the source can't be noted now, will try again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn of_a_url_neither_password_nor_query_is_shown() {
        assert_eq!(shown("https://user:secret@host:8443/a/b.json?key=secret#x"), "https://host:8443/a/b.json");
        assert_eq!(shown("http://host"), "http://host");
        assert_eq!(shown("/srv/config?"), "/srv/config?");
    }
}
