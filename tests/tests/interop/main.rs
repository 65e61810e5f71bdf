//! The MGS daemon and clients in userspace, over the network protocol of Lustre: what nodes do, and what may go wrong.

mod chaos;
mod follow;
mod loss;
mod mount;
mod netns;
mod proxy;
mod read;
mod register;
mod restart;
mod site;
