//! A person with `terraform`: a real MGS, real agents, image files and loop devices, and the real `mke2fs`.

mod confirm;
mod conflict;
mod drift;
mod examples;
mod import;
mod interrupted;
mod next;
mod nodemaps;
mod packaging;
mod page;
mod param_sets;
mod refused;
mod removal;
mod site;
mod tunables;
mod waiting;
mod zfs;
