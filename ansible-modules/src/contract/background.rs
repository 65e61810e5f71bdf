//! Tasks with `async`: the call goes on when the task's connection is closed, and `async_status` reads its result.
//!
//! `lustre-modules --async JID SECONDS DIRECTORY SOURCE` reads the arguments as without, answers at once as Ansible's own
//! `async_wrapper` does, and leaves a keeper behind. The keeper, a session of its own, runs the call as another process for at
//! most so many seconds and writes its result to `DIRECTORY/JID`: whatever becomes of the call, there is a result.
//! What the MGS was asked to do goes on also when the call is ended: it is done by jobs of the MGS.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::invocation::read_source;

/// First argument of the call that leaves a keeper behind.
pub(crate) const START: &str = "--async";
/// First argument of the keeper.
pub(crate) const KEEP: &str = "--async-keeper";
/// What the keeper says when its caller's end can't end it any more.
const READY: &str = "ready\n";

/// What both are told.
struct Told {
    jid: String,
    limit: Duration,
    /// Where the result goes.
    file: PathBuf,
}

impl Told {
    fn new(args: &[String]) -> Result<Self, Failure> {
        let [jid, seconds, directory] = args else {
            return Err(Failure::from(format!(
                "{START} takes JID SECONDS DIRECTORY SOURCE, as the action plugin gives them"
            )));
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if jid.is_empty() || jid.starts_with('.') || !jid.chars().all(is_name) {
            return Err(Failure::from(format!("{jid:?} is no id of an asynchronous task")));
        }
        let seconds: u64 =
            seconds.parse().map_err(|_| Failure::from(format!("async: {seconds:?} is no number of seconds")))?;
        let file = Path::new(directory).join(jid);
        if !file.is_absolute() {
            return Err(Failure::from(format!("async_dir: {directory:?} is no absolute path")));
        }
        Ok(Self { jid: jid.clone(), limit: Duration::from_secs(seconds), file })
    }

    /// Replaces the result in one step. Errors: the system's.
    fn write(&self, result: &Value) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(result.to_string().as_bytes())?;
        fs::rename(&new, &self.file)
    }
}

/// Starts the keeper; gives what Ansible is answered at once. `args` are those behind [`START`].
pub(crate) fn start(args: &[String]) -> Result<Value, Failure> {
    let Some((source, args)) = args.split_last() else {
        return Err(Failure::from(format!("{START} needs arguments")));
    };
    let told = Told::new(args)?;
    let text = read_source(source)?;
    let cant = |what: String| move |error: std::io::Error| Failure::from(format!("{what}: {error}"));
    let directory = told.file.parent().expect("a name below a directory");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(cant(format!("can't make {} for the result", directory.display())))?;
    let started = json!({ "started": true, "finished": false, "ansible_job_id": told.jid, "results_file": told.file });
    told.write(&started).map_err(cant(format!("can't write {}", told.file.display())))?;
    let program = std::env::current_exe().map_err(cant("can't find this program".to_owned()))?;
    let mut keeper = Command::new(program)
        .arg(KEEP)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(cant("can't start the keeper of the asynchronous task".to_owned()))?;
    let mut input = keeper.stdin.take().expect("it is a pipe");
    input.write_all(&text).map_err(cant("the keeper does not read".to_owned()))?;
    drop(input);
    let mut said = String::new();
    let output = keeper.stdout.take().expect("it is a pipe");
    BufReader::new(output).read_line(&mut said).map_err(cant("the keeper does not answer".to_owned()))?;
    if said != READY {
        return Err(Failure::from(
            "the keeper of the asynchronous task ended at once; run the task without async to see why",
        ));
    }
    Ok(started)
}

/// The keeper: runs the call whose arguments come on standard input, and writes its result. `args` are those behind [`KEEP`].
pub(crate) fn keep(args: &[String]) -> Result<(), Failure> {
    let told = Told::new(args)?;
    let text = read_source("-")?;
    // Or the end of the connection, which hangs up its session, would end this too.
    nix::unistd::setsid().map_err(|error| Failure::from(format!("can't leave the session: {error}")))?;
    let mut out = std::io::stdout().lock();
    out.write_all(READY.as_bytes()).and_then(|()| out.flush())?;
    let result = call(&text, told.limit)
        .unwrap_or_else(|failure| json!({ "failed": true, "changed": false, "msg": failure.message }));
    // Nobody hears of an error here but by the result that stays as it began.
    told.write(&with_id(result, &told.jid))?;
    Ok(())
}

/// The result as `async_status` expects it: without `started` it is finished.
fn with_id(mut result: Value, jid: &str) -> Value {
    if let Value::Object(map) = &mut result {
        map.insert("ansible_job_id".to_owned(), jid.into());
    }
    result
}

/// Runs the call as a process of its own. Errors: it has no result, or not in time.
fn call(text: &[u8], limit: Duration) -> Result<Value, Failure> {
    let program = std::env::current_exe()?;
    let mut process =
        Command::new(program).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // It reads all of it before it does anything; should it end before, its result says why.
    let _ = process.stdin.take().expect("it is a pipe").write_all(text);
    let mut output = process.stdout.take().expect("it is a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = output.read_to_end(&mut said).map(|_| said);
        // The keeper has given up waiting otherwise.
        let _ = sender.send(read);
    });
    let said = match receiver.recv_timeout(limit) {
        Ok(said) => said?,
        Err(_) => {
            process.kill()?;
            process.wait()?;
            let message = format!(
                "not done in {} s, the limit that async gives; jobs of the MGS go on: lustre_job_info shows them, and the same \
                 task again waits for them or takes them up",
                limit.as_secs()
            );
            return Err(Failure::from(message));
        }
    };
    let status = process.wait()?;
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().rev().find(|line| line.starts_with('{'));
    let result = line.and_then(|line| serde_json::from_str(line).ok());
    result.ok_or_else(|| Failure::from(format!("the module gave no result ({status})")))
}
