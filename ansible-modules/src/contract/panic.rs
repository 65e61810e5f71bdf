//! A panic is a failed result, too: without JSON Ansible would only say "Module result deserialization failed".

use std::io::Write;

use serde_json::json;

use super::{Secrets, scrub};

/// From now on a panic prints a failed result and ends the process with 1, also where panics abort.
///
/// `secrets` are removed from it. Called again when more of them are known.
pub fn report_panics_as_json(module: String, secrets: Secrets) {
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let mut result = json!({
            "failed": true,
            "changed": false,
            "msg": format!(
                "{module} stopped at a fault of its own: {message}{place}; please report this. \
                 What was already under way on the server goes on: see lustre_info for its jobs"
            ),
        });
        scrub(&mut result, &secrets);
        let mut out = std::io::stdout().lock();
        // Nobody is left to tell if standard output is closed.
        let _ = writeln!(out, "\n{result}").and_then(|()| out.flush());
        std::process::exit(1);
    }));
}
