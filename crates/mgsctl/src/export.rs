//! `mgsctl export`: Lustre's nodes that are connected.

use lustre_api::export::{Export, GetLnet, ListExports, LnetStatus};
use lustre_api::{Nothing, PageQuery};

use crate::cli::ExportCommand;
use crate::output::{Table, fields};
use crate::status::all;
use crate::{Context, Failure};

pub(crate) async fn run(context: &Context, command: ExportCommand) -> Result<(), Failure> {
    match command {
        ExportCommand::List => {
            let list = all::<ListExports, _>(context, PageQuery::default()).await?;
            context.output.show(&list, |list| table(list));
        }
        ExportCommand::Status => {
            let status = context.client.call::<GetLnet>(&Nothing {}, &Nothing {}, &Nothing {}).await?;
            context.output.show(&status, totals);
        }
    }
    Ok(())
}

fn table(list: &[Export]) -> String {
    let mut table =
        Table::new(&["NID", "LUSTRE", "FILE SYSTEMS", "LOCKS", "ASKED BACK", "SILENT", "CONNECTED", "UUID"]);
    for export in list {
        let filesystems: Vec<&str> = export.filesystems.iter().map(|fsname| fsname.as_str()).collect();
        table.row([
            export.nid.clone(),
            export.version.clone(),
            if filesystems.is_empty() { "-".into() } else { filesystems.join(",") },
            export.locks.to_string(),
            export.revoked_locks.to_string(),
            format!("{} s", export.silent_s),
            export.connected.to_string(),
            export.uuid.clone(),
        ]);
    }
    table.text("no Lustre node is connected")
}

fn totals(status: &LnetStatus) -> String {
    let listening =
        if status.listening.is_empty() { "nowhere: LNet is off".into() } else { status.listening.join(", ") };
    let kernel = match &status.kernel_proxy {
        None => "not asked for".into(),
        Some(proxy) if proxy.is_open => proxy.nids.join(", "),
        Some(_) => "waiting for the module lustre_mgs_proxy".into(),
    };
    fields(&[
        ("listening", listening),
        ("kernel proxy", kernel),
        ("connected clients", status.exports.to_string()),
        ("config locks", status.locks.to_string()),
        ("waiting requests", status.pending.to_string()),
        ("tcp connections", format!("{} of {} nodes", status.connections, status.peers)),
        ("connects", status.connects.to_string()),
        ("evictions", status.evictions.to_string()),
        ("requests", format!("{}, {} refused", status.requests, status.refused)),
        ("log blocks sent", status.log_blocks.to_string()),
        ("locks asked back", status.callbacks.to_string()),
    ])
}
