//! Targets that say that they are up: those that wait at the same time are committed together.
//!
//! After a restart of the MGS all targets of a file system announce themselves at once, and every announcement changes the
//! one NID table: one commit after the other, each waiting for its fsync, a thousand of them would take ten seconds.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lustre_mgs_core::decide::target_reg::announced_together;
use lustre_mgs_core::serve::{RegistrationRequest, Ticket};

use crate::engine::Caller;
use crate::net::Nodes;

/// Most announcements of one commit. Each may change two objects, and etcd takes 128 changes at once.
const TOGETHER: usize = 48;

/// One that waits.
type Announcement = (Ticket, Box<RegistrationRequest>);

/// Those that wait for the commit that is under way.
#[derive(Default)]
pub(super) struct Announcements(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    targets: VecDeque<Announcement>,
    is_busy: bool,
}

impl Announcements {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one wait. `true`: nobody is at work, so somebody has to begin.
    fn push(&self, announcement: Announcement) -> bool {
        let mut waiting = self.waiting();
        waiting.targets.push_back(announcement);
        !std::mem::replace(&mut waiting.is_busy, true)
    }

    /// Those to commit next: of one file system, each target once. Empty: there are none, and whoever asked is done.
    fn next(&self) -> Vec<Announcement> {
        let mut waiting = self.waiting();
        let mut together: Vec<Announcement> = Vec::new();
        let (mut names, mut left) = (BTreeSet::new(), VecDeque::new());
        for announcement in waiting.targets.drain(..) {
            let svname = &announcement.1.svname;
            let fits = together.first().is_none_or(|first| first.1.svname.fsname() == svname.fsname());
            if fits && together.len() < TOGETHER && names.insert(svname.clone()) {
                together.push(announcement);
            } else {
                left.push_back(announcement);
            }
        }
        waiting.targets = left;
        waiting.is_busy = !together.is_empty();
        together
    }
}

impl Nodes {
    /// A target says that it is up.
    pub(super) fn announce(self: &Arc<Self>, ticket: Ticket, asked: Box<RegistrationRequest>) {
        if self.announcements.push((ticket, asked)) {
            self.runtime.spawn(self.clone().commit_announcements());
        }
    }

    async fn commit_announcements(self: Arc<Self>) {
        loop {
            let together = self.announcements.next();
            let asked: Vec<&RegistrationRequest> = together.iter().map(|(_, asked)| &**asked).collect();
            let Some(first) = asked.first() else { return };
            let who = if asked.len() == 1 { format!("lnet:{}", first.from) } else { "lnet".to_owned() };
            let caller = Caller::new(who);
            let written = self.engine.write_as(&caller, |state, req| announced_together(state, req, &asked)).await;
            let written = match written {
                Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
                Err(problem) => vec![Err(problem); asked.len()],
            };
            let mut outcomes = Vec::with_capacity(together.len());
            for ((ticket, asked), written) in together.iter().zip(written) {
                let outcome = match written {
                    // A refusal is true of the newest state only, and that is looked for when nothing is committed beside it.
                    Ok(Err(_)) if together.len() > 1 => self.commit(asked).await,
                    written => self.outcome(asked, written),
                };
                outcomes.push((*ticket, outcome));
            }
            let mut effects = Vec::new();
            let mut service = self.service();
            for (ticket, outcome) in outcomes {
                service.decided(self.now_ms(), ticket, outcome, &mut effects);
            }
            self.carry_out_alone(effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(number: u64, svname: &str) -> Announcement {
        let svname = svname.parse().expect("a target's name");
        let from = lustre_wire::lnet::WireNid::NONE;
        let (nids, params, client) = (Vec::new(), Vec::new(), String::new());
        let asked = RegistrationRequest { svname, flags: 0, nids, params, client, from, ready: None };
        (Ticket(number), Box::new(asked))
    }

    #[test]
    fn what_waits_is_taken_in_order_by_file_system_and_each_target_once() {
        let all = Announcements::default();
        assert!(all.push(announcement(1, "a-OST0000")), "the first begins");
        for (number, svname) in [(2, "b-OST0000"), (3, "a-OST0001"), (4, "a-OST0000"), (5, "b-OST0001")] {
            assert!(!all.push(announcement(number, svname)), "somebody is at work");
        }
        let next = || all.next().iter().map(|(ticket, _)| ticket.0).collect::<Vec<_>>();
        assert_eq!(next(), [1, 3]);
        assert_eq!(next(), [2, 5]);
        assert_eq!(next(), [4]);
        assert!(next().is_empty());
        assert!(all.push(announcement(6, "a-OST0000")), "nobody is at work any more");
        for number in 7..200 {
            all.push(announcement(number, &format!("a-OST{number:04x}")));
        }
        assert_eq!(next().len(), TOGETHER);
    }
}
