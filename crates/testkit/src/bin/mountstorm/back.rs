//! A client after a restart of the MGS, as kernels do it: a ping that nobody knows, a reconnect that turns out to be an
//! eviction, every lock taken anew, every log looked at for what is new in it. Source: MGS specification, section 5.7.

use std::time::Instant;

use anyhow::{Context, ensure};
use lustre_wire::fixed::Fixed;
use lustre_wire::ldlm::ResourceKind;
use lustre_wire::mgs::{ConfigResult, LlogBody};
use lustre_wire::ptlrpc::{Body, Message, Opcode, connect_op};

use crate::client::{Asked, Client, Send, last_index};

const NOTCONN: i32 = -107;
const NOENT: i32 = -2;

/// What was asked for last on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ping,
    Connect,
    TableLock,
    Table,
    ConfigLock,
    ConfigLog,
    ConfigHeader,
    ParamsLock,
    ParamsLog,
    ParamsHeader,
    SptlrpcLock,
    SptlrpcLog,
}

impl Client {
    /// Begins to come back; or, if it is back, reads the NID table again, as soon as nothing else is under way.
    pub(crate) fn come_back(&mut self) -> Option<Send> {
        if self.back_at.is_none() && self.asked == Asked::Nothing {
            return Some(self.send(Asked::Back(Step::Ping), Opcode::OBD_PING, &[]));
        }
        self.is_table_due = true;
        (self.asked == Asked::Nothing).then(|| self.table_again())
    }

    fn table_again(&mut self) -> Send {
        (self.is_table_due, self.table_asked_at) = (false, None);
        self.lock(Asked::Back(Step::TableLock), "storm", ResourceKind::Recover)
    }

    /// Takes in an answer on the way back. Errors: anything but what an MGS answers that was started anew on the same store.
    pub(crate) fn is_back(&mut self, step: Step, body: &Body, message: &Message<'_>) -> anyhow::Result<Option<Send>> {
        let expected = match step {
            Step::Ping => NOTCONN,
            Step::SptlrpcLog => NOENT,
            _ => 0,
        };
        ensure!(body.status == expected, "{step:?} was answered {} after the restart", body.status);
        let second = message.buffer(1).unwrap_or_default();
        let next = match step {
            Step::Ping => {
                self.conn_cnt += 1;
                self.asked = Asked::Back(Step::Connect);
                return Ok(Some(self.connect_with(0)));
            }
            Step::Connect => {
                let is_evicted = body.op_flags & connect_op::RECONNECT != 0 && body.handle != self.handle;
                ensure!(is_evicted, "a client of the MGS before was not told that it has lost its locks");
                self.handle = body.handle;
                self.lock(Asked::Back(Step::TableLock), "storm", ResourceKind::Recover)
            }
            Step::TableLock => self.nid_table_from(Asked::Back(Step::Table), self.table + 1),
            Step::Table => {
                let table = ConfigResult::decode(second)?.size;
                ensure!(table >= self.table, "the NID table's version went from {} back to {table}", self.table);
                self.table = table;
                if self.back_at.is_some() {
                    return Ok(self.at_rest());
                }
                self.lock(Asked::Back(Step::ConfigLock), "storm", ResourceKind::Config)
            }
            Step::ConfigLock => self.open(Asked::Back(Step::ConfigLog), "storm-client"),
            Step::ConfigLog => {
                self.log = LlogBody { flags: 4, ..LlogBody::decode(second)? };
                self.header(Asked::Back(Step::ConfigHeader))
            }
            Step::ConfigHeader => {
                let (read, now) = (self.last_index, last_index(second)?);
                ensure!(read == now, "the log had {read} records before the restart and has {now}");
                self.lock(Asked::Back(Step::ParamsLock), "params", ResourceKind::Params)
            }
            Step::ParamsLock => self.open(Asked::Back(Step::ParamsLog), "params"),
            Step::ParamsLog => {
                let config = self.log;
                self.log = LlogBody { flags: 4, ..LlogBody::decode(second).context("params")? };
                let header = self.header(Asked::Back(Step::ParamsHeader));
                self.log = config;
                header
            }
            Step::ParamsHeader => self.lock(Asked::Back(Step::SptlrpcLock), "storm", ResourceKind::Config),
            Step::SptlrpcLock => self.open(Asked::Back(Step::SptlrpcLog), "storm-sptlrpc"),
            Step::SptlrpcLog => {
                self.back_at = Some(Instant::now());
                return Ok(self.at_rest());
            }
        };
        Ok(Some(next))
    }

    /// Nothing is under way any more; but the NID table may have changed meanwhile.
    fn at_rest(&mut self) -> Option<Send> {
        self.asked = Asked::Nothing;
        self.is_table_due.then(|| self.table_again())
    }
}
