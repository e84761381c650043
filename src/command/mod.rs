//! The command line: which command is meant, its settings, and what a wrong one is told. `serve` is the default.

pub mod check;
mod credentials;
pub mod environment;
mod failure;
mod groups;
mod link;
pub mod live;
mod printable;
pub mod publish;
pub mod revoke;
pub mod tail;
pub mod token;
pub mod top;
mod usage;

use crate::channel::Channel;
use crate::config::{Contradiction, Serve, ValueError};
use crate::telemetry::LogSettings;
use crate::telemetry::trace::{Plan, PlanError, TraceSettings};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// Exit code of a command that could not do its work.
pub const FAILURE: u8 = 1;
/// Exit code of a wrong command line or environment variable.
pub const USAGE: u8 = 2;

/// Prints the id of what was appended on stdout, or what went wrong on stderr.
fn print_id(appended: Result<String, impl Display>) -> ExitCode {
    match appended {
        Ok(id) => {
            let _ = writeln!(std::io::stdout(), "{id}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "fantail: {message}");
            ExitCode::from(FAILURE)
        }
    }
}

const ABOUT: &str = "A node of a Server-Sent Events cluster on Redis Streams, and tools to publish and to watch.";

#[derive(Parser, Debug)]
#[command(name = "fantail", version, about = ABOUT)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// A command with its settings, checked.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Runs a node; the default command.
    Serve(Box<NodeSettings>),
    /// Publishes one event and prints its id.
    Publish(publish::Publish),
    /// Prints the events of channels as they come. Resumes by itself.
    Tail(tail::Tail),
    /// Disconnects a subject, a channel's subscribers or a token on all nodes.
    Revoke(revoke::Revoke),
    /// Prints a token, to try nodes that run with --auth jwt.
    Token(token::Token),
    /// Shows nodes and channels of the whole cluster in the terminal.
    Top(top::Top),
    /// Says whether a node would work with these settings. With --live: whether a node is alive.
    Check(Box<Check>),
}

/// Settings of a node, of its log and of its traces.
#[derive(Args, Clone, Debug)]
pub struct NodeSettings {
    #[command(flatten)]
    pub serve: Serve,
    #[command(flatten)]
    pub log: LogSettings,
    #[command(flatten)]
    pub trace: TraceSettings,
}

impl NodeSettings {
    /// Checks what concerns several settings.
    fn verify(&self) -> Result<(), Contradiction> {
        self.serve.verify()?;
        self.traces().map(drop).map_err(|error| Contradiction(error.to_string()))
    }

    /// How traces are collected, by the flags and the environment.
    pub fn traces(&self) -> Result<Option<Plan>, PlanError> {
        self.trace.plan(|name| std::env::var(name).ok())
    }
}

/// Settings of `fantail check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Asks the node that runs with these settings, at its admin listener, whether it is alive.
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub node: NodeSettings,
}

/// A command line that asks for no command to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or version, for stdout.
    Told(String),
    Wrong(UsageError),
}

/// What is wrong with a command line, in one line that names the flag or variable, and the value where it is no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Reads a command line, the program's name first, and the environment variables `FANTAIL_…`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let first = arguments.get(1).and_then(|a| a.to_str()).unwrap_or_default();
    if matches!(first, "-h" | "--help" | "help") && arguments.len() == 2 {
        return Err(Stop::Told(overview()));
    }
    if arguments.len() < 2 || first.starts_with('-') && !matches!(first, "-V" | "--version") {
        arguments.insert(1.min(arguments.len()), "serve".into());
    }
    let command = command_line();
    command
        .clone()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Ok((CommandLine::from_arg_matches(&matches)?.command, matches)))
        .map_err(|error| usage::explain(&error, &command, &arguments))
        .and_then(|(command, matches)| finish(command, &matches))
        .and_then(|asked| {
            let misspelt = unknown_variables().into_iter().find_map(|unknown| Some((unknown.name, unknown.meant?)));
            let wrong = |(name, meant)| format!("unknown variable {name}; is {meant} meant?");
            misspelt.map_or(Ok(asked), |misspelt| Err(Stop::Wrong(usage::line(&wrong(misspelt)))))
        })
}

/// Variables `FANTAIL_…` of the environment that no command knows.
pub fn unknown_variables() -> Vec<environment::Unknown> {
    environment::unknown(&command_line(), environment::names())
}

/// What clap cannot check by itself.
fn finish(mut command: Command, matches: &clap::ArgMatches) -> Result<Command, Stop> {
    let wrong = |wrong: Contradiction| Stop::Wrong(usage::line(&wrong.to_string()));
    match &mut command {
        Command::Serve(node) => node.verify().map_err(wrong)?,
        Command::Check(check) => check.node.verify().map_err(wrong)?,
        Command::Publish(publish) => {
            let given = matches.subcommand_matches("publish").expect("the command that was parsed");
            publish.choose_target(given).map_err(wrong)?;
        }
        Command::Token(token) => token.verify().map_err(wrong)?,
        Command::Tail(_) | Command::Revoke(_) | Command::Top(_) => {}
    }
    Ok(command)
}

/// Settings of a node from flags alone, whatever the environment says.
#[cfg(feature = "testing")]
pub fn settings_of(flags: &[&str]) -> Result<Serve, UsageError> {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        serve: Serve,
    }
    let command = Flags::command().mut_args(|arg| arg.env(None::<&str>));
    let arguments: Vec<OsString> = std::iter::once(&"fantail").chain(flags).map(OsString::from).collect();
    let settings = command
        .clone()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Flags::from_arg_matches(&matches))
        .map_err(|error| match usage::explain(&error, &command, &arguments) {
            Stop::Told(text) => UsageError(text),
            Stop::Wrong(error) => error,
        })?
        .serve;
    settings.verify().map_err(|e| usage::line(&e.to_string()))?;
    Ok(settings)
}

fn command_line() -> clap::Command {
    CommandLine::command().mut_subcommands(|command| {
        let command = with_environment(command).next_line_help(true);
        match command.get_name() {
            "serve" | "check" => groups::grouped(command),
            _ => command,
        }
    })
}

/// An empty variable counts as unset, as in `FANTAIL_REDIS=${REDIS:-}`; values stay out of help, they may be secret.
fn with_environment(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        // A number below zero is a value that its parser refuses, not a flag that nobody knows.
        let takes_values = arg.get_action().takes_values();
        let arg = arg.hide_env_values(true).allow_negative_numbers(takes_values);
        if empty { arg.env(None::<&str>) } else { arg }
    })
}

/// The commands, and where their flags are told.
fn overview() -> String {
    CommandLine::command()
        .override_usage("fantail [FLAGS]\n       fantail COMMAND [FLAGS]")
        .after_help(
            "Without a command, FLAGS are those of `fantail serve`.\n`fantail COMMAND --help` lists the flags of a command.",
        )
        .render_long_help()
        .to_string()
}

/// A channel that clients may name.
fn channel(name: &str) -> Result<Channel, ValueError> {
    let channel = Channel::new(name).map_err(|error| ValueError::new(error.to_string()))?;
    if channel.is_reserved() {
        return Err(ValueError::new("channels that begin with ~ are the cluster's own"));
    }
    Ok(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn wrong_flags_are_one_line() {
        let wrong: &[(&[&str], &str)] = &[
            (&["--retry", "5s..1s"], r#"fantail: --retry "5s..1s": the range ends before it begins"#),
            (&["--couriers=65"], r#"fantail: --couriers "65": outside 0 to 64"#),
            (&["--publish", "maybe"], r#"fantail: --publish "maybe": use one of off, on"#),
            (&["--publish"], r#"fantail: --publish: a value is required; use one of off, on"#),
            (&["--heartbeet", "1s"], r#"fantail: unknown flag --heartbeet; is --heartbeat meant?"#),
            (&["--redis", "redis://:secret@"], "fantail: --redis: there is no host"),
            (&["--follow", "block"], "fantail: --follow block: it needs --redis"),
            (&["--heartbeat", "1s", "--heartbeat", "2s"], "fantail: --heartbeat is given more than once"),
        ];
        for (flags, line) in wrong {
            assert_eq!(settings_of(flags).unwrap_err().to_string(), *line);
        }
    }
}
