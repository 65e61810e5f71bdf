//! `mgsctl log`

use std::io::Write;

use lustre_api::log::{GetLog, GetLogRaw, ListLogs, Log, LogFormat, LogInfo, LogPath, LogQuery};
use lustre_api::{Nothing, PageQuery};

use crate::cli::LogCommand;
use crate::output::{Output, Table, json, or_dash, print, size};
use crate::status::all;
use crate::{Context, Failure};

pub(crate) async fn run(context: &Context, command: LogCommand) -> Result<(), Failure> {
    let client = &context.client;
    match command {
        LogCommand::List { fsname } => {
            let list = all::<ListLogs, _>(context, PageQuery { fsname, ..PageQuery::default() }).await?;
            context.output.show(&list, |list| table(list));
        }
        LogCommand::Show { name, raw } => {
            let path = LogPath { name };
            if context.output == Output::Json {
                let log: Log = client.call::<GetLog>(&path, &LogQuery::default(), &Nothing {}).await?;
                print(&json(&log));
                return Ok(());
            }
            let format = if raw { LogFormat::YamlRaw } else { LogFormat::Yaml };
            let text = client.bytes::<GetLog>(&path, &LogQuery { format }).await?;
            print(&String::from_utf8_lossy(&text));
        }
        LogCommand::Raw { name } => {
            let bytes = client.bytes::<GetLogRaw>(&LogPath { name }, &Nothing {}).await?;
            // A reader that went away is no error.
            let _ = std::io::stdout().lock().write_all(&bytes);
        }
    }
    Ok(())
}

fn table(list: &[LogInfo]) -> String {
    let mut table = Table::new(&["LOG", "FILE SYSTEM", "RECORDS", "LAST", "SIZE", "REVISION"]);
    for log in list {
        table.row([
            log.name.clone(),
            or_dash(log.fsname.as_ref()),
            log.record_count.to_string(),
            log.last_index.to_string(),
            size(log.size_bytes),
            log.revision.to_string(),
        ]);
    }
    table.text("no config logs")
}
