//! `mgsctl backup`

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lustre_api::Nothing;
use lustre_api::backup::TakeBackup;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::output::print;
use crate::{Context, Failure};

/// Writes a backup beside `file` and moves it there when it is complete and its checksum is right.
pub(crate) async fn take(context: &Context, file: &Path) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = write(context, &part).await.and_then(|lines| {
        std::fs::rename(&part, file).map_err(|err| local("move the backup to", file, &err))?;
        Ok(lines)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    print(&format!("{}: {} lines, checksum verified\n", file.display(), written?));
    Ok(())
}

async fn write(context: &Context, part: &Path) -> Result<u64, Failure> {
    let io = |err: std::io::Error| local("write", part, &err);
    // It holds everything that the MGS knows: for its owner only.
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part).map_err(io)?;
    let mut stream = context.client.stream::<TakeBackup>(&Nothing {}, &Nothing {}).await?;
    let (mut hash, mut lines, mut end) = (Sha256::new(), 0u64, None);
    while let Some((_, line)) = stream.next().await? {
        let text = line.line + "\n";
        file.write_all(text.as_bytes()).map_err(io)?;
        if text.starts_with("{\"end\"") {
            end = serde_json::from_str::<Value>(&text).ok();
            break;
        }
        hash.update(text.as_bytes());
        lines += 1;
    }
    let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let is_whole = end.is_some_and(|end| end["end"]["sha256"] == sum && end["end"]["lines"] == lines);
    if !is_whole {
        return Err(Failure::Local("the MGS ended the backup before it was complete; try again".into()));
    }
    file.sync_all().map_err(io)?;
    Ok(lines + 1)
}

fn local(action: &str, path: &Path, err: &std::io::Error) -> Failure {
    Failure::Local(format!("can't {action} {}: {err}", path.display()))
}
