//! `lustre-modules ARGS_FILE` or `lustre-modules -`: see the library's text.

use std::process::ExitCode;

fn main() -> ExitCode {
    lustre_modules::run(std::env::args())
}
