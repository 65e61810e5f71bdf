//! `mgsctl plan` and `mgsctl apply`

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use lustre_api::job::JobState;
use lustre_api::plan::{Desired, Plan, PostPlan};
use lustre_api::{Nothing, WriteQuery};

use crate::cli::ApplyArgs;
use crate::output::{Output, print};
use crate::{Context, Failure, job};

/// Shows a plan. Ends with an error when it can't be applied.
pub(crate) async fn plan(context: &Context, file: &Path) -> Result<(), Failure> {
    let plan = made_of(context, &read(file)?).await?;
    context.output.show(&plan, text);
    if plan.has_errors() { Err(Failure::Shown) } else { Ok(()) }
}

async fn made_of(context: &Context, desired: &Desired) -> Result<Plan, Failure> {
    Ok(context.client.call::<PostPlan>(&Nothing {}, &Nothing {}, desired).await?)
}

fn text(plan: &Plan) -> String {
    lustre_plan::render(plan)
}

/// Shows a plan, asks, and carries it out change by change, each waited for.
pub(crate) async fn apply(context: &Context, args: &ApplyArgs) -> Result<(), Failure> {
    let desired = read(&args.file)?;
    let plan = made_of(context, &desired).await?;
    if context.output == Output::Table {
        print(&text(&plan));
    }
    if plan.has_errors() {
        return Err(Failure::Local("the plan can't be applied: see the errors above".into()));
    }
    if !plan.changes.is_empty() && !args.yes {
        confirm(&plan)?;
    }
    let query = WriteQuery { if_revision: Some(plan.revision), why: args.why.clone(), ..WriteQuery::default() };
    for (at, change) in plan.changes.iter().enumerate() {
        let request = lustre_plan::request(&desired, change, None).map_err(|err| Failure::Local(err.to_string()))?;
        let made = context.client.make(&request, &query).await.inspect_err(|_| {
            let left = plan.changes.len() - at;
            eprintln!("mgsctl: {} failed; {left} changes are not made, those before it are", change.object);
        })?;
        for warning in &made.warnings {
            eprintln!("warning: {warning}");
        }
        if let Some(id) = made.job {
            let job = job::watch(context, &id).await?;
            if job.state != JobState::Done {
                let error = job.error.unwrap_or_else(|| format!("job {id} is {}", job.state.as_str()));
                return Err(Failure::Local(error));
            }
        } else if context.output == Output::Table {
            print(&format!("{}: done\n", change.object));
        }
    }
    context.output.show(&plan, |plan| format!("{} changes made\n", plan.changes.len()));
    Ok(())
}

fn read(file: &Path) -> Result<Desired, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|err| Failure::Local(format!("can't read {}: {err}", file.display())))?;
    serde_json::from_str(&text).map_err(|err| Failure::Local(format!("{} is not a description: {err}", file.display())))
}

fn confirm(plan: &Plan) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Local("nobody can be asked here; say --yes to apply without".into()));
    }
    let losing = plan.changes.iter().filter(|change| change.destroys_data).count();
    let loss = if losing > 0 { format!(" {losing} of them LOSE DATA.") } else { String::new() };
    eprint!("Make these {} changes?{loss} Only 'yes' goes on: ", plan.changes.len());
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" { Ok(()) } else { Err(Failure::Local("nothing was changed".into())) }
}
