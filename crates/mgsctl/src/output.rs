//! Tables for people, JSON and YAML for programs.

use clap::ValueEnum;
use serde::Serialize;

use crate::yaml;

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// The API's answer.
    Json,
    /// The API's answer as YAML.
    Yaml,
}

impl Output {
    /// Shows `answer` as it is, or what `table` makes of it.
    pub(crate) fn show<T: Serialize>(self, answer: &T, table: impl FnOnce(&T) -> String) {
        print(&self.whole(answer).unwrap_or_else(|| table(answer)));
    }

    /// The answer as it is; nothing for people, who get something shorter.
    pub(crate) fn whole<T: Serialize>(self, answer: &T) -> Option<String> {
        match self {
            Self::Table => None,
            Self::Json => Some(json(answer)),
            Self::Yaml => Some(yaml::document(&serde_json::to_value(answer).expect("API types always serialize"))),
        }
    }

    /// One answer of a stream, for programs that read while it grows: a line of JSON, a document of YAML; nothing for people.
    pub(crate) fn one_of_many<T: Serialize>(self, answer: &T) -> Option<String> {
        match self {
            Self::Table => None,
            Self::Json => Some(format!("{}\n", serde_json::to_string(answer).expect("API types always serialize"))),
            Self::Yaml => self.whole(answer).map(|document| format!("---\n{document}")),
        }
    }
}

/// Pretty JSON.
pub(crate) fn json<T: Serialize>(answer: &T) -> String {
    let mut text = serde_json::to_string_pretty(answer).expect("API types always serialize");
    text.push('\n');
    text
}

/// Prints; a reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Columns as wide as their widest cell, two spaces between them.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these titles.
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)).into());
    }

    /// The table as text; `none` where it has no rows.
    pub(crate) fn text(&self, none: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{none}\n");
        }
        let columns = self.rows[0].len();
        let widths: Vec<usize> =
            (0..columns).map(|at| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

/// Names and values, one per line.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    fields.iter().map(|(name, value)| format!("{:<width$} {}\n", format!("{name}:"), plain(value))).collect()
}

/// A value, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), T::to_string)
}

/// Bytes in the largest unit that leaves at least one digit before the point.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = usize::try_from(bytes.max(1).ilog2() / 10).unwrap_or(0);
    let shift = 10 * u32::try_from(unit).unwrap_or(0);
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// What came from elsewhere may hold control characters; a terminal must not obey them.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_trailing_blanks_go() {
        let mut table = Table::new(&["NAME", "X"]);
        table.row(["a".into(), "1".into()]);
        table.row(["longer".into(), String::new()]);
        assert_eq!(table.text("none"), "NAME    X\na       1\nlonger\n");
        assert_eq!(Table::new(&["NAME"]).text("none"), "none\n");
    }

    #[test]
    fn sizes_have_one_decimal() {
        let sizes = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB"), (u64::MAX, "15.9 EiB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(fields(&[("label", "a\x1b[2Jb".into())]), "label: a\u{fffd}[2Jb\n");
    }
}
