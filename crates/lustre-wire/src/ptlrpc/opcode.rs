//! What can be asked for. Source: ptlrpc specification, sections 3 and 4.

use std::fmt;

/// An opcode: `pb_opc`. Unknown ones survive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opcode(pub u32);

/// Which protocol an opcode belongs to; its number stands in the upper half of `pb_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Connect, disconnect, ping.
    Obd,
    /// Locks.
    Dlm,
    /// Config logs.
    Log,
    /// What only an MGS answers.
    Mgs,
}

impl Service {
    /// Its part of `pb_version`.
    pub fn version(self) -> u32 {
        match self {
            Self::Obd => 0x1_0000,
            Self::Dlm => 0x4_0000,
            Self::Log => 0x5_0000,
            Self::Mgs => 0x6_0000,
        }
    }
}

macro_rules! opcodes {
    ($($name:ident = $value:literal $service:ident $doc:literal;)*) => {
        impl Opcode {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*

            /// The protocol that it belongs to; `None` for what this code doesn't know.
            pub fn service(self) -> Option<Service> {
                match self { $(Self::$name => Some(Service::$service),)* _ => None }
            }

            /// Lustre's name for it.
            pub fn name(self) -> Option<&'static str> {
                match self { $(Self::$name => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

opcodes! {
    LDLM_ENQUEUE = 101 Dlm "Take a lock.";
    LDLM_CANCEL = 103 Dlm "Give locks back.";
    LDLM_BL_CALLBACK = 104 Dlm "Server to client: give the lock back.";
    LDLM_CP_CALLBACK = 105 Dlm "Server to client: the lock is granted now.";
    LDLM_GL_CALLBACK = 106 Dlm "Server to client: tell about the lock (write barriers).";
    MGS_CONNECT = 250 Obd "Connect.";
    MGS_DISCONNECT = 251 Obd "Disconnect.";
    MGS_EXCEPTION = 252 Mgs "Without meaning.";
    MGS_TARGET_REG = 253 Mgs "Register a target, or say that it is up.";
    MGS_TARGET_DEL = 254 Mgs "Accepted, without effect.";
    MGS_SET_INFO = 255 Mgs "Set a parameter (old MDTs).";
    MGS_CONFIG_READ = 256 Mgs "Read the NID table or the nodemaps.";
    OBD_PING = 400 Obd "Say that one is alive.";
    LLOG_OPEN = 501 Log "Open a config log by name.";
    LLOG_NEXT_BLOCK = 502 Log "Read a block of a config log.";
    LLOG_READ_HEADER = 503 Log "Read the header of a config log.";
    LLOG_PREV_BLOCK = 508 Log "Read the block before.";
}

impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "opcode {}", self.0),
        }
    }
}
