//! `ldd_params`: a list of `key=value`, each with one space before it.

use thiserror::Error;

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamEntry {
    /// Before the first `=`, such as `mgsnode`, `failover.node` or `ost.writethrough_cache_enable`.
    pub key: String,
    /// Behind the first `=`, as typed by the administrator: values are never converted. Lists of nodes (`mgsnode`,
    /// `failover.node`) read as a [`NidList`](lustre_types::NidList).
    pub value: String,
}

/// All parameters of a target in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params(pub Vec<ParamEntry>);

/// Why a text is no list of parameters.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ParamsError {
    /// A word without `=`.
    #[error("parameter {0:?} has no '='")]
    NoEquals(String),
    /// A word with nothing before its `=`.
    #[error("parameter {0:?} has no name before its '='")]
    NoKey(String),
}

impl Params {
    /// Reads the text of `ldd_params`. Runs of blanks between entries are taken as one.
    pub fn parse(text: &str) -> Result<Self, ParamsError> {
        text.split_ascii_whitespace()
            .map(|word| match word.split_once('=') {
                None => Err(ParamsError::NoEquals(word.to_owned())),
                Some(("", _)) => Err(ParamsError::NoKey(word.to_owned())),
                Some((key, value)) => Ok(ParamEntry { key: key.to_owned(), value: value.to_owned() }),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The values of every entry named `key`, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    /// Appends an entry.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push(ParamEntry { key: key.into(), value: value.into() });
    }
}

/// The text of `ldd_params`: one space before each entry.
impl core::fmt::Display for Params {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|entry| write!(f, " {}={}", entry.key, entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_parameter_is_named() {
        assert_eq!(Params::parse(" a=1 b"), Err(ParamsError::NoEquals("b".into())));
        assert_eq!(Params::parse(" =1"), Err(ParamsError::NoKey("=1".into())));
        assert_eq!(Params::parse(" a=1=2").unwrap().to_string(), " a=1=2");
    }
}
