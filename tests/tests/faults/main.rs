//! Three MGSs on three etcds on machines of their own, under followers, registrations and changes, while things break.
//!
//! What must hold, whatever breaks: nothing acknowledged is lost, no index is given twice, revisions never go backward, what
//! the API said can be explained by one order of all changes, and every follower gets to the same logs on every instance.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod api;
mod break_it;
mod cluster;
mod example;
mod file;
mod followers;
mod instances;
mod jobs;
mod mgsctl;
mod random;
mod registers;
mod rolling;
mod site;
