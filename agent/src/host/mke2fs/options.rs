//! Options for `mke2fs` from an administrator, as `mkfs.lustre --mkfsoptions` takes them.

use thiserror::Error;

/// Options that may be given, all of which take a value. Others would change what is formatted (`-n`, `-S`, a second
/// device), under which name (`-L`, `-U`), with what in it (`-d`), or past which guard (`-F`).
const ALLOWED: &str = "bCeEgGiIJmNO";
/// Words of `-E` and `-J` that would move the file system, write to another device, or leave out an accounting that Lustre
/// needs, each with the reason.
const REFUSED_WORDS: [(&str, &str); 4] = [
    ("offset", "a target begins at the start of its device"),
    ("device", "a target has its journal inside"),
    ("location", "a target's journal is where mke2fs puts it"),
    ("quotatype", "Lustre accounts by user, group and project"),
];
/// Features that make something else than a target.
const REFUSED_FEATURES: [&str; 2] = ["journal_dev", "^has_journal"];

/// Parsed options, `-O` and `-E` taken apart because the target's own are merged into them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserOptions {
    /// Everything but `-O`, `-E` and `-b`, in order: (letter, value).
    pub plain: Vec<(char, String)>,
    /// Words of all `-O`.
    pub features: Vec<String>,
    /// Words of all `-E`.
    pub extended: Vec<String>,
    /// `-b` in bytes.
    pub block_bytes: Option<u32>,
}

/// Why options can't be taken.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum UserOptionsError {
    /// Something that is no option.
    #[error("mke2fs option {0:?} does not start with '-'; only options may be given, never a device or a size")]
    NoOption(String),
    /// An option that is not the administrator's to choose here.
    #[error("mke2fs option -{0} can't be given; allowed are -{list}", list = "b -C -e -E -g -G -i -I -J -m -N -O")]
    NotAllowed(char),
    /// An option without its value.
    #[error("mke2fs option -{0} needs a value")]
    NoValue(char),
    /// A value that is refused.
    #[error("mke2fs option -{option} {value:?}: {why}")]
    Value {
        /// The option's letter.
        option: char,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl UserOptions {
    /// Parses a line such as `-O ^huge_file -E stride=16,stripe_width=64 -m 1`.
    ///
    /// No shell: words are separated by blanks and mean themselves.
    pub fn parse(line: &str) -> Result<Self, UserOptionsError> {
        let mut options = Self::default();
        let mut words = line.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let mut letters = word.strip_prefix('-').unwrap_or("").chars();
            let letter = letters.next().ok_or_else(|| UserOptionsError::NoOption(word.to_owned()))?;
            if !ALLOWED.contains(letter) {
                return Err(UserOptionsError::NotAllowed(letter));
            }
            let attached = letters.as_str();
            let value = if attached.is_empty() { words.next() } else { Some(attached) };
            let value = value.filter(|value| !value.starts_with('-')).ok_or(UserOptionsError::NoValue(letter))?;
            options.add(letter, value)?;
        }
        Ok(options)
    }

    fn add(&mut self, option: char, value: &str) -> Result<(), UserOptionsError> {
        let refuse = |why| Err(UserOptionsError::Value { option, value: value.to_owned(), why });
        let words = || value.split(',').filter(|word| !word.is_empty());
        match option {
            'O' => {
                if words().any(|word| REFUSED_FEATURES.contains(&word)) {
                    return refuse("a target is a file system with its journal inside");
                }
                self.features.extend(words().map(str::to_owned));
            }
            'E' | 'J' => {
                let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
                let refused = REFUSED_WORDS.iter().find(|(refused, _)| words().any(|word| name(word) == *refused));
                if let Some((_, why)) = refused {
                    return refuse(why);
                }
                if option == 'E' {
                    self.extended.extend(words().map(str::to_owned));
                } else {
                    self.plain.push((option, value.to_owned()));
                }
            }
            'b' => match value.parse::<u32>() {
                Ok(bytes) if (1024..=65536).contains(&bytes) && bytes.is_power_of_two() => {
                    self.block_bytes = Some(bytes);
                }
                _ => return refuse("a block has 1024 to 65536 bytes, a power of two"),
            },
            'e' => self.plain.push((option, value.to_owned())),
            _ if value.parse::<f64>().is_ok_and(|number| number >= 0.0) => self.plain.push((option, value.to_owned())),
            _ => return refuse("not a number"),
        }
        Ok(())
    }

    /// Whether `-letter` was given.
    pub fn has(&self, letter: char) -> bool {
        self.plain.iter().any(|(given, _)| *given == letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart() {
        let options =
            UserOptions::parse("-O ^huge_file -E stride=16,stripe_width=64 -m 1 -b 4096 -I1024 -Obigalloc").unwrap();
        assert_eq!(options.features, ["^huge_file", "bigalloc"]);
        assert_eq!(options.extended, ["stride=16", "stripe_width=64"]);
        assert_eq!(options.plain, [('m', "1".into()), ('I', "1024".into())]);
        assert_eq!(options.block_bytes, Some(4096));
        assert_eq!(UserOptions::parse("  "), Ok(UserOptions::default()));
    }

    #[test]
    fn nothing_gets_past_that_names_a_device_a_label_or_a_guard() {
        use UserOptionsError::{NoOption, NoValue, NotAllowed, Value};
        for (line, error) in [
            ("-F", NotAllowed('F')),
            ("-FF", NotAllowed('F')),
            ("-L x", NotAllowed('L')),
            ("-U random", NotAllowed('U')),
            ("-d /etc", NotAllowed('d')),
            ("-S", NotAllowed('S')),
            ("-n", NotAllowed('n')),
            ("-c", NotAllowed('c')),
            ("--help", NotAllowed('-')),
            ("/dev/sda", NoOption("/dev/sda".into())),
            ("-m 1 /dev/sda", NoOption("/dev/sda".into())),
            ("-", NoOption("-".into())),
            ("-m", NoValue('m')),
            ("-m -F", NoValue('m')),
        ] {
            assert_eq!(UserOptions::parse(line), Err(error), "{line}");
        }
        for line in [
            "-E offset=1",
            "-E quotatype=usrquota",
            "-J device=/dev/sda",
            "-J size=4,location=1",
            "-b 512",
            "-b 3000",
            "-m x",
            "-O journal_dev",
            "-I ;",
        ] {
            assert!(matches!(UserOptions::parse(line), Err(Value { .. })), "{line}");
        }
    }
}
