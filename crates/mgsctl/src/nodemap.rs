//! `mgsctl nodemap`

use std::io::Read;
use std::path::Path;

use lustre_api::Nothing;
use lustre_api::nodemap::{
    ConfirmNodemap, DeleteNodemap, GetNodemap, ListNodemaps, Nodemap, NodemapPath, NodemapSpec, Nodemaps,
    NodemapsActive, PutNodemap, PutNodemapBody, PutNodemapsActive,
};

use crate::cli::{NodemapCommand, WriteArgs};
use crate::output::{Table, json};
use crate::{Context, Failure};

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
            let spec: NodemapSpec = read(&file)?;
            let path = NodemapPath { name: spec.name.clone() };
            let body = PutNodemapBody { spec, confirm_within_s: confirm_within };
            let written = client.call::<PutNodemap>(&path, &write.query(), &body).await?;
            let mut done = "is as described".to_owned();
            if let Some(until) = written.object.confirm_until {
                done.push_str(&format!(", and goes back at {until} unless you confirm it"));
            }
            context.show_written(&written, &write, name, &done);
        }
        NodemapCommand::Confirm { name: wanted, write } => {
            let path = NodemapPath { name: wanted };
            let written = client.call::<ConfirmNodemap>(&path, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, name, "is confirmed");
        }
        NodemapCommand::Delete { name: wanted, write } => {
            let path = NodemapPath { name: wanted };
            let written = client.call::<DeleteNodemap>(&path, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, name, "is removed");
        }
        NodemapCommand::Activate { write } => set_active(context, true, &write).await?,
        NodemapCommand::Deactivate { write } => set_active(context, false, &write).await?,
    }
    Ok(())
}

async fn set_active(context: &Context, active: bool, write: &WriteArgs) -> Result<(), Failure> {
    let body = NodemapsActive { active };
    let written = context.client.call::<PutNodemapsActive>(&Nothing {}, &write.query(), &body).await?;
    let done = if active { "are in force" } else { "are out of force" };
    context.show_written(&written, write, |_| "nodemaps".to_owned(), done);
    Ok(())
}

fn read(file: &Path) -> Result<NodemapSpec, Failure> {
    let name = file.display();
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|err| Failure::Local(format!("{name}: {err}")))?;
    serde_json::from_str(&text).map_err(|err| Failure::Local(format!("{name} is no nodemap: {err}")))
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
