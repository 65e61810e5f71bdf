//! What an endpoint is, and what all of them share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One HTTP call: `rest` makes the axum route, the OpenAPI operation and the client's call from it.
pub trait Endpoint: 'static {
    /// The `operationId`, as in `get_filesystem`.
    const NAME: &'static str;
    /// The HTTP method.
    const METHOD: Method;
    /// The path with its variables, as in `/v1/filesystems/{fsname}`; each variable is a field of [`Endpoint::Path`].
    const PATH: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// The status of success.
    const STATUS: u16 = 200;
    /// Whether the answer is a stream of server-sent events, each with a [`Endpoint::Reply`] as data.
    const STREAM: bool = false;
    /// Whether programs call it all the time: a success is not worth a line in the log.
    const ROUTINE: bool = false;
    /// The types of content that it answers with. JSON is a [`Endpoint::Reply`], anything else text or bytes of its own.
    const CONTENT: &'static [&'static str] = &["application/json"];
    /// The path's variables.
    type Path: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// The query's parameters.
    type Query: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// The body, or [`Nothing`].
    type Body: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// The answer.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// The HTTP methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Starts something, or creates what has no name yet.
    Post,
    /// Ensures that a named object is as described.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// As HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// No path variables, no query, no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Query of every list: where to go on and how much to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// At most so many items; 1 to 1000, 100 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only items of this file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<lustre_types::FsName>,
}

/// A part of a list, in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `after` to read on; missing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The store's revision at which the list was read.
    pub revision: u64,
}

/// Query of every write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteQuery {
    /// Refuse with `conflict` when the object changed after this revision: the one at which the caller's plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Check and answer as if it were done, but change nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Why it is done; kept in the history. At most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Name of the job that this starts, at most 52 characters; one is made up when missing. The same request with the same
    /// name again starts nothing and answers that job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<crate::job::JobId>,
    /// `digest` of the job that a `dry_run` showed: refuse with `conflict` when the job would be another one by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// Answer of every write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "WrittenOf{T}")]
pub struct Written<T> {
    /// The object after the write (with `dry_run`: as it would be).
    pub object: T,
    /// Whether anything was (would be) changed.
    pub changed: bool,
    /// The store's revision that holds the change; the current one where nothing changed.
    pub revision: u64,
    /// The job that carries it out on the nodes, where there is something to carry out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<crate::job::JobId>,
    /// That job with its steps, and what else it moves (with `dry_run`: as it would be started).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<crate::job::JobPlan>>,
    /// What the caller should know although it was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Declares endpoints: one unit struct with its [`Endpoint`] each.
macro_rules! endpoints {
    ($( $(#[doc = $doc:literal])+ $name:ident = $id:literal $method:ident $path:literal
        { $(path: $pt:ty,)? $(query: $qt:ty,)? $(body: $bt:ty,)? reply: $rt:ty $(, status: $status:literal)? $(, stream: $stream:literal)? $(, routine: $routine:literal)? $(, content: $content:expr)? $(,)? } )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
            impl $crate::Endpoint for $name {
                const NAME: &'static str = $id;
                const METHOD: $crate::Method = $crate::Method::$method;
                const PATH: &'static str = $path;
                const SUMMARY: &'static str = concat!($($doc),+).trim_ascii();
                $(const STATUS: u16 = $status;)?
                $(const STREAM: bool = $stream;)?
                $(const ROUTINE: bool = $routine;)?
                $(const CONTENT: &'static [&'static str] = &$content;)?
                type Path = endpoints!(@or $($pt)?);
                type Query = endpoints!(@or $($qt)?);
                type Body = endpoints!(@or $($bt)?);
                type Reply = $rt;
            }
        )+
    };
    (@or) => { $crate::Nothing };
    (@or $t:ty) => { $t };
}
pub(crate) use endpoints;
