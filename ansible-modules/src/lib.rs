//! The modules of the Ansible collection `chandelier.lustre`, in one multi-call program.
//!
//! * [`argspec`]: options as Ansible knows them, and their check.
//! * [`contract`]: JSON in, one line of JSON out.
//! * [`modules`]: the modules; each gives a [`modules::Module`].
//! * [`stubs`]: the files of the collection that are generated from them.

pub mod argspec;
pub mod contract;
pub mod modules;
pub mod stubs;

use std::io::Write;
use std::process::ExitCode;

use contract::{Failure, Invocation, Secrets, background};
use serde_json::Map;

/// Serves the call that `args` (program name first) asks for, and prints its result.
#[must_use]
pub fn run(args: impl Iterator<Item = String>) -> ExitCode {
    contract::report_panics_as_json("lustre-modules".to_owned(), Secrets::new());
    let args: Vec<String> = args.collect();
    let (line, failed) = match args.get(1).map(String::as_str) {
        Some(background::START) => match background::start(&args[2..]) {
            Ok(started) => (started.to_string(), false),
            Err(failure) => contract::line(Err(failure), &Map::new(), vec![], &Secrets::new()),
        },
        // Nobody reads what it prints; its result is a file.
        Some(background::KEEP) => {
            return background::keep(&args[2..]).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        _ => called(args.into_iter()),
    };
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) if !failed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The line to print for a call, and whether it says `failed`.
fn called(args: impl Iterator<Item = String>) -> (String, bool) {
    let all = modules::all();
    let names = all.iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
    match Invocation::from_args(args, &names) {
        Ok(call) => match all.iter().find(|m| m.name == call.short_name()) {
            Some(module) => serve(module, call),
            None => {
                let message = format!("no module named {:?} in this program; it holds {names}", call.module);
                contract::line(Err(Failure::from(message)), &Map::new(), vec![], &Secrets::new())
            }
        },
        Err(error) => contract::line(Err(Failure::from(error)), &Map::new(), vec![], &Secrets::new()),
    }
}

fn serve(module: &modules::Module, call: Invocation) -> (String, bool) {
    let given = call.params.clone();
    let validated = match module.spec.validate(&call.module, call.params, call.internals.ignore_unknown) {
        Ok(validated) => validated,
        Err(rejection) => {
            return contract::line(Err(Failure::from(rejection.message)), &given, vec![], &rejection.secrets);
        }
    };
    contract::report_panics_as_json(call.module.clone(), validated.secrets.clone());
    let task = modules::Task { module: module.name, params: &validated.params, internals: call.internals };
    let result = (module.run)(&task);
    contract::line(result, &validated.params, validated.warnings, &validated.secrets)
}
