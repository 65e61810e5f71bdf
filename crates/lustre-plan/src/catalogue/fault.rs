//! What is wrong with a tunable.

use lustre_api::param::SetBy;

/// What is wrong with a tunable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamFault {
    /// The catalogue doesn't know it.
    #[error("tunable \"{name}\" is not in the catalogue{}", meant(near))]
    UnknownName {
        /// Its name.
        name: String,
        /// Known names that are spelled much like it, the nearest first.
        near: Vec<String>,
    },
    /// It can't be set permanently by anybody, or not this way.
    #[error("tunable \"{name}\" can't be set permanently: {}", why_not(*set_by))]
    NotSettable {
        /// Its name.
        name: String,
        /// Who can set it.
        set_by: SetBy,
        /// What else the catalogue says of it.
        note: Option<String>,
    },
    /// No device of its layer is in the scope.
    #[error("tunable \"{name}\" can't have scope \"{scope}\": {why}")]
    Scope {
        /// Its name.
        name: String,
        /// The scope.
        scope: String,
        /// What has it instead.
        why: String,
    },
    /// An empty value means "unset" to Lustre.
    #[error("tunable \"{0}\" has an empty value, which Lustre takes for removing it")]
    Empty(String),
    /// The text can't be stored.
    #[error("the value of tunable \"{name}\" {what}")]
    Text {
        /// Its name.
        name: String,
        /// What is wrong with the text.
        what: String,
    },
    /// The value has the wrong type.
    #[error("tunable \"{name}\" can't be \"{value}\": {expected} is expected")]
    Type {
        /// Its name.
        name: String,
        /// The value, shortened.
        value: String,
        /// What is expected.
        expected: String,
    },
    /// The value is out of range.
    #[error("tunable \"{name}\" can't be \"{value}\": its range is {range}")]
    Range {
        /// Its name.
        name: String,
        /// The value, shortened.
        value: String,
        /// From where to where.
        range: String,
    },
}

fn meant(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; \"{one}\" is"),
        [most @ .., last] => format!("; \"{}\" and \"{last}\" are", most.join("\", \"")),
    }
}

fn why_not(set_by: SetBy) -> &'static str {
    match set_by {
        SetBy::Any | SetBy::ConfParam => "nothing stands against it",
        SetBy::Temporary => "it acts when it is written on a node and is not kept",
        SetBy::Module => "it is an option of a kernel module, read when that is loaded",
        SetBy::Nodemap => "it belongs to a nodemap",
        SetBy::Mkfs => "it is decided when the target is formatted",
        SetBy::ReadOnly => "it can only be read",
    }
}

impl ParamFault {
    /// The attribute that is at fault.
    pub fn attribute(&self) -> &'static str {
        match self {
            Self::UnknownName { .. } | Self::NotSettable { .. } => "name",
            Self::Scope { .. } => "scope",
            _ => "value",
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownName { .. } => "unknown_tunable",
            Self::NotSettable { .. } => "not_settable",
            Self::Scope { .. } => "wrong_scope",
            Self::Empty(_) => "empty_value",
            Self::Text { .. } => "illegal_value",
            Self::Type { .. } => "wrong_type",
            Self::Range { .. } => "out_of_range",
        }
    }

    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownName { .. } => "correct the name; if it is right, set allow_unknown".to_owned(),
            Self::NotSettable { set_by, note, .. } => {
                let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                match set_by {
                    SetBy::Temporary => "set it temporarily: mgsctl param set --temporary".to_owned(),
                    SetBy::Module => format!("put it into /etc/modprobe.d on the nodes{note}"),
                    SetBy::Nodemap => "change the nodemap instead".to_owned(),
                    _ => format!("leave it out{note}"),
                }
            }
            Self::Scope { .. } => "use scope \"filesystem\", or the scope of those devices".to_owned(),
            Self::Empty(_) => "to put the default back, remove the tunable".to_owned(),
            Self::Text { .. } | Self::Type { .. } | Self::Range { .. } => "correct the value".to_owned(),
        }
    }
}
