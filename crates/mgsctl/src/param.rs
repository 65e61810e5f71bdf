//! `mgsctl param`

use lustre_api::param::{
    CatalogueEntry, CatalogueQuery, DeleteParam, GetCatalogue, GetParam, ListParams, Param, ParamPath, ParamSpec,
    PutParam,
};
use lustre_api::{Nothing, PageQuery};

use crate::cli::{ParamArgs, ParamCommand};
use crate::output::{Table, fields, or_dash};
use crate::status::all;
use crate::{Context, Failure};

pub(crate) async fn run(context: &Context, command: ParamCommand) -> Result<(), Failure> {
    let client = &context.client;
    match command {
        ParamCommand::List { fsname } => {
            let list = all::<ListParams, _>(context, PageQuery { fsname, ..PageQuery::default() }).await?;
            context.output.show(&list, |list| table(list));
        }
        ParamCommand::Get { param } => {
            let param = client.call::<GetParam>(&path(&param), &Nothing {}, &Nothing {}).await?;
            context.output.show(&param, details);
        }
        ParamCommand::Set { param, value, allow_unknown, write } => {
            let filesystem = match param.fsname.as_str() {
                "*" => None,
                name => Some(name.parse().map_err(|err| Failure::Local(format!("{err}")))?),
            };
            let path = path(&param);
            let spec = ParamSpec { filesystem, scope: param.scope, name: param.name, value, allow_unknown };
            let written = client.call::<PutParam>(&path, &write.query(), &spec).await?;
            let done = format!("is {}", written.object.spec.value);
            context.show_written(&written, &write, |param| format!("tunable {}", param.id), &done);
        }
        ParamCommand::Unset { param, write } => {
            let written = client.call::<DeleteParam>(&path(&param), &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |param| format!("tunable {}", param.id), "is back to its default");
        }
        ParamCommand::Known { contains } => {
            let query = CatalogueQuery { contains };
            let catalogue = client.call::<GetCatalogue>(&Nothing {}, &query, &Nothing {}).await?;
            context.output.show(&catalogue.entries, |entries| known(entries));
        }
    }
    Ok(())
}

fn path(param: &ParamArgs) -> ParamPath {
    ParamPath { fsname: param.fsname.clone(), scope: param.scope.clone(), name: param.name.clone() }
}

fn table(list: &[Param]) -> String {
    let mut table = Table::new(&["FILE SYSTEM", "SCOPE", "NAME", "VALUE"]);
    for param in list {
        let spec = &param.spec;
        let fsname = spec.filesystem.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string);
        table.row([fsname, spec.scope.to_string(), spec.name.to_string(), spec.value.clone()]);
    }
    table.text("no tunables are set")
}

fn details(param: &Param) -> String {
    fields(&[
        ("id", param.id.clone()),
        ("value", param.spec.value.clone()),
        ("set_param", param.canonical_name.clone()),
        ("conf_param", param.conf_param_name.clone().unwrap_or_else(|| "-".into())),
        ("revision", param.revision.to_string()),
    ])
}

fn known(entries: &[CatalogueEntry]) -> String {
    let mut table = Table::new(&["NAME", "NODES", "RANGE", "DEFAULT", "SINCE", "DESCRIPTION"]);
    for entry in entries {
        let bound = |bound: Option<i64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        let range = if entry.values.is_empty() {
            format!("{}..{}", bound(entry.min), bound(entry.max))
        } else {
            entry.values.join("|")
        };
        table.row([
            entry.name.clone(),
            entry.nodes.join(","),
            range,
            or_dash(entry.default.as_ref().or(entry.default_note.as_ref())),
            or_dash(entry.since.as_ref()),
            entry.description.clone().unwrap_or_default(),
        ]);
    }
    table.text("no tunable of such a name is known")
}
