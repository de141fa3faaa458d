//! Each command: its flags, its help, its body.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// How a command ends.
mod status;
/// Where the key comes from, and where it must not come from.
mod key;
/// A question that hides what is typed.
mod hidden;
/// Whether root's policy lets an order that sends pass.
mod gate;
/// One line a run in the system's log.
mod syslog;
/// A config brought to life: HTTP client, store, engine, master keys.
mod session;
/// Which sites a command is for.
mod selection;
/// What all commands have in common that send: flags, questions, a dry run.
mod sending;
/// `push`.
mod push;
/// `retry`.
mod retry;
/// `rollback`.
mod rollback;
/// `verify`.
mod verify;
/// Writes what a run tells, and never holds it up.
mod printer;
/// What Stripe says of the keys of a run without a screen.
mod dead;
/// A run from its first event to its last, in plain lines or JSON.
mod follow;
/// `acknowledge`.
mod acknowledge;
/// `resume`.
mod resume;
/// `status`.
mod status_command;
/// `check`.
mod check;
/// `export`.
mod export;
/// `history`.
mod history;
/// `sites`.
mod sites;
/// `store`.
mod store_command;
/// `init`.
mod init;
/// `info`.
mod info;
/// `completions`.
mod completions;
/// `man`.
mod man;
/// What stands behind the help of each command.
mod help;
/// What the reading commands print, in which format, and where.
mod format;
/// What the store is asked for, and how a run is written down.
mod reading;
/// The screen.
mod screen;
/// The process that the shell waits for. The screen runs in a child of it, in the same process group, so that the
/// shell gets its terminal back when the screen is left while its run goes on: a process cannot let go of the shell
/// that waits for it, but this one can end before the child does.
mod front;
/// Reading the sources of sites for a command, and what is told of that.
mod sources;
/// Where the screen's sites come from: the config, read again, and what is added to it.
mod setup;
/// The list of sites, compared with the one of the last run.
mod list;
/// Since when no screen was open.
mod away;
/// Carries out what the screen orders, here or in the run of another process.
mod steer;
/// Looks at sites again and again, and tells what has changed.
mod watching;
/// `verify --watch`.
mod watch;
/// Who runs the program.
mod who;
/// `worker`.
#[cfg(feature = "cluster")]
mod worker;
/// `demo`.
mod demo;
/// The log file.
mod log;
/// The signals that end a command.
mod signals;

use status::Status;

/// Put one Stripe publishable key on many shops, and know for certain which of them serve it.
///
/// Without a command it opens the screen.
#[derive(Debug, Parser)]
#[command(name = "stripe-propagate", version, after_help = help::with_exit_statuses(EXAMPLES), disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Of every command")]
struct Globals {
    /// The config file. Default: `$STRIPE_PROPAGATE_CONFIG`, ./config.toml, or
    /// ~/.config/stripe-propagate/config.toml.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The store: what outlives a run. Default: store.db in the XDG state directory.
    #[arg(long, value_name = "FILE", global = true)]
    store: Option<PathBuf>,
    /// Send nothing to any site and steer no run: the screen only watches, and a command that would send refuses.
    #[arg(long, global = true)]
    read_only: bool,
    /// No colours, as with the variable `NO_COLOR`.
    #[arg(long, global = true)]
    no_color: bool,
    /// The log file. Default: `log.file` of the config, or the XDG state directory's.
    #[arg(long, value_name = "FILE", global = true)]
    log: Option<PathBuf>,
    /// Log more; -vv logs everything. Never to the terminal.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  stripe-propagate                                    the screen
  stripe-propagate demo                               the screen, on shops inside this machine
  stripe-propagate push --key-file key.txt --yes      push and verify without a screen
  pass show stripe/pk | stripe-propagate push --key-stdin --yes --json
  stripe-propagate check --auth                       could each site be pushed to?
  stripe-propagate verify                             what does each site serve?
  stripe-propagate status --old-key                   may the old key expire? Asks no site
  stripe-propagate verify --watch                     tell what changes, until it is stopped
  stripe-propagate acknowledge --site NAME --reason 'moves house'
  stripe-propagate resume --yes                       finish a run that broke off
  stripe-propagate retry --yes                        repeat what failed in the newest run
  stripe-propagate rollback --dry-run                 what would its sites get back?
  stripe-propagate history                            which runs were there?
  stripe-propagate init                               write a config with a comment on everything";

#[derive(Debug, Subcommand)]
enum Command {
    /// Push the key to the sites, and wait until each has its proof.
    #[command(after_help = help::PUSH)]
    Push(push::PushArgs),
    /// Look at what the sites serve.
    ///
    /// With a key it tells which of them serve that key, else which key each serves.
    #[command(after_help = help::VERIFY)]
    Verify(verify::VerifyArgs),
    /// Preflight: could the sites be pushed to? Sends no key.
    ///
    /// DNS, TCP, TLS (and when the certificate ends), the answer to the GET; with --auth the master key, too.
    /// A certificate that ends within 21 days is a warning. Ends with 0 if all is well or a warning, else with 1.
    #[command(after_help = help::CHECK)]
    Check(check::CheckArgs),
    /// What is known of each site, from the store alone: no site is asked.
    ///
    /// With --old-key whether the keys that were replaced may expire, and which sites stand in the way. As JSON it is
    /// one document with both. Goes on beside a run, and needs no master key.
    #[command(after_help = help::STATUS)]
    Status(status_command::StatusArgs),
    /// Take up a run that was not finished: look at what may have been stored, then push the rest.
    #[command(after_help = help::RESUME)]
    Resume(resume::ResumeArgs),
    /// Repeat what failed in a run, as a run of its own: each site gets the key that it was to get there.
    ///
    /// Where only the look failed, only the look is repeated. What a later run has taken over is that run's. A site that
    /// settles is left alone: it is looked at by itself.
    #[command(after_help = help::RETRY)]
    Retry(retry::RetryArgs),
    /// Put back what sites had before a run, as a run of its own: each site gets its own old key.
    ///
    /// A site that had no key keeps the new one: no call takes a key away. What was never pushed from here may have been a
    /// fallback, and is named.
    #[command(after_help = help::ROLLBACK)]
    Rollback(rollback::RollbackArgs),
    /// Say of sites that they are known to be bad: they are left out of the halt, the exit status and the bell.
    #[command(after_help = help::ACKNOWLEDGE)]
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// Write a run as a document: HTML, CSV, JSON or Markdown.
    #[command(after_help = help::EXPORT)]
    Export(export::ExportArgs),
    /// Try it on shops inside this machine, which fail in every way.
    #[command(after_help = help::DEMO)]
    Demo(demo::DemoArgs),
    /// The runs on record, newest first; or one of them, site by site.
    ///
    /// From the store alone: no site is asked, and no master key is needed.
    #[command(after_help = help::HISTORY)]
    History(history::HistoryArgs),
    /// Make the calls of others' runs, until it is told to stop: for a build with workers.
    ///
    /// With enabled = true in [cluster] a push leaves its calls to workers, which take them from the database that is the
    /// store, on any number of machines, each with the master keys of its own config. SIGTERM lets what is out end.
    #[command(after_help = help::WORKER)]
    Worker,
    /// The list of sites, and where each stands.
    ///
    /// No site is asked, and no master key read. Ends with 2 if a source could not be read: its sites are missing.
    #[command(after_help = help::SITES)]
    Sites(sites::SitesArgs),
    /// Move the store from a file into a database.
    #[command(after_help = help::STORE)]
    Store(store_command::StoreArgs),
    /// Write a config with a comment on all that can stand in one. Never over a file that is there.
    #[command(after_help = help::INIT)]
    Init(init::InitArgs),
    /// Paths, versions, and the limits in force. Reads no secret.
    ///
    /// Works without a config, and with a wrong one (then it ends with 2).
    #[command(after_help = help::INFO)]
    Info(info::InfoArgs),
    /// Print a script that completes commands and flags in a shell.
    #[command(after_help = help::COMPLETIONS)]
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write a page for each command.
    #[command(after_help = help::MAN)]
    Man(man::ManArgs),
}

/// Which sites, and how the results are told.
#[derive(Debug, Clone, Args)]
struct Common {
    #[command(flatten)]
    selection: selection::SelectionArgs,
    /// One JSON object a line: attempts as they happen, results at the end.
    #[arg(long)]
    json: bool,
    /// What stands behind the flags: caught here so that a key is never echoed.
    #[arg(hide = true, value_name = "KEY")]
    stray: Vec<OsString>,
}

/// The whole program: parses the command line, does what it says, tells errors, and gives the exit status.
pub fn main() -> ExitCode {
    harden();
    let ended = parse(std::env::args_os()).and_then(|cli| match cli {
        Ok(cli) => run(cli),
        Err(told) => Ok(told),
    });
    let status = ended.unwrap_or_else(|error| {
        say_error(&error);
        Status::of_error(&error)
    });
    log::finish();
    ExitCode::from(status.code())
}

/// The definition of the command line, for what is made of it: completions, manual pages, tests.
pub fn command() -> clap::Command {
    use clap::CommandFactory;

    Cli::command()
}

/// The whole chain, cleaned: a path or a name in it may be anybody's.
fn say_error(error: &anyhow::Error) {
    use std::io::Write;

    let text = crate::text::CleanText::new(&format!("{error:#}"), 2000);
    let _closed = writeln!(std::io::stderr(), "error: {text}");
}

/// No core dumps, and no other process of the user may read this one's memory: it holds the master key.
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Both can only fail where the system knows no such thing, and then there is nothing to switch off.
    let _no_dumps = setrlimit(Resource::Core, none);
    let _not_readable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// The command line. What clap has to say (help, a usage error) is said, and its status given.
fn parse(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<Result<Cli, Status>> {
    let arguments: Vec<OsString> = arguments.collect();
    key::refuse_in_arguments(&arguments)?;
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(Ok(cli)),
        Err(error) => {
            // A closed pipe is no reason to fail.
            let _printed = error.print();
            let status = if error.use_stderr() {
                Status::NothingSent
            } else {
                Status::Good
            };
            Ok(Err(status))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Status> {
    let shows_screen = match &cli.command {
        None => true,
        Some(Command::Demo(args)) => args.shows_screen(),
        Some(_) => false,
    };
    if shows_screen && front::is_needed() {
        let globals = cli.command.is_none().then_some(&cli.globals);
        return front::stand(std::env::args_os(), || screen::tab_of(globals)).map(Status::Other);
    }
    match cli.command {
        None => on_threads(open_screen(cli.globals)),
        Some(Command::Push(args)) => on_one_thread(push::run(&cli.globals, args)),
        Some(Command::Verify(args)) => on_one_thread(verify::run(&cli.globals, args)),
        Some(Command::Check(args)) => on_one_thread(check::run(&cli.globals, args)),
        Some(Command::Status(args)) => reading(async move { status_command::run(&cli.globals, args).await }),
        Some(Command::Resume(args)) => on_one_thread(resume::run(&cli.globals, args)),
        Some(Command::Retry(args)) => on_one_thread(retry::run(&cli.globals, args)),
        Some(Command::Rollback(args)) => on_one_thread(rollback::run(&cli.globals, args)),
        Some(Command::Acknowledge(args)) => {
            reading(async move { acknowledge::run(&cli.globals, args).await })
        }
        Some(Command::Export(args)) => reading(async move { export::run(&cli.globals, args).await }),
        Some(Command::History(args)) => reading(async move { history::run(&cli.globals, args).await }),
        Some(Command::Sites(args)) => reading(async move { sites::run(&cli.globals, args).await }),
        Some(Command::Store(args)) => reading(async move { store_command::run(&cli.globals, args).await }),
        Some(Command::Init(args)) => init::run(&cli.globals, args),
        Some(Command::Info(args)) => reading(async move { info::run(&cli.globals, &args).await }),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Man(args)) => man::run(&args),
        Some(Command::Demo(args)) => on_threads(demo::run(&cli.globals, args)),
        #[cfg(feature = "cluster")]
        Some(Command::Worker) => on_threads(worker::run(&cli.globals)),
        #[cfg(not(feature = "cluster"))]
        Some(Command::Worker) => Err(anyhow::anyhow!(crate::config::HOW_TO_GET)),
    }
}

async fn open_screen(globals: Globals) -> anyhow::Result<Status> {
    let no_color = globals.no_color;
    match Box::pin(screen::run(globals)).await? {
        screen::Ended::With(status) => Ok(status),
        screen::Ended::ForTheDemo(taken) => {
            demo::begin(demo::DemoArgs::of_the_screen(), Some(*taken), no_color).await
        }
    }
}

/// A command that sends nothing: a signal ends it at once. It has a thread of its own to wait on, since who reads its
/// output may keep it waiting.
fn reading(work: impl Future<Output = anyhow::Result<Status>> + Send + 'static) -> anyhow::Result<Status> {
    on_threads(async {
        let mut signals = signals::Signals::listen()?;
        let work = tokio::spawn(work);
        let ends = work.abort_handle();
        let ended = tokio::select! {
            biased;
            _ = signals.ended() => Err(anyhow::anyhow!(status::Interrupted)),
            done = work => done?,
        };
        // What it has started ends with it.
        ends.abort();
        ended
    })
}

/// All tasks of a run on one thread: they wait for the network, and what they hand to each other wakes no other thread. A
/// site takes a third of a millisecond of it, most of that TLS. The store and the printer have threads of their own.
fn on_one_thread(work: impl Future<Output = anyhow::Result<Status>>) -> anyhow::Result<Status> {
    on(&mut tokio::runtime::Builder::new_current_thread(), work)
}

/// Keys are answered while handshakes are computed, and a long list is read.
fn on_threads(work: impl Future<Output = anyhow::Result<Status>>) -> anyhow::Result<Status> {
    on(&mut tokio::runtime::Builder::new_multi_thread(), work)
}

fn on(
    runtime: &mut tokio::runtime::Builder,
    work: impl Future<Output = anyhow::Result<Status>>,
) -> anyhow::Result<Status> {
    use anyhow::Context;

    let runtime = runtime
        .enable_all()
        .build()
        .context("starting the threads of the program")?;
    let ended = runtime.block_on(work);
    // A name that is being looked up cannot be cancelled, and may take half a minute.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    ended
}
