//! What `mke2fs` prints while it works: `phase: n/total`, overwritten in place with backspaces about once a second.

/// What `mke2fs` does last.
const LAST_PHASE: &str = "Writing superblocks and filesystem accounting information:";

/// How far it has come in its current phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mke2fsProgress {
    /// In `mke2fs`'s words, in lower case: `writing inode tables`.
    pub phase: String,
    /// `(done, total)` where the phase counts.
    pub counted: Option<(u64, u64)>,
}

impl Mke2fsProgress {
    /// What this phase counts.
    pub fn unit(&self) -> &'static str {
        match self.phase.as_str() {
            "discarding device blocks" => "blocks",
            "writing inode tables"
            | "allocating group tables"
            | "writing superblocks and filesystem accounting information" => "groups",
            _ => "steps",
        }
    }
}

/// The last thing that the output says about progress, from the last few KiB of it.
pub fn latest_progress(output: &[u8]) -> Option<Mke2fsProgress> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|line| phase_of(line).is_some())?;
    let phase = phase_of(line)?.to_lowercase();
    // Each new count is printed over the one before; the last that is whole counts.
    let counts = line.split(['\u{8}', ' ', ':']).rev().find_map(|word| {
        let (done, total) = word.split_once('/')?;
        Some((done.parse().ok()?, total.parse().ok()?))
    });
    let is_done = line.trim_end().ends_with("done");
    let counted = match counts {
        Some((_, total)) if is_done => Some((total, total)),
        counts => counts,
    };
    Some(Mke2fsProgress { phase, counted })
}

/// Whether `mke2fs` came to its end and all of its writes went well: `done` behind its last phase is printed when the file
/// system was closed and synced without an error.
pub fn has_said_done(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output);
    text.lines().any(|line| line.starts_with(LAST_PHASE) && overwritten(line).ends_with("done"))
}

/// `Writing inode tables` of `Writing inode tables:  3/12`; facts such as `Filesystem UUID: …` are no phases.
fn phase_of(line: &str) -> Option<&str> {
    let (phase, _) = line.split_once(':')?;
    let first = phase.split(' ').next()?;
    let is_phase = first.ends_with("ing") || first == "Zeroing";
    // `Creating filesystem with …` has no colon of its own, `Creating journal (4096 blocks): done` loses its count.
    is_phase.then(|| phase.split(" (").next().unwrap_or(phase))
}

/// The last `most` lines as a person would see them on a terminal.
pub fn last_lines(output: &[u8], most: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let mut lines: Vec<String> = text.lines().map(overwritten).filter(|line| !line.is_empty()).collect();
    lines.drain(..lines.len().saturating_sub(most));
    lines
}

/// A line after its backspaces have been obeyed.
fn overwritten(line: &str) -> String {
    let mut seen: Vec<char> = Vec::new();
    let mut at: usize = 0;
    for character in line.chars() {
        match character {
            '\u{8}' => at = at.saturating_sub(1),
            '\r' => at = 0,
            other => {
                if at < seen.len() {
                    seen[at] = other;
                } else {
                    seen.push(other);
                }
                at += 1;
            }
        }
    }
    seen.into_iter().collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backspaces(count: usize) -> String {
        "\u{8}".repeat(count)
    }

    fn at(phase: &str, counted: Option<(u64, u64)>) -> Option<Mke2fsProgress> {
        Some(Mke2fsProgress { phase: phase.into(), counted })
    }

    #[test]
    fn the_last_count_of_the_last_phase_is_the_progress() {
        let mut out = "mke2fs 1.47.0 (5-Feb-2023)\nCreating filesystem with 12 4k blocks and 5 inodes\nFilesystem UUID: e9d17a7b-98b9\n".to_owned();
        assert_eq!(latest_progress(out.as_bytes()), None);
        out += "Writing inode tables:     0/13112";
        assert_eq!(latest_progress(out.as_bytes()), at("writing inode tables", Some((0, 13112))));
        out += &format!("{}  417/13112", backspaces(11));
        assert_eq!(latest_progress(out.as_bytes()), at("writing inode tables", Some((417, 13112))));
        out += &format!("{}   42", backspaces(11));
        assert_eq!(latest_progress(out.as_bytes()), at("writing inode tables", Some((417, 13112))), "cut in a number");
        out += &format!("1/13112{}           {}done\n", backspaces(11), backspaces(11));
        assert_eq!(latest_progress(out.as_bytes()), at("writing inode tables", Some((13112, 13112))));
        out += "Creating journal (1048576 blocks): ";
        assert_eq!(latest_progress(out.as_bytes()), at("creating journal", None));
    }

    #[test]
    fn only_done_behind_the_last_phase_is_the_end() {
        let mut out = "Writing inode tables: done\nCreating journal (4096 blocks): done\n".to_owned();
        assert!(!has_said_done(out.as_bytes()));
        out += &format!("{LAST_PHASE}   0/103");
        assert!(!has_said_done(out.as_bytes()));
        // What it says where a write failed; the complaint itself goes elsewhere.
        assert!(!has_said_done(format!("{out}{}       {}", backspaces(7), backspaces(7)).as_bytes()));
        out += &format!("{}       {}done\n\n", backspaces(7), backspaces(7));
        assert!(has_said_done(out.as_bytes()));
    }

    #[test]
    fn lines_read_as_on_a_terminal() {
        let out = format!(
            "Writing inode tables:  0/13{}     {}done                            \n\n",
            backspaces(5),
            backspaces(5)
        );
        assert_eq!(last_lines(out.as_bytes(), 5), ["Writing inode tables: done"]);
        assert_eq!(last_lines(b"a\nb\nc\n", 2), ["b", "c"]);
    }
}
