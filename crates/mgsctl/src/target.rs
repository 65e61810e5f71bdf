//! `mgsctl target`

use lustre_api::agent_ops::StopForce;
use lustre_api::operation::{DeregisterFrom, PostDeregister, PostStopWithin, StopWithin};
use lustre_api::target::{
    ConfirmTarget, DeregisterTarget, GetTarget, ListTargets, StartTarget, StopTarget, Target, TargetPath,
};
use lustre_api::{Nothing, PageQuery, Written};
use lustre_types::Nid;

use crate::cli::{JobArgs, TargetCommand};
use crate::output::{Table, fields, or_dash, size};
use crate::status::all;
use crate::{Context, Failure, operation};

pub(crate) async fn run(context: &Context, command: TargetCommand) -> Result<(), Failure> {
    let client = &context.client;
    match command {
        TargetCommand::List { fsname } => {
            let list = all::<ListTargets, _>(context, PageQuery { fsname, ..PageQuery::default() }).await?;
            context.output.show(&list, |list| table(list));
        }
        TargetCommand::Show { svname } => {
            let target = client.call::<GetTarget>(&TargetPath { svname }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&target, details);
        }
        TargetCommand::Start { svname, start } => {
            let written = client.call::<StartTarget>(&TargetPath { svname }, &start.query(), &Nothing {}).await?;
            show_job(context, &written, &start, "is started").await?;
        }
        TargetCommand::Confirm { svname, write } => {
            let written = client.call::<ConfirmTarget>(&TargetPath { svname }, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |target| format!("target {}", target.svname), "is confirmed");
        }
        TargetCommand::Stop { svname, timeout: timeout_s, force, lazy, start } => {
            let force = match (force, lazy) {
                (_, true) => StopForce::Lazy,
                (true, false) => StopForce::Force,
                (false, false) => StopForce::Never,
            };
            let (path, body) = (TargetPath { svname }, StopWithin { timeout_s, force });
            // An MGS of an older version has the plain way only.
            let written = match body == StopWithin::default() {
                true => client.call::<StopTarget>(&path, &start.query(), &Nothing {}).await?,
                false => client.call::<PostStopWithin>(&path, &start.query(), &body).await?,
            };
            show_job(context, &written, &start, "is stopped").await?;
        }
        TargetCommand::Move { svname, args } => operation::move_target(context, svname, args).await?,
        TargetCommand::ReplaceNids { svname, args } => operation::replace_nids(context, svname, args).await?,
        TargetCommand::Relabel { svname, start } => operation::relabel(context, svname, &start).await?,
        TargetCommand::AddFailoverNode { svname, args } => {
            operation::change_failover_node(context, svname, args, true).await?;
        }
        TargetCommand::RemoveFailoverNode { svname, args } => {
            operation::change_failover_node(context, svname, args, false).await?;
        }
        TargetCommand::Evacuate { svname, args } => operation::evacuate(context, svname, args).await?,
        TargetCommand::Delete { svname, node_is_down, start } => {
            let path = TargetPath { svname };
            let written = match node_is_down {
                false => client.call::<DeregisterTarget>(&path, &start.query(), &Nothing {}).await?,
                true => {
                    let body = DeregisterFrom { node_is_down };
                    client.call::<PostDeregister>(&path, &start.query(), &body).await?
                }
            };
            show_job(context, &written, &start, "is taken out of the configuration; its device keeps its data").await?;
        }
    }
    Ok(())
}

async fn show_job(context: &Context, written: &Written<Target>, start: &JobArgs, done: &str) -> Result<(), Failure> {
    operation::show_started(context, written, start, |target| format!("target {}", target.svname), done).await
}

pub(crate) fn table(list: &[Target]) -> String {
    let mut table = Table::new(&["TARGET", "STATE", "NODE", "DEVICE", "SIZE", "REASON"]);
    for target in list {
        table.row([
            target.svname.to_string(),
            target.state.as_str().into(),
            target.spec.node.to_string(),
            target.spec.device.clone(),
            target.size_bytes.map_or_else(|| "-".into(), size),
            target.state_reason.clone(),
        ]);
    }
    table.text("no targets")
}

fn details(target: &Target) -> String {
    let nids = target.nids.iter().map(Nid::to_string).collect::<Vec<_>>().join(",");
    let failover = target.spec.failover_nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    fields(&[
        ("name", target.svname.to_string()),
        ("id", target.id.clone()),
        ("state", format!("{}: {}", target.state.as_str(), target.state_reason)),
        ("device", format!("{}:{}", target.spec.node, target.spec.device)),
        ("runs on", or_dash(target.runs_on.as_ref())),
        ("failover", if failover.is_empty() { "-".into() } else { failover }),
        ("label", or_dash(target.label.as_ref())),
        ("uuid", or_dash(target.uuid.as_ref())),
        ("size", target.size_bytes.map_or_else(|| "-".into(), size)),
        ("formatted over", or_dash(target.formatted_over.as_ref())),
        ("nids", if nids.is_empty() { "-".into() } else { nids }),
        ("last job", or_dash(target.job.as_ref())),
        ("goes back at, unless confirmed", or_dash(target.confirm_until.as_ref())),
        ("reserved until", or_dash(target.reserved_until.as_ref())),
        ("revision", target.revision.to_string()),
    ])
}
