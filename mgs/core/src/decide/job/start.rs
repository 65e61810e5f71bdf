//! Starting a job: its steps, its name, and that nobody else is at work on the same object.

use lustre_api::Problem;
use lustre_api::Written;
use lustre_api::agent::AgentOp;
use lustre_api::job::{Job, JobId, JobKind, JobObject, JobPlan, JobState, Step, StepKind};
use lustre_api::node_param::SetNodeParams;
use lustre_types::{FsName, NodeName, SvName};
use sha2::{Digest, Sha256};

use super::moves::moves;
use crate::decide::{Compare, Decision, Request, absent, put};
use crate::key::Key;
use crate::record::{Change, JobRecord, OwnAct, Record};
use crate::state::State;

/// Most steps of a job: its record has to fit into one value of a store.
pub const MAX_STEPS: usize = 500;
/// Longest name of a job that a caller chooses: agents know its steps by that name and more.
const MAX_NAME: usize = 52;

/// A job to be started.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its name; when missing, the one that the caller gave, or one that is made up. A job that another one runs is given a
    /// name, so that the other one can tell which it runs.
    pub name: Option<JobId>,
    /// What it is for.
    pub kind: JobKind,
    /// What it works on, and keeps other jobs from.
    pub object: JobObject,
    /// The job that runs it in one of its steps ([`OwnAct::Job`]). What the parent holds, it needs not hold itself.
    pub parent: Option<JobId>,
    /// Its steps: a chain, unless they say otherwise.
    pub steps: Vec<NewStep>,
    /// At most so many steps are at work at once; any number where nothing is said.
    pub at_once: Option<usize>,
    /// What it does is put back unless somebody confirms it within so many seconds of its end.
    pub confirm_within_s: Option<u32>,
}

impl NewJob {
    /// A job of nobody, under a name that is made up unless the caller gives one.
    pub fn new(kind: JobKind, object: JobObject, steps: Vec<NewStep>) -> Self {
        Self { name: None, kind, object, parent: None, steps, at_once: None, confirm_within_s: None }
    }

    /// The targets that it makes: it has hold of their names, and not of all that is called like its object.
    fn makes(&self) -> Vec<&SvName> {
        let made = self.steps.iter().filter_map(|step| match &step.act {
            Act::Own(OwnAct::Ensure(planned)) => Some(&planned.svname),
            _ => None,
        });
        made.collect()
    }

    /// The targets that it moves: it has hold of them from its begin.
    fn moved(&self) -> Vec<&SvName> {
        let moves = self.steps.iter().filter(|step| matches!(step.act, Act::Own(OwnAct::Move(_))));
        moves.filter_map(|step| step.svname.as_ref()).collect()
    }
}

/// A step of a job to be started.
#[derive(Clone, Debug)]
pub struct NewStep {
    kind: StepKind,
    after: Option<Vec<usize>>,
    svname: Option<SvName>,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    OnNode(NodeName, Box<AgentOp>),
    Own(OwnAct),
}

impl NewStep {
    /// A step that a node's agent does.
    pub fn on(node: NodeName, kind: StepKind, op: AgentOp) -> Self {
        Self { kind, after: None, svname: None, act: Act::OnNode(node, Box::new(op)) }
    }

    /// A step that the MGS does itself, in the commit that begins it; but [`OwnAct::Job`] takes as long as that job.
    pub fn own(kind: StepKind, act: OwnAct) -> Self {
        Self { kind, after: None, svname: None, act: Act::Own(act) }
    }

    /// Begins when these steps are done, all of them before it in the list; at once where there are none.
    #[must_use]
    pub fn after(mut self, steps: impl Into<Vec<usize>>) -> Self {
        self.after = Some(steps.into());
        self
    }

    /// Works on this target, which is not the job's.
    #[must_use]
    pub fn of(mut self, svname: SvName) -> Self {
        self.svname = Some(svname);
        self
    }
}

/// A job that starts with the commit of these.
#[derive(Clone, Debug)]
pub struct Started {
    /// The job, queued, and what else it moves.
    pub plan: Box<JobPlan>,
    /// What must hold.
    pub compare: Vec<Compare>,
    /// What is written.
    pub changes: Vec<Change>,
}

/// Starts a job. Ask [`named`] first.
///
/// Errors: an agent of an older version that can't do its step; another job is at work on the object (naming it), on its file system, or on a target of the file system; it is
/// another job than the plan showed; steps that can't be.
pub fn start(state: &State, req: &Request<'_>, new: NewJob) -> Result<Started, Problem> {
    check_steps(&new)?;
    check_agents(state, &new)?;
    let made = new.makes();
    let (mut compare, mut holds) = match new.object.fsname().filter(|_| !made.is_empty()) {
        Some(fsname) => free_names(state, fsname, &made)?,
        None => free(state, &new.object, new.parent.as_ref())?,
    };
    for svname in new.moved() {
        let (more, held) = free(state, &JobObject::Target(svname.clone()), new.parent.as_ref())?;
        let more: Vec<Compare> = more.into_iter().filter(|one| !compare.contains(one)).collect();
        compare.extend(more);
        holds.extend(held);
    }
    let record = record(state, req, new, holds);
    if req.plan.is_some_and(|plan| plan != record.job.digest) {
        let message = format!(
            "the {} of {} is another job by now than the one that was planned",
            verb(&record),
            record.job.object
        );
        return Err(
            Problem::conflict(message).remedy("plan again with dry_run, look at its steps, and give its digest")
        );
    }
    let key = Key::Job(record.job.id.clone());
    compare.push(absent(key.clone()));
    let mut changes: Vec<Change> = record.holds.iter().map(|object| hold(object, &record.job.id)).collect();
    let plan = Box::new(JobPlan { moves: moves(state, &record), job: record.job.clone() });
    changes.push(put(key, Record::Job(Box::new(record))));
    Ok(Started { plan, compare, changes })
}

/// Starts a job, or answers the one that was started under the caller's name for it: all that an operation needs which
/// writes nothing else. Errors: as [`start`] and [`named`].
pub fn request(state: &State, req: &Request<'_>, new: NewJob) -> Result<Decision<Written<Job>>, Problem> {
    if let Some(job) = named(state, req, new.kind, &new.object)? {
        let id = job.id.clone();
        let mut decision = Decision::unchanged(job, state.revision);
        decision.reply.job = Some(id);
        return Ok(decision);
    }
    let Started { plan, compare, changes } = start(state, req, new)?;
    let id = plan.job.id.clone();
    let mut decision = Decision::changed(req, format!("job {id}"), plan.job.clone(), compare, changes);
    decision.reply.job = Some(id);
    decision.reply.plan = Some(plan);
    Ok(decision)
}

/// The job that was started before under the name that the caller gave. Errors: that one does something else.
pub fn named(state: &State, req: &Request<'_>, kind: JobKind, object: &JobObject) -> Result<Option<Job>, Problem> {
    let Some(id) = req.job else { return Ok(None) };
    if id.as_str().len() > MAX_NAME {
        let message =
            format!("the job name {id} has {} characters, at most {MAX_NAME} are possible", id.as_str().len());
        return Err(Problem::invalid(message).attribute("job"));
    }
    match state.jobs.get(id) {
        None => Ok(None),
        Some(known) if known.value.job.kind == kind && known.value.job.object == *object => {
            Ok(Some(crate::view::job(&known.value, known.revision, 0)))
        }
        Some(known) => {
            let (verb, object) = (known.value.job.kind.verb(), &known.value.job.object);
            let problem = Problem::conflict(format!("job {id} exists and is another one: {verb} of {object}"));
            Err(problem.remedy("choose another name for the job").attribute("job"))
        }
    }
}

/// Who is at work on an object already.
pub fn busy_with(object: impl std::fmt::Display, job: &Job) -> Problem {
    let of = if job.object.to_string() == object.to_string() { String::new() } else { format!(", {}", job.object) };
    Problem::conflict(format!("job {} is at work on {object}{of}, for {}", job.id, job.who))
        .remedy(format!("wait for it, or cancel it: mgsctl job cancel {}", job.id))
}

/// What must hold so that no job is at work on a target: for a commit that changes it without a job.
pub fn idle(svname: &SvName) -> Vec<Compare> {
    let whole = svname.fsname().map(|fsname| JobObject::Filesystem(fsname.clone()));
    whole.into_iter().chain([JobObject::Target(svname.clone())]).map(|object| absent(Key::Hold(object))).collect()
}

/// What must hold so that nobody else is at work on the job's object, and what it takes hold of.
pub(super) fn free(
    state: &State,
    object: &JobObject,
    parent: Option<&JobId>,
) -> Result<(Vec<Compare>, Vec<JobObject>), Problem> {
    let parent = parent.and_then(|id| state.jobs.get(id));
    let is_parents = |held: &JobObject| {
        let whole = object.fsname().map(|fsname| JobObject::Filesystem(fsname.clone()));
        held == object || Some(held) == whole.as_ref()
    };
    if parent.is_some_and(|parent| parent.value.holds.iter().any(is_parents)) {
        return Ok((Vec::new(), Vec::new()));
    }
    if let Some(job) = state.job_on(object) {
        return Err(busy_with(object, &job.value.job));
    }
    let compare = match object {
        JobObject::Target(svname) => idle(svname),
        JobObject::Filesystem(fsname) => {
            let mut of_targets = state.targets_of(fsname, None).filter_map(|(svname, _)| state.active_job(svname));
            // Names that are kept for targets which are not there yet.
            let named = |(held, id): (&JobObject, &crate::state::Object<JobId>)| {
                let is_one = matches!(held, JobObject::Target(_)) && held.fsname() == Some(fsname);
                is_one.then(|| state.jobs.get(&id.value)).flatten()
            };
            if let Some(job) = of_targets.next().or_else(|| state.holds.iter().find_map(named)) {
                return Err(busy_with(object, &job.value.job));
            }
            let of_targets = Compare::Prefix(Key::holds_of(fsname), state.revision);
            vec![absent(Key::Hold(object.clone())), of_targets]
        }
        JobObject::Node(_) | JobObject::Param(_) | JobObject::Nodes(_) => vec![absent(Key::Hold(object.clone()))],
    };
    Ok((compare, vec![object.clone()]))
}

/// As [`free`], for the names of targets that a job is to make: nobody else is given them until it is over.
pub(super) fn free_names(
    state: &State,
    fsname: &FsName,
    names: &[&SvName],
) -> Result<(Vec<Compare>, Vec<JobObject>), Problem> {
    let whole = JobObject::Filesystem(fsname.clone());
    let held: Vec<JobObject> = names.iter().map(|svname| JobObject::Target((*svname).clone())).collect();
    for object in std::iter::once(&whole).chain(&held) {
        if let Some(job) = state.job_on(object) {
            return Err(busy_with(object, &job.value.job));
        }
    }
    let compare = vec![
        absent(Key::Hold(whole)),
        Compare::Prefix(Key::holds_of(fsname), state.revision),
        Compare::Prefix(Key::targets_of(fsname), state.revision),
    ];
    Ok((compare, held))
}

pub(super) fn hold(object: &JobObject, id: &JobId) -> Change {
    put(Key::Hold(object.clone()), Record::Hold(id.clone()))
}

fn verb(record: &JobRecord) -> &'static str {
    record.job.kind.verb()
}

fn check_steps(new: &NewJob) -> Result<(), Problem> {
    let object = &new.object;
    if new.steps.is_empty() {
        return Err(Problem::refused(format!("there is nothing to do for the {} of {object}", new.kind.verb())));
    }
    if new.steps.len() > MAX_STEPS {
        let message = format!("{} of {object} takes {} steps", new.kind.verb(), new.steps.len());
        return Err(
            Problem::refused(format!("{message}, a job has at most {MAX_STEPS}")).remedy("do it in several parts")
        );
    }
    let is_ordered = |(at, step): (usize, &NewStep)| step.after.iter().flatten().all(|before| *before < at);
    match new.steps.iter().enumerate().all(is_ordered) {
        true => Ok(()),
        false => Err(Problem::refused(format!("the steps of {} of {object} go round in a circle", new.kind.verb()))),
    }
}

/// Errors: a node's agent is too old for what it would be asked for.
fn check_agents(state: &State, new: &NewJob) -> Result<(), Problem> {
    let lacks = |node: &NodeName, op: &AgentOp| state.nodes.get(node)?.value.info.lacks(&op.needs());
    let setting = AgentOp::SetParam(SetNodeParams::default());
    let problem = new.steps.iter().find_map(|step| match &step.act {
        Act::OnNode(node, op) => lacks(node, op),
        Act::Own(OwnAct::SetPart(part)) => part.places.keys().find_map(|node| lacks(node, &setting)),
        Act::Own(_) => None,
    });
    problem.map_or(Ok(()), Err)
}

fn record(state: &State, req: &Request<'_>, new: NewJob, holds: Vec<JobObject>) -> JobRecord {
    let of_caller = || req.job.filter(|_| new.parent.is_none()).cloned();
    let id = new.name.clone().or_else(of_caller).unwrap_or_else(|| made_up(state, new.kind, &new.object));
    let mut record = JobRecord {
        job: Job {
            id,
            kind: new.kind,
            object: new.object,
            parent: new.parent,
            state: JobState::Queued,
            steps: Vec::new(),
            digest: String::new(),
            error: None,
            who: req.who.to_owned(),
            why: req.why.map(str::to_owned),
            created: req.now,
            ended: None,
            version: 0,
        },
        ops: Vec::new(),
        own: std::collections::BTreeMap::new(),
        holds,
        evacuation: None,
        at_once: new.at_once,
        confirm_within_s: new.confirm_within_s,
    };
    for (at, step) in new.steps.into_iter().enumerate() {
        let mut shown = Step { after: step.after, svname: step.svname, ..Step::new(step.kind) };
        let mut op = None;
        match step.act {
            Act::OnNode(node, asked) => {
                shown.node = Some(node);
                op = Some(*asked);
            }
            Act::Own(act) => {
                if let OwnAct::Job(id) = &act {
                    shown.job = Some(id.clone());
                }
                record.own.insert(at, act);
            }
        }
        record.job.steps.push(shown);
        record.ops.push(op);
    }
    record.job.digest = digest(&record);
    record
}

/// A name that nobody has: the commit that makes it has a higher revision than any before.
fn made_up(state: &State, kind: JobKind, object: &JobObject) -> JobId {
    let letters = object.to_string().to_ascii_lowercase();
    let name: String = letters.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(24).collect();
    let id = format!("{}-{name}-{}", kind.verb().replace('_', "-"), state.revision + 1);
    id.parse().expect("a verb, letters, digits and dashes of an object's name, and a number")
}

/// What the job does, whoever starts it and when.
fn digest(record: &JobRecord) -> String {
    let job = &record.job;
    let steps: Vec<_> = job.steps.iter().map(|step| (step.kind, &step.node, &step.svname, &step.after)).collect();
    let what = (job.kind, &job.object, steps, &record.ops, &record.own, record.confirm_within_s);
    let what = serde_json::to_vec(&what);
    let what = what.expect("names, numbers and lists of them have no failing serializer");
    Sha256::digest(what).iter().map(|byte| format!("{byte:02x}")).collect()
}
