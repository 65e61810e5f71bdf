//! Reading the NID table. Source: MGS specification, section 3.

use crate::{
    call::{Bulk, Request},
    client::Mgc,
    error::{MgcError, status},
    standing::Standing,
};
use bytes::Bytes;
use lustre_types::FsName;
use lustre_wire::{
    fixed::{Fixed, Text},
    ldlm::{ResourceId, ResourceKind},
    mgs::{ConfigRead, ConfigReadKind, ConfigResult, NidTableEntry, unpack_nid_table},
    ptlrpc::Opcode,
};

/// Logarithm of the unit's size, and units that there is room for: 1 MiB, as a kernel asks first.
const UNIT_BITS: u8 = 12;
const UNITS: u32 = 256;
/// Size of NIDs in the larger form.
const LARGE_NID: u8 = 20;

impl Mgc {
    /// The NID table of a file system from a version on: which targets run where. Gives its version too; nothing if the
    /// MGS doesn't know the file system.
    pub async fn nid_table(&self, fsname: &FsName, from: u64) -> Result<Option<(Vec<NidTableEntry>, u64)>, MgcError> {
        self.nid_table_as(&format!("{fsname}-cliir"), from).await
    }

    /// Follows the NID table of a file system: `<fsname>-cliir`, as clients name it, or `<fsname>-mdtir`, as MDTs do.
    ///
    /// Errors: a file system's name of more than 8 characters.
    pub fn follow_nid_table(&self, name: &str) -> Result<NidTableFollower, MgcError> {
        let resource = ResourceId::of_log(name, ResourceKind::Recover);
        let resource = resource.map_err(|error| MgcError::Name(error.to_string()))?;
        Ok(NidTableFollower { standing: Standing::new(self, resource), name: name.to_owned(), version: 0 })
    }

    async fn nid_table_as(&self, name: &str, from: u64) -> Result<Option<(Vec<NidTableEntry>, u64)>, MgcError> {
        let mut entries = Vec::new();
        let mut offset = from;
        loop {
            let Some((result, data)) = self.config_read(name, ConfigReadKind::Recover, offset, LARGE_NID).await? else {
                return Ok(None);
            };
            let opc = Opcode::MGS_CONFIG_READ;
            let malformed = |source| MgcError::Malformed { nid: self.mgs(), opc, source };
            let part = unpack_nid_table(&data).map_err(malformed)?;
            let is_last = part.is_empty() || result.offset >= result.size || result.offset < offset;
            entries.extend(part);
            if is_last {
                return Ok(Some((entries, result.size)));
            }
            offset = result.offset + 1;
        }
    }

    /// One config read; nothing for a name that the MGS doesn't know.
    pub(crate) async fn config_read(
        &self,
        name: &str,
        kind: ConfigReadKind,
        offset: u64,
        nid_size_or_pass: u8,
    ) -> Result<Option<(ConfigResult, Bytes)>, MgcError> {
        let shared = self.shared();
        let text = Text::new(name).map_err(|error| MgcError::Name(error.to_string()))?;
        let read = ConfigRead { name: text, offset, kind, nid_size_or_pass, unit_bits: UNIT_BITS, units: UNITS };
        let request = Request {
            buffers: vec![read.encode()],
            reply_lens: vec![ConfigResult::LEN],
            bulk: Bulk::Sink(1 << 20),
            ..Request::new(Opcode::MGS_CONFIG_READ)
        };
        let reply = shared.call(request).await?;
        match reply.status {
            0.. => {}
            status::ENOENT => return Ok(None),
            status => return Err(shared.refused(format!("to read {name}"), status)),
        }
        let opc = Opcode::MGS_CONFIG_READ;
        let malformed = |source| MgcError::Malformed { nid: shared.mgs_name(), opc, source };
        let message = reply.message();
        let result = message.need(1, "mgs_config_res", ConfigResult::LEN).and_then(ConfigResult::decode);
        Ok(Some((result.map_err(malformed)?, reply.bulk.clone().unwrap_or_default())))
    }
}

/// Who follows a NID table: is told where targets run, and where they run next (imperative recovery).
pub struct NidTableFollower {
    standing: Standing,
    name: String,
    /// Of the table when it was read last.
    version: u64,
}

impl NidTableFollower {
    /// The entries that are new: all at the first call, even if none; later as soon as something changed.
    ///
    /// A table that is older than the one that was read (an MGS restored from a backup) is told from its beginning.
    /// Errors: the MGS isn't there or refuses; call again to go on.
    pub async fn next(&mut self) -> Result<Vec<NidTableEntry>, MgcError> {
        let lock = self.standing.take().await?;
        let mgc = self.standing.mgc.clone();
        let mut read = mgc.nid_table_as(&self.name, self.version + 1).await?;
        if read.as_ref().is_some_and(|(_, version)| *version < self.version) {
            read = mgc.nid_table_as(&self.name, 1).await?;
        }
        let (entries, version) = read.unwrap_or_default();
        self.version = version;
        self.standing.keep(lock);
        Ok(entries)
    }

    /// The table's version when it was read last; 0 before, and where the MGS has none.
    pub fn version(&self) -> u64 {
        self.version
    }
}
