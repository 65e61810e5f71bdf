//! `mgsctl pool`

use std::collections::BTreeSet;

use lustre_api::pool::{DeletePool, GetPool, ListPools, Pool, PoolPath, PoolSpec, PutPool};
use lustre_api::{Nothing, PageQuery};
use lustre_plan::Mode;
use lustre_types::SvName;

use crate::cli::PoolCommand;
use crate::output::{Table, fields};
use crate::status::all;
use crate::{Context, Failure, found};

pub(crate) async fn run(context: &Context, command: PoolCommand) -> Result<(), Failure> {
    let client = &context.client;
    match command {
        PoolCommand::List { fsname } => {
            let list = all::<ListPools, _>(context, PageQuery { fsname, ..PageQuery::default() }).await?;
            context.output.show(&list, |list| table(list));
        }
        PoolCommand::Show { fsname, pool } => {
            let pool = client.call::<GetPool>(&PoolPath { fsname, pool }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&pool, details);
        }
        PoolCommand::Set { fsname, pool, members, mode, write } => {
            let mode: Mode = mode.parse().map_err(Failure::Local)?;
            let path = PoolPath { fsname: fsname.clone(), pool: pool.clone() };
            let mut query = write.query();
            let mut members: BTreeSet<String> = members.into_iter().collect();
            if mode != Mode::Exact {
                let there = found(client.call::<GetPool>(&path, &Nothing {}, &Nothing {}).await)?;
                // What is added to, or taken from, is what was read here.
                query.if_revision = query.if_revision.or(there.as_ref().map(|pool| pool.revision));
                let given =
                    lustre_plan::pool_members(&fsname, &members).map_err(|err| Failure::Local(err.to_string()))?;
                let there = there.map(|pool| pool.members).unwrap_or_default();
                members = mode.of_set(&there, given).iter().map(ToString::to_string).collect();
            }
            let spec = PoolSpec { filesystem: fsname.clone(), name: pool.clone(), members };
            let written = client.call::<PutPool>(&path, &query, &spec).await?;
            let done = format!("has {} members", written.object.members.len());
            context.show_written(&written, &write, |pool| format!("pool {}", pool.id), &done);
        }
        PoolCommand::Delete { fsname, pool, write } => {
            let written = client.call::<DeletePool>(&PoolPath { fsname, pool }, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |pool| format!("pool {}", pool.id), "is removed");
        }
    }
    Ok(())
}

fn members(pool: &Pool) -> String {
    pool.members.iter().map(SvName::short).collect::<Vec<_>>().join(" ")
}

fn table(list: &[Pool]) -> String {
    let mut table = Table::new(&["POOL", "OSTS", "MEMBERS"]);
    for pool in list {
        table.row([pool.id.clone(), pool.members.len().to_string(), members(pool)]);
    }
    table.text("no pools")
}

fn details(pool: &Pool) -> String {
    fields(&[("pool", pool.id.clone()), ("members", members(pool)), ("revision", pool.revision.to_string())])
}
