//! `mgsctl`: the MGS's command line for people. What it shows is what the API says; `-o json` is the API's answer itself, `-o yaml`
//! the same in another form.

mod away;
mod backup;
mod cli;
mod export;
mod file;
mod filesystem;
mod history;
mod job;
mod log;
mod mgs;
mod node;
mod nodemap;
mod operation;
mod output;
mod param;
mod plan;
mod pool;
mod proof;
mod source;
mod status;
mod target;
mod yaml;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use output::Output;
use rest::{Client, ClientError};

/// What a command needs.
struct Context {
    client: Client,
    output: Output,
}

/// Why a command ends with an error; printed once, here.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The MGS refused, or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something on this side.
    #[error("{0}")]
    Local(String),
    /// Said already, in what was shown.
    #[error("")]
    Shown,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return fail(&Failure::Local(format!("can't start: {err}"))),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context { client: Client::new(&cli.endpoint, cli.token.as_deref())?, output: cli.output };
    let context = &context;
    match cli.command {
        Command::Status => status::show(context).await,
        Command::Fs(command) => filesystem::run(context, command).await,
        Command::Target(command) => target::run(context, command).await,
        Command::Export(command) => export::run(context, command).await,
        Command::Node(command) => node::run(context, command).await,
        Command::Param(command) => param::run(context, command).await,
        Command::Nodemap(command) => nodemap::run(context, command).await,
        Command::Pool(command) => pool::run(context, command).await,
        Command::Mgs(command) => mgs::run(context, command).await,
        Command::Log(command) => log::run(context, command).await,
        Command::Job(command) => job::run(context, command).await,
        Command::History(args) => history::list(context, args).await,
        Command::Events(args) => history::events(context, args).await,
        Command::Backup { file } => backup::take(context, &file).await,
        Command::Plan(args) => plan::plan(context, &args.file).await,
        Command::Apply(args) => plan::apply(context, &args).await,
        Command::Source(command) => source::run(context, command).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mgsctl", &mut script);
            // A reader that has gone away has seen enough.
            let _ = std::io::stdout().write_all(&script);
            Ok(())
        }
    }
}

/// What was asked for, or nothing where there is none.
fn found<T>(answer: Result<T, ClientError>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(ClientError::Problem(problem)) if problem.code == lustre_api::ProblemCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Shown => {}
        Failure::Client(ClientError::Problem(problem)) => {
            eprintln!("mgsctl: {}", problem.message);
            for finding in &problem.findings {
                eprintln!("  {}: {}", finding.object, finding.message);
            }
            if let Some(remedy) = &problem.remedy {
                eprintln!("  remedy: {remedy}");
            }
            if let Some(id) = &problem.request_id {
                eprintln!("  request: {id}");
            }
        }
        Failure::Client(ClientError::Unreachable(reason)) => {
            eprintln!("mgsctl: the MGS is not there: {reason}");
            eprintln!(
                "  remedy: is it running (systemctl status lustre-mgs)? say where with --endpoint or LUSTRE_MGS_ENDPOINT"
            );
        }
        other => eprintln!("mgsctl: {other}"),
    }
    ExitCode::FAILURE
}
