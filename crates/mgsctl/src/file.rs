//! Files with JSON that people hand over.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::Failure;

/// Reads a file; `-` is standard input. `what` is what it should hold, as in `nodemap`.
pub(crate) fn read<T: DeserializeOwned>(file: &Path, what: &str) -> Result<T, Failure> {
    let name = file.display();
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|err| Failure::Local(format!("{name}: {err}")))?;
    serde_json::from_str(&text).map_err(|err| Failure::Local(format!("{name} is no {what}: {err}")))
}
