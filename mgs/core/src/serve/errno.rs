//! Errors as they travel: Linux x86 numbers, negative in a reply's status.

use std::fmt;

/// An error number, positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub u16);

macro_rules! numbers {
    ($($name:ident = $value:literal $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self($value);)*
        }

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.pad(concat!("E", stringify!($name))),)*
                    Self(other) => write!(f, "errno {other}"),
                }
            }
        }
    };
}

numbers! {
    NOENT = 2 "No such log, file system or target.";
    IO = 5 "End of a log, for clients up to 2.16.50.";
    NOMEM = 12 "More than a client may have.";
    ACCES = 13 "Not allowed.";
    FAULT = 14 "A lock of a type or mode that is not given.";
    BUSY = 16 "Something of the same client is under way.";
    NODEV = 19 "Not served here.";
    INVAL = 22 "What makes no sense.";
    RANGE = 34 "An index that no target can have.";
    BADR = 53 "End of a log, for clients from 2.16.51 on.";
    PROTO = 71 "A client of an unknown protocol, or a buffer that is missing.";
    OPNOTSUPP = 95 "Not implemented.";
    ADDRINUSE = 98 "The index belongs to another target.";
    ADDRNOTAVAIL = 99 "The target has to be started on its primary node first.";
    NOTCONN = 107 "No such connection.";
    ALREADY = 114 "Done before, or by somebody else.";
    STALE = 116 "A handle or a log that is gone.";
}

impl Errno {
    /// As in a reply's status.
    pub fn status(self) -> i32 {
        -i32::from(self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
