//! What is stored under each key, as JSON.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Time;
use lustre_api::agent::{AgentOp, FormatOp, NodeInfo, PoolUser};
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::job::{Job, JobId, JobObject};
use lustre_api::node::NodeSettings;
use lustre_api::nodemap::NodemapSpec;
use lustre_api::source::SourceNote;
use lustre_api::target::{TargetSpec, TargetState};
use lustre_types::{Nid, NidList, NidRange, NodeName, SvName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::configlog::LogEvent;
use crate::decide::evacuate::{Evacuation, EvacuationLimits};
use crate::key::{Key, KeyError};

/// One object's change: its new value, or that it is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The object.
    pub key: Key,
    /// Its value afterwards.
    pub record: Option<Record>,
}

/// The value of an object. The variant is that of its [`Key`].
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Of [`Key::Mgs`].
    Mgs(MgsRecord),
    /// Of [`Key::Filesystem`].
    Filesystem(FilesystemSpec),
    /// Of [`Key::Retired`].
    Retired(BTreeSet<SvName>),
    /// Of [`Key::Target`].
    Target(Box<TargetRecord>),
    /// Of [`Key::Device`]: the target that has it.
    Device(SvName),
    /// Of [`Key::Param`].
    Param(ParamRecord),
    /// Of [`Key::Temporary`].
    Temporary(TemporaryRecord),
    /// Of [`Key::Nodemap`].
    Nodemap(Box<NodemapRecord>),
    /// Of [`Key::NodemapsActive`].
    NodemapsActive(ActiveRecord),
    /// Of [`Key::Pool`].
    Pool(PoolRecord),
    /// Of [`Key::Node`].
    Node(Box<NodeRecord>),
    /// Of [`Key::Job`].
    Job(Box<JobRecord>),
    /// Of [`Key::Hold`]: the job that has it.
    Hold(JobId),
    /// Of [`Key::Owner`].
    Owner(OwnerRecord),
    /// Of [`Key::Webhook`]: the last revision that the receiver was told of.
    Webhook(u64),
    /// Of [`Key::Log`].
    Log(Box<LogEvent>),
    /// Of [`Key::NidTable`].
    NidTable(NidTableRecord),
    /// Of [`Key::NidRow`].
    NidRow(NidRow),
    /// Of [`Key::Source`].
    Source(Box<SourceNote>),
    /// Of [`Key::Removed`].
    Removed(Box<RemovedRecord>),
}

/// An object that was removed, and comes back unless somebody confirms that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRecord {
    /// When it comes back.
    pub until: Time,
    /// What comes back.
    pub before: Removed,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removed {
    /// A tunable.
    Param(ParamRecord),
    /// A nodemap.
    Nodemap(Box<NodemapRecord>),
}

/// The MGS. Written by the first daemon on a store, and again when its version rises or it is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MgsRecord {
    /// Names everything below it.
    pub uuid: String,
    /// When the store was made.
    pub created: Time,
    /// How often it was restored from a backup.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// The version of the state: what a program has to know to read it. Those of before it was written have 1.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub version: u32,
}

fn first_version() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_first_version(version: &u32) -> bool {
    *version == 1
}

fn is_zero(epoch: &u64) -> bool {
    *epoch == 0
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// Its description by a person, with its index filled in.
    pub spec: TargetSpec,
    /// How far it has come.
    pub state: TargetState,
    /// Why it is in that state.
    pub state_reason: String,
    /// Whether it was ever in the configuration: its index is not given away again then.
    #[serde(default)]
    pub was_registered: bool,
    /// The last part of its [`Key::Device`].
    pub device_key: String,
    /// The volume label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// UUID of the file system on its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Size of its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What was on the device before the format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formatted_over: Option<String>,
    /// The NIDs that it registered with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nids: Vec<Nid>,
    /// Uuid of the client that registered it over LNet: the same registration again is no other target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registrant: Option<String>,
    /// The node that it was started on last, where that is not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_on: Option<NodeName>,
    /// The last job on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// When its reservation ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_until: Option<Time>,
    /// The partner nodes that come back unless somebody confirms those that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Pending<Vec<NidList>>>,
    /// The NIDs that a job writes again unless somebody confirms those that another job has written: of its node, then of each
    /// partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_nids: Option<Pending<NidList>>,
    /// SHA-256 of the reservation's token, in hex. The token itself is never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
}

impl TargetRecord {
    /// A target that is reserved and nothing else yet.
    pub(crate) fn new(spec: TargetSpec, device_key: String, state_reason: String) -> Self {
        Self {
            spec,
            state: TargetState::Reserved,
            state_reason,
            was_registered: false,
            device_key,
            label: None,
            uuid: None,
            size_bytes: None,
            formatted_over: None,
            nids: Vec::new(),
            registrant: None,
            runs_on: None,
            job: None,
            reserved_until: None,
            confirm: None,
            confirm_nids: None,
            token_sha256: None,
        }
    }

    /// The node that it was started on last, or is started on first.
    pub fn place(&self) -> &NodeName {
        self.runs_on.as_ref().unwrap_or(&self.spec.node)
    }

    /// The path of its device on a node: as a person wrote it for its own node, elsewhere the one that stays the same longest.
    pub fn device_on(&self, node: &NodeName) -> &str {
        if *node == self.spec.node { &self.spec.device } else { &self.device_key }
    }
}

/// A tunable that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamRecord {
    /// Its value, as the person wrote it.
    pub value: String,
    /// Set although the catalogue did not know it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_unknown: bool,
    /// What comes back unless somebody confirms the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Pending<Box<ParamRecord>>>,
}

/// A confirmation that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending<T> {
    /// Until when.
    pub until: Time,
    /// What comes back; there was nothing when missing.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub before: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

/// A nodemap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodemapRecord {
    /// Its number in what targets are sent.
    pub id: u32,
    /// Its description by a person.
    pub spec: NodemapSpec,
    /// Its ranges by their numbers in what targets are sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<u32, NidRange>,
    /// The ranges of its ban list by their numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub banned: BTreeMap<u32, NidRange>,
    /// What comes back unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Pending<Box<NodemapRecord>>>,
}

/// Whether nodemaps are in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ActiveForm")]
pub struct ActiveRecord {
    /// Whether they are.
    pub active: bool,
    /// What comes back unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Pending<bool>>,
}

/// The forms of [`ActiveRecord`] in a store: it was nothing but true or false before it could wait for a confirmation.
#[derive(Deserialize)]
#[serde(untagged)]
enum ActiveForm {
    Plain(bool),
    Full {
        active: bool,
        #[serde(default)]
        confirm: Option<Pending<bool>>,
    },
}

impl From<ActiveForm> for ActiveRecord {
    fn from(form: ActiveForm) -> Self {
        match form {
            ActiveForm::Plain(active) => Self { active, confirm: None },
            ActiveForm::Full { active, confirm } => Self { active, confirm },
        }
    }
}

/// A value that is set on nodes for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryRecord {
    /// The value.
    pub value: String,
    /// Where it was set.
    pub places: Vec<TemporaryPlace>,
    /// Who set it.
    pub who: String,
    /// When.
    pub created: Time,
    /// When what was before it is put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// One tunable of one node that has a value for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryPlace {
    /// The node.
    pub node: NodeName,
    /// The tunable's name there.
    pub name: String,
    /// What the node printed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The boot of the node at which it was set: it ends with that.
    pub boot_id: String,
}

impl TemporaryPlace {
    /// What names it: the tunable of a boot of a node.
    pub fn identity(&self) -> (&NodeName, &str, &str) {
        (&self.node, &self.name, &self.boot_id)
    }
}

/// Which instance of the MGS does something that must be done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRecord {
    /// A UUID of the process.
    pub instance: String,
    /// Where the other instances reach its API, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The newest version of the state that it can read; an older program says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knows: Option<u32>,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Its OSTs.
    pub members: BTreeSet<SvName>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Where its agent is.
    pub api_url: String,
    /// What it said of itself last.
    pub info: NodeInfo,
    /// When it enrolled.
    pub enrolled: Time,
    /// What people decided about it.
    #[serde(default)]
    pub settings: NodeSettings,
}

/// A job and what its steps are on the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job; its `version` is set when it is shown.
    pub job: Job,
    /// What each step asks of its node's agent; none for steps of the MGS. Kept as first handed out: the agent refuses the
    /// same name with another operation.
    pub ops: Vec<Option<AgentOp>>,
    /// What the MGS itself does in a step, by its place, where the step's kind does not say it all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<usize, OwnAct>,
    /// What it keeps other jobs from until it is over: each has a [`Key::Hold`]. None in records of the first version, and
    /// where the job that this one is a part of holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<JobObject>,
    /// How far an evacuation has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evacuation: Option<Box<Evacuation>>,
    /// At most so many of its steps are at work at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
    /// What it did is put back by another job unless somebody confirms it within so many seconds, counted from its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// A part of the nodes on which a job sets its tunable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingPart {
    /// The value, as the person wrote it.
    pub value: String,
    /// The nodes, and what to set on each: names or patterns.
    pub places: BTreeMap<NodeName, Vec<String>>,
}

/// A target that a job is to make, as its device was when that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// Its name.
    pub svname: SvName,
    /// What a person described, with its index.
    pub spec: TargetSpec,
    /// What its claim on the device is made on.
    pub device_key: String,
    /// What its node is asked to do; it looks at the device again before it does it.
    pub format: FormatOp,
}

/// A move of a target that a job is to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// Where it is.
    pub from: NodeName,
    /// Where it is started.
    pub to: NodeName,
    /// It is not stopped where it is: a person says that the node is off.
    pub from_is_down: bool,
    /// On ZFS, of a node that is off: the one that may have left the pool imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_of: Option<PoolUser>,
}

/// Partner nodes that a job is to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPartners {
    /// Those that the target had when the job was asked for; others by then: somebody else changed them.
    pub before: Vec<NidList>,
    /// Those that it has afterwards.
    pub after: Vec<NidList>,
}

/// What becomes of a value that nodes have taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// It stays until the node restarts, or for so many seconds.
    Temporary {
        /// The seconds.
        expires_in_s: Option<u32>,
    },
    /// It is set permanently.
    Permanent {
        /// The value, as the person wrote it.
        value: String,
        /// Although the catalogue does not know it.
        allow_unknown: bool,
        /// It goes back unless confirmed within so many seconds.
        confirm_within_s: Option<u32>,
        /// Revision of what was set when the job was asked for; 0: nothing was. Another one by then: somebody else changed it.
        revision: u64,
    },
}

/// What an evacuation sets on an OST, and takes back where it does not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OstTunable {
    /// No new objects.
    NoCreate,
    /// Nobody uses it.
    Inactive,
}

/// Something that the MGS does in a step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnAct {
    /// Writes the step's target into the configuration.
    Register,
    /// Takes the step's target out of the configuration.
    Deregister,
    /// Lets a job run whose parent this is, and waits for its end.
    Job(JobId),
    /// Makes this target by a job of its own, and waits for its end.
    Ensure(Box<PlannedTarget>),
    /// Sets the job's tunable on these nodes by a job of its own, and waits for its end.
    SetPart(Box<SettingPart>),
    /// Writes other NIDs of the step's target into the configuration: those of its node, then of each partner.
    ReplaceNids(NidList),
    /// Sets a tunable of the step's OST, `true`, or unsets it.
    Tunable(OstTunable, bool),
    /// Takes the step's OST out of all pools.
    LeavePools,
    /// Begins an evacuation within these limits: keeps new files off the OST.
    Evacuate(EvacuationLimits),
    /// Moves the step's target by a job of its own, and waits for its end.
    Move(Box<PlannedMove>),
    /// Writes which partner nodes the step's target has into the configuration.
    FailoverNodes(Box<PlannedPartners>),
    /// Says what becomes of the value that the steps before have set on nodes; the tunable is the job's object.
    KeepParam(Keep),
}

/// The table of a file system's running targets (`NIDTBL_VERSIONS`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NidTableRecord {
    /// Grows with every target that starts; 2 before the first.
    pub version: u64,
}

/// A running target, for imperative recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NidRow {
    /// The table's version that it came with.
    pub version: u64,
    /// Counts the target's starts.
    pub instance: u32,
    /// Where it is. Never empty.
    pub nids: Vec<Nid>,
}

/// A stored value that can't be understood.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Its key is unknown.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its value is not what the key promises.
    #[error("the stored value of {key} can't be read")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Change {
    /// What to store: the key, and the value as JSON.
    pub fn encode(&self) -> (String, Option<Vec<u8>>) {
        let json = self.record.as_ref().map(|record| {
            let json = match record {
                Record::Mgs(record) => serde_json::to_vec(record),
                Record::Filesystem(record) => serde_json::to_vec(record),
                Record::Retired(record) => serde_json::to_vec(record),
                Record::Target(record) => serde_json::to_vec(record),
                Record::Device(record) => serde_json::to_vec(record),
                Record::Param(record) => serde_json::to_vec(record),
                Record::Nodemap(record) => serde_json::to_vec(record),
                Record::NodemapsActive(active) => serde_json::to_vec(active),
                Record::Temporary(record) => serde_json::to_vec(record),
                Record::Pool(record) => serde_json::to_vec(record),
                Record::Node(record) => serde_json::to_vec(record),
                Record::Job(record) => serde_json::to_vec(record),
                Record::Hold(record) => serde_json::to_vec(record),
                Record::Owner(record) => serde_json::to_vec(record),
                Record::Webhook(delivered) => serde_json::to_vec(delivered),
                Record::Log(record) => serde_json::to_vec(record),
                Record::NidTable(record) => serde_json::to_vec(record),
                Record::NidRow(record) => serde_json::to_vec(record),
                Record::Source(record) => serde_json::to_vec(record),
                Record::Removed(record) => serde_json::to_vec(record),
            };
            json.expect("records have string keys and no failing serializer")
        });
        (self.key.to_string(), json)
    }

    /// What was stored. Errors: [`RecordError`] names the key.
    pub fn decode(key: &str, value: Option<&[u8]>) -> Result<Self, RecordError> {
        let parsed: Key = key.parse()?;
        let record = match value {
            None => None,
            Some(json) => {
                let record = Record::decode(&parsed, json);
                Some(record.map_err(|source| RecordError::Value { key: key.to_owned(), source })?)
            }
        };
        Ok(Self { key: parsed, record })
    }
}

impl Record {
    fn decode(key: &Key, json: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match key {
            Key::Mgs => Self::Mgs(serde_json::from_slice(json)?),
            Key::Filesystem(_) => Self::Filesystem(serde_json::from_slice(json)?),
            Key::Retired(_) => Self::Retired(serde_json::from_slice(json)?),
            Key::Target(_) => Self::Target(serde_json::from_slice(json)?),
            Key::Device(..) => Self::Device(serde_json::from_slice(json)?),
            Key::Param(_) => Self::Param(serde_json::from_slice(json)?),
            Key::Nodemap(_) => Self::Nodemap(serde_json::from_slice(json)?),
            Key::NodemapsActive => Self::NodemapsActive(serde_json::from_slice(json)?),
            Key::Temporary(_) => Self::Temporary(serde_json::from_slice(json)?),
            Key::Pool(..) => Self::Pool(serde_json::from_slice(json)?),
            Key::Node(_) => Self::Node(serde_json::from_slice(json)?),
            Key::Job(_) => Self::Job(serde_json::from_slice(json)?),
            Key::Hold(_) => Self::Hold(serde_json::from_slice(json)?),
            Key::Owner(_) => Self::Owner(serde_json::from_slice(json)?),
            Key::Webhook(_) => Self::Webhook(serde_json::from_slice(json)?),
            Key::Log(..) => Self::Log(serde_json::from_slice(json)?),
            Key::NidTable(_) => Self::NidTable(serde_json::from_slice(json)?),
            Key::NidRow(_) => Self::NidRow(serde_json::from_slice(json)?),
            Key::Source => Self::Source(serde_json::from_slice(json)?),
            Key::Removed(_) => Self::Removed(serde_json::from_slice(json)?),
        })
    }
}
