//! `mgsctl param`

use lustre_api::param::{
    CatalogueEntry, CatalogueQuery, GetCatalogue, GetParam, ListParams, Param, ParamPath, ParamSpec, PutParam,
};
use lustre_api::proof::{
    CarefulParam, CarefulRemoval, ConfirmParam, DeleteTemporaryParam, DiffParams, ExplainParam, ListTemporaryParams,
    ParamsDiffQuery, PostRemoveParam, PostRevertParams, PostSpreadParam, PutParamCarefully, RevertParams, SetTemporary,
    SetTemporaryParam, SpreadParam, TemporaryPath,
};
use lustre_api::{Nothing, PageQuery};
use lustre_plan::naming;
use lustre_types::FsName;

use crate::cli::{ParamArgs, ParamCommand};
use crate::operation;
use crate::output::{Table, fields, or_dash};
use crate::proof;
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
        ParamCommand::Set { param, value, temporary: true, expires, nodes, write, .. } => {
            let wanted = SetTemporary {
                filesystem: filesystem(&param)?,
                scope: param.scope,
                name: param.name,
                value,
                nodes,
                expires_in_s: expires,
            };
            let set = client.call::<SetTemporaryParam>(&Nothing {}, &write.query(), &wanted).await?;
            context.output.show(&set, |set| proof::table(&set.nodes));
            proof::all_taken(&set.nodes)?;
        }
        ParamCommand::Set { param, value, allow_unknown, canary, confirm_within, write, .. } => {
            let path = path(&param);
            let filesystem = filesystem(&param)?;
            let spec = ParamSpec { filesystem, scope: param.scope, name: param.name, value, allow_unknown };
            let written = if canary.is_some() || confirm_within.is_some() {
                let body = CarefulParam { spec, canary, confirm_within_s: confirm_within };
                client.call::<PutParamCarefully>(&path, &write.query(), &body).await?.written
            } else {
                client.call::<PutParam>(&path, &write.query(), &spec).await?
            };
            let mut done = format!("is {}", written.object.spec.value);
            if let Some(until) = written.object.confirm_until {
                done.push_str(&format!(", and goes back at {until} unless you confirm it: mgsctl param confirm"));
            }
            context.show_written(&written, &write, |param| format!("tunable {}", param.id), &done);
        }
        ParamCommand::Spread(args) => {
            let path = path(&args.param);
            let filesystem = filesystem(&args.param)?;
            let (scope, name) = (args.param.scope, args.param.name);
            let spec = ParamSpec { filesystem, scope, name, value: args.value, allow_unknown: args.allow_unknown };
            let body = SpreadParam {
                spec,
                is_temporary: args.temporary,
                nodes: args.nodes,
                canary: args.canary,
                expires_in_s: args.expires,
                confirm_within_s: args.confirm_within,
            };
            let written = client.call::<PostSpreadParam>(&path, &args.start.query(), &body).await?;
            operation::show(context, &written, &args.start).await?;
        }
        ParamCommand::Confirm { param, write } => {
            let written = client.call::<ConfirmParam>(&path(&param), &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |param| format!("tunable {}", param.id), "is confirmed");
        }
        ParamCommand::Explain { param } => {
            let explanation = client.call::<ExplainParam>(&path(&param), &Nothing {}, &Nothing {}).await?;
            context.output.show(&explanation, proof::explanation);
        }
        ParamCommand::Name { conf_param } => {
            let named = naming::parse_conf_param(&conf_param).map_err(|err| Failure::Local(err.to_string()))?;
            let canonical = naming::set_param(named.filesystem.as_ref(), &named.scope, &named.name);
            let fsname = named.filesystem.map_or_else(|| "*".to_owned(), |fsname| fsname.to_string());
            let (name, scope) = (named.name, named.scope);
            let both = serde_json::json!({ "set_param": canonical, "fsname": fsname, "scope": scope, "name": name });
            context.output.show(&both, |_| {
                fields(&[
                    ("set_param", canonical.clone()),
                    ("mgsctl", format!("mgsctl param set {fsname} '{name}' VALUE --scope {scope}")),
                ])
            });
        }
        ParamCommand::Temporary => {
            let list = client.call::<ListTemporaryParams>(&Nothing {}, &Nothing {}, &Nothing {}).await?;
            context.output.show(&list.items, |items| proof::temporary(items));
        }
        ParamCommand::EndTemporary { name, write } => {
            let path = TemporaryPath { name };
            let set = client.call::<DeleteTemporaryParam>(&path, &write.query(), &Nothing {}).await?;
            context.output.show(&set, |set| proof::table(&set.nodes));
            proof::all_taken(&set.nodes)?;
        }
        ParamCommand::Log { id } => {
            let object = Some(format!("param {}", id.unwrap_or_default()));
            let args = crate::cli::HistoryArgs { object, after: 0, limit: 1000 };
            crate::history::list(context, args).await?;
        }
        ParamCommand::Blame { fsname } => proof::blame(context, fsname).await?,
        ParamCommand::Diff { revision, fsname } => {
            let query = ParamsDiffQuery { revision: revision.0, fsname };
            let diff = client.call::<DiffParams>(&Nothing {}, &query, &Nothing {}).await?;
            context.output.show(&diff, proof::difference);
        }
        ParamCommand::Revert { revision, fsname, ids, write } => {
            let body = RevertParams { revision: revision.0, fsname, ids };
            let written = client.call::<PostRevertParams>(&Nothing {}, &write.query(), &body).await?;
            context.output.show(&written, |written| match (written.changed, write.dry_run) {
                (false, _) => "nothing to put back\n".to_owned(),
                (true, true) => format!("would be put back:\n{}", proof::difference(&written.object)),
                (true, false) => {
                    format!("put back (revision {}):\n{}", written.revision, proof::difference(&written.object))
                }
            });
        }
        ParamCommand::Unset { param, confirm_within, write } => {
            let body = CarefulRemoval { confirm_within_s: confirm_within };
            let written = client.call::<PostRemoveParam>(&path(&param), &write.query(), &body).await?;
            let mut done = "is back to its default".to_owned();
            if let Some(until) = written.object.confirm_until {
                done.push_str(&format!(", and is set again at {until} unless you confirm it: mgsctl param confirm"));
            }
            context.show_written(&written, &write, |param| format!("tunable {}", param.id), &done);
        }
        ParamCommand::Known { contains } => {
            let query = CatalogueQuery { contains };
            let catalogue = client.call::<GetCatalogue>(&Nothing {}, &query, &Nothing {}).await?;
            context.output.show(&catalogue.entries, |entries| known(entries));
        }
    }
    Ok(())
}

/// The file system that was named; none for `*`.
fn filesystem(param: &ParamArgs) -> Result<Option<FsName>, Failure> {
    match param.fsname.as_str() {
        "*" => Ok(None),
        name => name.parse().map(Some).map_err(|err| Failure::Local(format!("{err}"))),
    }
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
