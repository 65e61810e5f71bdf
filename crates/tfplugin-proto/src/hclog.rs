//! Logs as terraform reads them from a provider's stderr: one JSON object a line, in hclog's form.
//!
//! Shown with `TF_LOG` or `TF_LOG_PROVIDER`. A line without a timestamp in exactly this form would be shown as DEBUG, as
//! one string.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

/// Sends the events of this process to stderr, as much as terraform will show; in debug mode, INFO at least.
pub(crate) fn init(is_debug: bool) {
    let level = wanted_level(|name| std::env::var(name).ok()).or(is_debug.then_some("info"));
    let Some(level) = level else { return };
    // The libraries below speak of every frame at TRACE: their warnings are enough.
    let quiet = ["h2", "hyper", "hyper_util", "tonic", "tower", "rustls", "tokio_rustls", "mio"];
    let directives = quiet.iter().fold(level.to_owned(), |all, name| format!("{all},{name}=warn"));
    let subscriber = Registry::default().with(EnvFilter::new(directives)).with(Hclog { out: io::stderr });
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(location = panic.location().map(tracing::field::display), "{panic}");
    }));
}

/// The level that terraform shows, as a filter directive; `None` if it shows nothing.
fn wanted_level(var: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let level = var("TF_LOG_PROVIDER").filter(|level| !level.is_empty()).or_else(|| var("TF_LOG"))?;
    match level.to_ascii_uppercase().as_str() {
        "" | "OFF" => None,
        "ERROR" => Some("error"),
        "WARN" => Some("warn"),
        "INFO" => Some("info"),
        "DEBUG" => Some("debug"),
        // TRACE, JSON, and what terraform itself takes for TRACE.
        _ => Some("trace"),
    }
}

/// The layer that writes a line for an event.
struct Hclog<W> {
    out: W,
}

impl<S: Subscriber, W: Fn() -> O + 'static, O: Write> Layer<S> for Hclog<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let mut line = line(Timestamp::now(), *event.metadata().level(), event.metadata().target(), fields.0);
        line.push('\n');
        // One write, so that lines of two threads don't mix; terraform may be gone, and then nobody reads.
        let _ = (self.out)().write_all(line.as_bytes());
    }
}

fn line(now: Timestamp, level: Level, module: &str, fields: Map<String, Json>) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    let mut line = Map::new();
    line.insert("@level".to_owned(), level.into());
    line.insert("@module".to_owned(), module.replace("::", ".").into());
    // Go's "2006-01-02T15:04:05.000000Z07:00": always six digits.
    line.insert("@timestamp".to_owned(), now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into());
    line.extend(fields);
    line.entry("@message").or_insert_with(|| "".into());
    Json::Object(line).to_string()
}

struct Fields(Map<String, Json>);

impl Fields {
    fn put(&mut self, field: &Field, value: Json) {
        let name = if field.name() == "message" { "@message" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_line_has_the_form_that_terraform_parses() {
        let now: Timestamp = "2026-03-01T12:00:00.5Z".parse().expect("a time");
        let fields = Map::from_iter([("@message".to_owned(), "started".into()), ("percent".to_owned(), 5.into())]);
        let line = line(now, Level::INFO, "provider::jobs", fields);
        assert!(!line.contains('\n'), "{line}");
        // By value: the order of keys differs with serde_json's features, and terraform doesn't mind.
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).expect("JSON"),
            serde_json::json!({
                "@level": "info", "@message": "started", "@module": "provider.jobs",
                "@timestamp": "2026-03-01T12:00:00.500000Z", "percent": 5,
            })
        );
    }

    #[test]
    fn fields_keep_their_types_and_a_closed_stderr_is_no_panic() {
        struct Closed(Arc<Mutex<Vec<u8>>>);
        impl Write for Closed {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("lock").extend(bytes);
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let out = {
            let seen = Arc::clone(&seen);
            move || Closed(Arc::clone(&seen))
        };
        let subscriber = Registry::default().with(Hclog { out });
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(svname = %"scratch-OST0001", percent = 42_u64, done = false, "still formatting");
        });
        let line: Json = serde_json::from_slice(&seen.lock().expect("lock")).expect("JSON");
        assert_eq!(line["@message"], "still formatting");
        assert_eq!(line["svname"], "scratch-OST0001");
        assert_eq!(line["percent"], 42);
        assert_eq!(line["done"], false);
        assert_eq!(line["@level"], "warn");
    }

    #[test]
    fn the_level_is_terraforms() {
        let level = |provider: &str, all: &str| {
            wanted_level(|name| Some(if name == "TF_LOG" { all } else { provider }.to_owned()))
        };
        assert_eq!(level("", ""), None);
        assert_eq!(level("", "debug"), Some("debug"));
        assert_eq!(level("WARN", "TRACE"), Some("warn"));
        assert_eq!(level("", "JSON"), Some("trace"));
    }
}
