//! What `tunefs.lustre` changes in a target's mountdata and label.

use super::{Flags, Label, LabelState, Mountdata, MountdataError, ParamEntry, Params, ParamsError};
use lustre_types::NidList;
use thiserror::Error;

/// Changes to a target at rest; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tunefs {
    /// `--writeconf` (true): the MGS writes the target's configuration anew when it starts next. False takes that back,
    /// and makes a target registered that nobody has marked so: its label gets the `-` that `mount.lustre` would set.
    pub writeconf: Option<bool>,
    /// `--erase-param mgsnode --mgsnode`: the NIDs of its MGS, in place of all there are.
    pub mgs_nids: Option<NidList>,
    /// `--erase-param failover.node --failnode`: the partner nodes, in place of all there are. An inner `None`: no partner.
    pub failover: Option<Option<NidList>>,
}

/// Why a target can't be changed like that.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TunefsError {
    /// The stored parameters can't be read.
    #[error("the parameters stored on the target can't be read")]
    Params(#[from] ParamsError),
    /// What is to be stored has no room.
    #[error("the parameters don't fit on the target")]
    Room(#[from] MountdataError),
    /// A stand-alone MGS has neither a configuration nor an MGS.
    #[error("a stand-alone MGS has no configuration that could be written anew, and no MGS")]
    Mgs,
}

impl Tunefs {
    /// The file and the label afterwards; both as they were where everything is as wanted already.
    ///
    /// As `tunefs.lustre` 2.17 does: which of the bits VIRGIN and WRITECONF hold says the label's separator, new partners
    /// set UPDATE, and the file gets the label with its separator. Errors: [`TunefsError`].
    pub fn apply(&self, file: &Mountdata, label: &Label) -> Result<(Mountdata, Label), TunefsError> {
        let Label::Target { svname, state } = label else { return Err(TunefsError::Mgs) };
        let state_after = match self.writeconf {
            Some(true) => LabelState::Writeconf,
            Some(false) => LabelState::Registered,
            None => *state,
        };
        let before = Params::parse(&file.params.to_string_lossy())?;
        let mut params = before.clone();
        if let Some(nids) = &self.mgs_nids {
            replace(&mut params, "mgsnode", Some(nids.to_string()));
        }
        let without_partners = params.clone();
        if let Some(nodes) = &self.failover {
            replace(&mut params, "failover.node", nodes.as_ref().map(ToString::to_string));
        }
        if params == before && state_after == *state {
            return Ok((file.clone(), label.clone()));
        }
        let mut after = file.clone();
        if params != before {
            after.params.set(&params.to_string())?;
        }
        after.flags = flags(file.flags, *state, state_after);
        if params != without_partners {
            after.flags |= Flags::UPDATE;
        }
        let label = Label::with_state(svname.clone(), state_after);
        after.svname.set(&label.to_string())?;
        Ok((after, label))
    }
}

fn flags(before: Flags, from: LabelState, to: LabelState) -> Flags {
    let mut flags = before.without(Flags::VIRGIN | Flags::WRITECONF);
    match from {
        LabelState::Virgin => flags |= Flags::VIRGIN,
        LabelState::Writeconf => flags |= Flags::WRITECONF,
        LabelState::NoLocalLogs | LabelState::Registered => {}
    }
    match to {
        LabelState::Writeconf => flags | Flags::WRITECONF,
        // As after a mount: nothing is left to be told.
        LabelState::Registered if from == LabelState::Virgin => flags.without(Flags::VIRGIN | Flags::UPDATE),
        LabelState::Registered => flags.without(Flags::WRITECONF),
        LabelState::Virgin | LabelState::NoLocalLogs => flags,
    }
}

/// Puts one entry where the first of its name is, or the MGS first and others last, as `mkfs.lustre` orders them.
fn replace(params: &mut Params, key: &str, value: Option<String>) {
    let place = params.0.iter().position(|entry| entry.key == key);
    params.0.retain(|entry| entry.key != key);
    let Some(value) = value else { return };
    let last = if key == "mgsnode" { 0 } else { params.0.len() };
    params.0.insert(place.unwrap_or(last).min(params.0.len()), ParamEntry { key: key.to_owned(), value });
}
