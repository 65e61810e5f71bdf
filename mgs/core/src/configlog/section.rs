//! A section of a log: records between two markers, and what the markers say.

use lustre_wire::llog::{LustreCfg, Marker, MarkerFlags};
use serde::{Deserialize, Serialize};

/// A section as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// `cm_step`.
    pub step: u32,
    /// What its markers' flags have besides START and END.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flags: u32,
    /// `cm_vers`.
    pub version: u32,
    /// `cm_createtime`, seconds since 1970.
    pub created: u64,
    /// `cm_canceltime`, seconds since 1970; 0 while it counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub canceled: u64,
    /// Whom it concerns.
    pub target: String,
    /// What it is about; a parameter's name.
    pub comment: String,
    /// Its commands, without the markers.
    #[serde(with = "stored")]
    pub records: Vec<LustreCfg>,
}

/// A section in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The section.
    pub section: Section,
    /// The index of each of its records: START, the commands, END. Padding may lie between.
    pub indices: Vec<u32>,
    /// Where in the file its START and END are, in bytes.
    pub(super) markers: [usize; 2],
}

impl Section {
    /// Whether readers ignore it.
    pub fn is_skipped(&self) -> bool {
        self.flags & MarkerFlags::SKIP.0 != 0
    }

    /// Its commands with the markers around; `None` when a text is too long for a marker.
    pub(super) fn commands(&self) -> Option<Vec<LustreCfg>> {
        let mut commands = vec![self.marker(MarkerFlags::START)?.cfg()];
        commands.extend(self.records.iter().cloned());
        commands.push(self.marker(MarkerFlags::END)?.cfg());
        Some(commands)
    }

    pub(super) fn marker(&self, end: MarkerFlags) -> Option<Marker> {
        let flags = end | MarkerFlags(self.flags);
        let marker = Marker::new(self.step, flags, self.version, self.created, &self.target, &self.comment)?;
        Some(Marker { canceled: self.canceled, ..marker })
    }
}

impl Placed {
    /// Its commands with their indices, without the markers.
    pub fn commands(&self) -> impl Iterator<Item = (u32, &LustreCfg)> {
        self.indices.iter().skip(1).copied().zip(&self.section.records)
    }
}

fn is_zero<T: PartialEq + Default>(value: &T) -> bool {
    *value == T::default()
}

/// Commands as they are stored: texts as texts, anything else as hex.
mod stored {
    use super::{LustreCfg, is_zero};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    struct Command {
        command: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        num: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        nid: u64,
        #[serde(default, skip_serializing_if = "is_zero")]
        nal: u32,
        bufs: Vec<Buffer>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Buffer {
        /// With a closing NUL; nothing at all when empty.
        Text(String),
        Hex {
            hex: String,
        },
    }

    impl Buffer {
        fn of(bytes: &[u8]) -> Self {
            let text = bytes.strip_suffix(b"\0").filter(|text| !text.is_empty() && !text.contains(&0));
            match (bytes, text.map(core::str::from_utf8)) {
                ([], _) => Self::Text(String::new()),
                (_, Some(Ok(text))) => Self::Text(text.to_owned()),
                _ => Self::Hex { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
            }
        }

        fn bytes(self) -> Option<Vec<u8>> {
            match self {
                Self::Text(text) if text.is_empty() => Some(Vec::new()),
                Self::Text(text) => Some([text.as_bytes(), b"\0"].concat()),
                Self::Hex { hex } => {
                    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
                }
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(records: &[LustreCfg], serializer: S) -> Result<S::Ok, S::Error> {
        let command = |cfg: &LustreCfg| Command {
            command: cfg.command,
            num: cfg.num,
            flags: cfg.flags,
            nid: cfg.nid,
            nal: cfg.nal,
            bufs: cfg.bufs.iter().map(|buf| Buffer::of(buf)).collect(),
        };
        serializer.collect_seq(records.iter().map(command))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LustreCfg>, D::Error> {
        let commands = Vec::<Command>::deserialize(deserializer)?;
        let cfg = |stored: Command| {
            let bufs: Option<_> = stored.bufs.into_iter().map(Buffer::bytes).collect();
            let bufs = bufs.ok_or_else(|| D::Error::custom("a buffer is no hex"))?;
            let Command { command, num, flags, nid, nal, .. } = Command { bufs: Vec::new(), ..stored };
            let cfg = LustreCfg { command, num, flags, nid, nal, bufs };
            if cfg.fits() { Ok(cfg) } else { Err(D::Error::custom("a command is larger than a record")) }
        };
        commands.into_iter().map(cfg).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_stored_readably_and_read_as_it_was() {
        let records = vec![
            LustreCfg { num: 40, ..LustreCfg::texts(1, &["", "sys.timeout=40"]) },
            LustreCfg { nid: 7, bufs: vec![vec![0], vec![1, 2, 0], b"x".to_vec()], ..LustreCfg::default() },
        ];
        let section = Section {
            step: 2,
            flags: 4,
            version: 3,
            created: 4,
            canceled: 5,
            target: "gold".into(),
            comment: "sys.timeout".into(),
            records,
        };
        let json = serde_json::to_string(&section).unwrap();
        assert!(json.contains(r#""bufs":["","sys.timeout=40"]"#), "{json}");
        assert_eq!(serde_json::from_str::<Section>(&json).unwrap(), section);
    }
}
