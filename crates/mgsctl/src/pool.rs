//! `mgsctl pool`

use lustre_api::pool::{DeletePool, GetPool, ListPools, Pool, PoolPath, PoolSpec, PutPool};
use lustre_api::{Nothing, PageQuery};
use lustre_types::SvName;

use crate::cli::PoolCommand;
use crate::output::{Table, fields};
use crate::status::all;
use crate::{Context, Failure};

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
        PoolCommand::Set { fsname, pool, members, write } => {
            let spec =
                PoolSpec { filesystem: fsname.clone(), name: pool.clone(), members: members.into_iter().collect() };
            let written = client.call::<PutPool>(&PoolPath { fsname, pool }, &write.query(), &spec).await?;
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
