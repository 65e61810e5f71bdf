//! A provider of files: the whole of what a provider has to write, and what the tests drive with the real terraform.
//!
//! `tiny_file` is a file with one line; its directory is the provider's `root`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tfplugin_proto::{
    Arg, Attribute, Block, DataSource, Diagnostics, Function, FunctionError, Mode, Options, Parameter, Plan, PlanKind,
    Provider, Resource, Schema, Signature, Type, Value, async_trait,
};

type Root = Arc<Mutex<Option<PathBuf>>>;

#[derive(Default)]
struct Tiny {
    root: Root,
    stop: Arc<tokio::sync::Notify>,
}

#[async_trait]
impl Provider for Tiny {
    fn schema(&self) -> Schema {
        Schema {
            description: "Files.".into(),
            attributes: vec![Attribute::new("root", Type::String, Mode::Required, "Where the files are.")],
            ..Schema::default()
        }
    }

    fn resources(&self) -> Vec<(String, Arc<dyn Resource>)> {
        let file = File { root: Arc::clone(&self.root), stop: Arc::clone(&self.stop) };
        vec![("tiny_file".into(), Arc::new(file))]
    }

    fn data_sources(&self) -> Vec<(String, Arc<dyn DataSource>)> {
        vec![("tiny_file".into(), Arc::new(FileData { root: Arc::clone(&self.root) }))]
    }

    fn functions(&self) -> Vec<(String, Arc<dyn Function>)> {
        vec![("shout".into(), Arc::new(Shout))]
    }

    async fn configure(&self, config: &Value, _: &mut Diagnostics) {
        *self.root.lock().expect("no panic under this lock") = config.get("root").as_str().known().map(PathBuf::from);
    }

    fn stop(&self) {
        self.stop.notify_waiters();
    }
}

struct File {
    root: Root,
    stop: Arc<tokio::sync::Notify>,
}

/// The file of an object, if the provider's root and the name are known.
fn path(root: &Root, object: &Value) -> Option<PathBuf> {
    let root = root.lock().expect("no panic under this lock").clone()?;
    Some(root.join(object.get("name").as_str().known()?))
}

#[async_trait]
impl Resource for File {
    fn schema(&self) -> Schema {
        Schema {
            version: 1,
            description: "A file with one line.".into(),
            attributes: vec![
                Attribute::new("name", Type::String, Mode::Required, "Its name."),
                Attribute::new("text", Type::String, Mode::Optional, "Its line."),
                Attribute::new("labels", Type::set(Type::String), Mode::Optional, "Words, stored nowhere."),
                Attribute::new("weight", Type::Number, Mode::Optional, "A number of any size, stored nowhere."),
                Attribute::new("trouble", Type::String, Mode::Optional, "What shall go wrong."),
                Attribute::new("size", Type::Number, Mode::Computed, "Its size in bytes."),
            ],
            blocks: vec![Block {
                name: "timeouts".into(),
                attributes: vec![Attribute::new("create", Type::String, Mode::Optional, "How long.")],
                description: "How long things may take.".into(),
            }],
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        if config.get("text").as_str() == Arg::Known("") {
            diags.error_at("text", "Empty text", "Leave it out instead.");
        }
    }

    fn upgrade(&self, _: i64, mut state: serde_json::Value) -> Result<serde_json::Value, String> {
        // Version 0 called it "line".
        if let Some(old) = state.as_object_mut().and_then(|state| state.remove("line")) {
            state["text"] = old;
        }
        Ok(state)
    }

    async fn read(&self, mut state: Value, diags: &mut Diagnostics) -> Option<Value> {
        let path = path(&self.root, &state)?;
        match fs::read_to_string(&path) {
            Ok(text) => {
                state.put("size", u64::try_from(text.len()).expect("fits"));
                state.put("text", Some(text).filter(|text| !text.is_empty()));
                Some(state)
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => None,
            Err(err) => {
                diags.error("Can't read", format!("{}: {err}", path.display()));
                Some(state)
            }
        }
    }

    async fn plan(&self, plan: &mut Plan, diags: &mut Diagnostics) {
        match plan.kind() {
            PlanKind::Destroy => diags.warning("A file goes", "With what is in it."),
            PlanKind::Create => {}
            PlanKind::Update => {
                if plan.changes("name") {
                    plan.requires_replace.push("name".into());
                }
                if plan.changes("text") {
                    plan.planned.put("size", Value::Unknown);
                }
            }
        }
    }

    async fn create(&self, planned: &Value, _: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let mut state = planned.clone();
        match planned.get("trouble").as_str().known() {
            Some("panic") => panic!("as ordered"),
            Some("inconsistent") => {
                state.put("text", "something else");
                state.put("size", 1_i64);
                return Some(state);
            }
            Some("slow") => {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(30)) => {}
                    () = self.stop.notified() => {
                        diags.error("Interrupted", "The file was not made.");
                        return None;
                    }
                }
            }
            Some("error") => diags.error_at("trouble", "Trouble", "as ordered"),
            _ => {}
        }
        Some(self.write(state, diags))
    }

    async fn update(&self, _: &Value, planned: &Value, _: &Value, diags: &mut Diagnostics) -> Value {
        self.write(planned.clone(), diags)
    }

    async fn delete(&self, prior: &Value, diags: &mut Diagnostics) {
        if let Some(path) = path(&self.root, prior)
            && let Err(err) = fs::remove_file(&path)
        {
            diags.error("Can't remove", format!("{}: {err}", path.display()));
        }
    }

    async fn import(&self, id: &str, _: &mut Diagnostics) -> Option<Value> {
        Some(Value::object([("name", id.into())]))
    }
}

impl File {
    fn write(&self, mut state: Value, diags: &mut Diagnostics) -> Value {
        let text = state.get("text").as_str().known().unwrap_or_default().to_owned();
        let path = path(&self.root, &state).expect("at apply everything is known");
        tracing::info!(path = %path.display(), "writing");
        if let Err(err) = fs::write(&path, &text) {
            diags.error("Can't write", format!("{}: {err}", path.display()));
        }
        state.put("size", u64::try_from(text.len()).expect("fits"));
        state
    }
}

struct FileData {
    root: Root,
}

#[async_trait]
impl DataSource for FileData {
    fn schema(&self) -> Schema {
        Schema {
            description: "A file that is there.".into(),
            attributes: vec![
                Attribute::new("name", Type::String, Mode::Required, "Its name."),
                Attribute::new("text", Type::String, Mode::Computed, "Its line."),
            ],
            ..Schema::default()
        }
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let mut state = config.clone();
        match path(&self.root, config).map(fs::read_to_string) {
            Some(Ok(text)) => state.put("text", text),
            Some(Err(err)) => diags.error_at("name", "Can't read", err.to_string()),
            None => diags.error("No root", "The provider's root is not known."),
        }
        Some(state)
    }
}

struct Shout;

impl Function for Shout {
    fn signature(&self) -> Signature {
        Signature {
            summary: "Capitals.".into(),
            description: "The text in capitals.".into(),
            parameters: vec![Parameter { name: "text".into(), ty: Type::String, description: "Text.".into() }],
            returns: Type::String,
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        let text = arguments[0].as_str().known().unwrap_or_default();
        if text.is_empty() {
            return Err(FunctionError { text: "nothing to shout".into(), argument: Some(0) });
        }
        Ok(text.to_uppercase().into())
    }
}

fn main() -> ExitCode {
    tfplugin_proto::run(&Options { address: "registry.terraform.io/example/tiny", version: "1.0.0" }, Tiny::default)
}
