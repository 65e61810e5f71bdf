//! `mgsctl nodemap`

use std::collections::BTreeMap;

use lustre_api::nodemap::{
    ConfirmNodemap, ConfirmNodemapsActive, GetNodemap, ListNodemaps, Nodemap, NodemapPath, NodemapSpec, Nodemaps,
    NodemapsActive, PostRemoveNodemap, PutNodemap, PutNodemapBody, PutNodemapsActive,
};
use lustre_api::proof::CarefulRemoval;
use lustre_api::{Nothing, Written};

use lustre_plan::Mode;
use lustre_types::NodemapName;

use crate::cli::{NodemapCommand, NodemapParts, WriteArgs};
use crate::output::{Table, json};
use crate::{Context, Failure, found};

pub(crate) async fn run(context: &Context, command: NodemapCommand) -> Result<(), Failure> {
    let client = &context.client;
    let name = |nodemap: &Nodemap| format!("nodemap {}", nodemap.spec.name);
    match command {
        NodemapCommand::List => {
            let list = client.call::<ListNodemaps>(&Nothing {}, &Nothing {}, &Nothing {}).await?;
            context.output.show(&list, table);
        }
        NodemapCommand::Show { name } => {
            let nodemap = client.call::<GetNodemap>(&NodemapPath { name }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&nodemap, json);
        }
        NodemapCommand::Set { file, confirm_within, write } => {
            let spec: NodemapSpec = crate::file::read(&file, "nodemap")?;
            let path = NodemapPath { name: spec.name.clone() };
            let body = PutNodemapBody { spec, confirm_within_s: confirm_within };
            let written = client.call::<PutNodemap>(&path, &write.query(), &body).await?;
            show_written(context, &written, &write);
        }
        NodemapCommand::Add { name, parts } => change(context, name, parts, Mode::Add).await?,
        NodemapCommand::Remove { name, parts } => change(context, name, parts, Mode::Remove).await?,
        NodemapCommand::Confirm { name: None, write } => {
            let written = client.call::<ConfirmNodemapsActive>(&Nothing {}, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |_| "nodemaps".to_owned(), "are confirmed");
        }
        NodemapCommand::Confirm { name: Some(wanted), write } => {
            let path = NodemapPath { name: wanted };
            let written = client.call::<ConfirmNodemap>(&path, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, name, "is confirmed");
        }
        NodemapCommand::Delete { name: wanted, confirm_within, write } => {
            let path = NodemapPath { name: wanted };
            let body = CarefulRemoval { confirm_within_s: confirm_within };
            let written = client.call::<PostRemoveNodemap>(&path, &write.query(), &body).await?;
            let mut done = "is removed".to_owned();
            if let Some(until) = written.object.confirm_until {
                done.push_str(&format!(", and comes back at {until} unless you confirm it: mgsctl nodemap confirm"));
            }
            context.show_written(&written, &write, name, &done);
        }
        NodemapCommand::Activate { confirm_within, write } => {
            set_active(context, NodemapsActive { active: true, confirm_within_s: confirm_within }, &write).await?;
        }
        NodemapCommand::Deactivate { confirm_within, write } => {
            set_active(context, NodemapsActive { active: false, confirm_within_s: confirm_within }, &write).await?;
        }
    }
    Ok(())
}

fn show_written(context: &Context, written: &Written<Nodemap>, write: &WriteArgs) {
    let mut done = "is as described".to_owned();
    if let Some(until) = written.object.confirm_until {
        done.push_str(&format!(", and goes back at {until} unless you confirm it: mgsctl nodemap confirm"));
    }
    context.show_written(written, write, |nodemap| format!("nodemap {}", nodemap.spec.name), &done);
}

/// Adds to a nodemap, or takes away from it.
async fn change(context: &Context, name: NodemapName, parts: NodemapParts, mode: Mode) -> Result<(), Failure> {
    let path = NodemapPath { name: name.clone() };
    let there = found(context.client.call::<GetNodemap>(&path, &Nothing {}, &Nothing {}).await)?;
    let mut query = parts.write.query();
    // What is added to, or taken from, is what was read here.
    query.if_revision = query.if_revision.or(there.as_ref().map(|nodemap| nodemap.revision));
    let mut spec = there.map_or_else(|| NodemapSpec::new(name), |nodemap| nodemap.spec);
    spec.ranges = mode.of_set(&spec.ranges, parts.range.into_iter().collect());
    spec.banned_ranges = mode.of_set(&spec.banned_ranges, parts.banned.into_iter().collect());
    spec.uids = mode.of_map(&spec.uids, ids(&parts.uid, mode)?);
    spec.gids = mode.of_map(&spec.gids, ids(&parts.gid, mode)?);
    spec.projids = mode.of_map(&spec.projids, ids(&parts.projid, mode)?);
    let body = PutNodemapBody { spec, confirm_within_s: parts.confirm_within };
    let written = context.client.call::<PutNodemap>(&path, &query, &body).await?;
    show_written(context, &written, &parts.write);
    Ok(())
}

/// `500:600`; where one is taken away also `500`.
fn ids(given: &[String], mode: Mode) -> Result<BTreeMap<u32, u32>, Failure> {
    let pair = |text: &String| {
        let (client, fs) = text.split_once(':').unwrap_or((text, if mode == Mode::Remove { "0" } else { "" }));
        let shape = || Failure::Local(format!("{text:?} is no id map; write it like 500:600"));
        Ok((client.parse().map_err(|_| shape())?, fs.parse().map_err(|_| shape())?))
    };
    given.iter().map(pair).collect()
}

async fn set_active(context: &Context, body: NodemapsActive, write: &WriteArgs) -> Result<(), Failure> {
    let written = context.client.call::<PutNodemapsActive>(&Nothing {}, &write.query(), &body).await?;
    let mut done = if body.active { "are in force" } else { "are out of force" }.to_owned();
    if let Some(until) = written.object.confirm_until {
        done.push_str(&format!(", and go back at {until} unless you confirm it: mgsctl nodemap confirm"));
    }
    context.show_written(&written, write, |_| "nodemaps".to_owned(), &done);
    Ok(())
}

fn table(list: &Nodemaps) -> String {
    let mut table = Table::new(&["NODEMAP", "ID", "NIDS", "UIDS", "GIDS", "PROJIDS", "PROPERTIES"]);
    for nodemap in &list.items {
        let spec = &nodemap.spec;
        let ranges: Vec<String> = spec.ranges.iter().map(ToString::to_string).collect();
        let properties = [
            (spec.admin, "admin"),
            (spec.trusted, "trusted"),
            (spec.deny_unknown, "deny_unknown"),
            (spec.readonly_mount, "readonly_mount"),
            (spec.deny_mount, "deny_mount"),
            (spec.forbid_encryption, "forbid_encryption"),
            (spec.gss_identify, "gss_identify"),
            (spec.fileset.is_some(), "fileset"),
            (nodemap.confirm_until.is_some(), "waits for confirmation"),
        ];
        let properties: Vec<&str> = properties.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        table.row([
            spec.name.to_string(),
            nodemap.id.to_string(),
            ranges.join(","),
            spec.uids.len().to_string(),
            spec.gids.len().to_string(),
            spec.projids.len().to_string(),
            properties.join(","),
        ]);
    }
    let state = if list.active { "nodemaps are in force" } else { "nodemaps are not in force" };
    format!("{}{state}\n", table.text("no nodemap but the default one"))
}
