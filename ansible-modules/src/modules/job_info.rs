//! `lustre_job_info`.

use lustre_api::Nothing;
use lustre_api::job::{GetJob, Job, JobPath, JobQuery, ListJobs, WaitQuery};
use serde_json::{Map, json};

use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType};
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = vec![
        Argument::new("id", ArgumentType::Str).doc("One job; many when not given."),
        Argument::new("filesystem", ArgumentType::Str).doc("Only jobs on this file system and its targets."),
        Argument::new("only_open", ArgumentType::Bool).default(false).doc("Only jobs that are not over."),
    ];
    arguments.extend(common::connection());
    Module {
        name: "lustre_job_info",
        summary: "Ask the MGS how far jobs are",
        description: vec!["Gives jobs with their steps, progress and errors, newest last. Changes nothing.".to_owned()],
        notes: vec![],
        see_also: &["lustre_job", "lustre_info"],
        is_read_only: true,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r"- name: What is under way?
  chandelier.lustre.lustre_job_info:
    api_url: http://10.0.0.1:7070
    only_open: true
  register: open
  delegate_to: localhost
",
        returns: vec![ReturnValue {
            name: "jobs",
            kind: "list",
            elements: Some("dict"),
            returned: "success",
            description: "The jobs, each with its steps.",
            sample: json!([{"id": "evacuate-scratch-ost0001-80", "kind": "evacuate", "state": "running", "steps": []}]),
        }],
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let session = Session::new(task)?;
    let mut jobs = match task.text("id") {
        Some(id) => {
            let path = JobPath { id: id.parse().map_err(|error| Failure::from(format!("id: {error}")))? };
            let job = session.mgs.call::<GetJob>(&path, &WaitQuery::default(), &Nothing {}).await;
            vec![job.map_err(|error| session.explain(error))?]
        }
        None => all(task, &session).await?,
    };
    jobs.retain(|job| !(task.is("only_open") && job.state.is_final()));
    let mut values = Map::new();
    values.insert("jobs".to_owned(), jobs.iter().map(json_of).collect());
    Ok(Outcome { values, ..Outcome::default() })
}

async fn all(task: &Task<'_>, session: &Session) -> Result<Vec<Job>, Failure> {
    let fsname = task.text("filesystem").map(str::parse).transpose();
    let fsname = fsname.map_err(|error| Failure::from(format!("filesystem: {error}")))?;
    let mut query = JobQuery { fsname, ..JobQuery::default() };
    let mut jobs = Vec::new();
    loop {
        let page = session.mgs.call::<ListJobs>(&Nothing {}, &query, &Nothing {}).await;
        let page = page.map_err(|error| session.explain(error))?;
        jobs.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(jobs),
        }
    }
}
