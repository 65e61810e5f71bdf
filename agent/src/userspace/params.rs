//! What a config log sets on a target.

use lustre_wire::llog::{LustreCfg, Marker, MarkerFlags, Record, command};
use std::collections::BTreeMap;

/// The parameters that records have set, the last value of each.
///
/// A record counts while its section is open and not skipped. What a section sets that is skipped later stays until
/// the log is read anew, as on a kernel target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<String, String>,
    is_open: bool,
}

impl Params {
    /// What the records set, from the beginning of a log.
    pub fn of(records: &[Record]) -> Self {
        let mut params = Self::default();
        params.read(records);
        params
    }

    /// Takes in further records.
    pub fn read(&mut self, records: &[Record]) {
        for record in records {
            let Some(Ok(cfg)) = record.config() else { continue };
            match Marker::of(&cfg) {
                Some(Ok(marker)) => {
                    let begins = marker.flags.contains(MarkerFlags::START);
                    self.is_open = begins && !marker.flags.contains(MarkerFlags::SKIP);
                }
                Some(Err(_)) => self.is_open = false,
                None if self.is_open => self.set(&cfg),
                None => {}
            }
        }
    }

    /// Every parameter with its value.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    fn set(&mut self, cfg: &LustreCfg) {
        let sets = [command::PARAM, command::SET_PARAM, command::SET_TIMEOUT, command::SET_LDLM_TIMEOUT];
        if let Some((key, value)) = cfg.text(1).split_once('=').filter(|_| sets.contains(&cfg.command)) {
            self.values.insert(key.to_owned(), value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::llog::LogFile;

    fn section(log: &mut LogFile, flags: MarkerFlags, text: &str) {
        let marker = |end: MarkerFlags| Marker::new(2, end | flags, 1, 1, "gold-OST0000", "x").unwrap().cfg();
        log.append(&marker(MarkerFlags::START)).unwrap();
        log.append(&LustreCfg::texts(command::PARAM, &["gold-OST0000", text])).unwrap();
        log.append(&marker(MarkerFlags::END)).unwrap();
    }

    #[test]
    fn the_last_value_that_counts_is_effective() {
        let mut log = LogFile::new(0);
        section(&mut log, MarkerFlags::SKIP, "ost.a=1");
        section(&mut log, MarkerFlags::default(), "ost.b=1");
        section(&mut log, MarkerFlags::default(), "ost.b=2");
        // Outside of any section nothing counts.
        log.append(&LustreCfg::texts(command::PARAM, &["gold-OST0000", "ost.c=1"])).unwrap();
        let mut params = Params::of(&log.records);
        assert_eq!(params.values().iter().collect::<Vec<_>>(), [(&"ost.b".to_owned(), &"2".to_owned())]);
        let mut more = LogFile::new(0);
        section(&mut more, MarkerFlags::default(), "sys.timeout=40");
        params.read(&more.records);
        assert_eq!(params.values().len(), 2);
    }
}
