//! What a receiver was told, on disk.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use lustre_api::webhook::Attempt;

/// Dead letters that are shown.
pub(super) const MAX_DEAD: usize = 1000;

/// How far a receiver has been told: `<name>.delivered`, and `<name>.dead`, one JSON object a line.
pub(super) struct Cursor {
    file: PathBuf,
    dead: PathBuf,
    delivered: u64,
}

impl Cursor {
    /// Reads it, or makes it at revision `head`. Errors: a file that is not one.
    pub(super) fn open(directory: &Path, name: &str, head: u64) -> anyhow::Result<Self> {
        let file = directory.join(format!("{name}.delivered"));
        let mut cursor = Self { dead: directory.join(format!("{name}.dead")), file, delivered: head };
        match std::fs::read_to_string(&cursor.file) {
            Ok(text) => {
                cursor.delivered =
                    text.trim().parse().with_context(|| format!("{} holds no revision", cursor.file.display()))?;
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => cursor.advance(head)?,
            Err(err) => return Err(err).with_context(|| format!("can't read {}", cursor.file.display())),
        }
        Ok(cursor)
    }

    /// Everything up to here is done with.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Notes that, durably.
    pub(super) fn advance(&mut self, revision: u64) -> anyhow::Result<()> {
        let new = self.file.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            writeln!(file, "{revision}")?;
            file.sync_all()?;
            std::fs::rename(&new, &self.file)
        };
        write().with_context(|| format!("can't write {}", self.file.display()))?;
        self.delivered = revision;
        Ok(())
    }

    /// Puts a change among the dead letters.
    pub(super) fn bury(&self, attempt: &Attempt) -> anyhow::Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.dead)?;
            writeln!(file, "{}", serde_json::to_string(attempt)?)?;
            file.sync_all()
        };
        write().with_context(|| format!("can't write {}", self.dead.display()))
    }

    /// The last dead letters, oldest first. A line that was cut by a crash is left out.
    pub(super) fn dead_letters(&self) -> Vec<Attempt> {
        let Ok(file) = File::open(&self.dead) else { return Vec::new() };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        let mut letters: Vec<Attempt> = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
        letters.drain(..letters.len().saturating_sub(MAX_DEAD));
        letters
    }
}
