//! What a wrong command line is told: clap's error as one line that names the flag or variable, and the value where it
//! cannot be a secret.

use super::{Stop, UsageError};
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::error::Error as _;
use std::ffi::OsString;

/// A message as the program says it; line breaks in it become spaces.
pub(super) fn line(message: &str) -> UsageError {
    UsageError(format!("fantail: {}", message.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Says what clap means. `command` and `arguments` are what it worked on.
pub(super) fn explain(error: &Error, command: &clap::Command, arguments: &[OsString]) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Told(error.to_string());
    }
    let flag = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let name = setting(&flag, command, arguments);
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::ValueValidation => {
            let reason = error.source().map(|e| e.to_string()).unwrap_or_else(|| "not valid".into());
            match may_be_secret(&flag) {
                true => format!("{name}: {reason}"),
                false => format!("{name} {value:?}: {reason}"),
            }
        }
        ErrorKind::InvalidValue => invalid_value(error, &name, &value),
        ErrorKind::UnknownArgument if flag.starts_with('-') => unknown_flag(error, &name, command, arguments),
        ErrorKind::UnknownArgument if flag.contains([':', '@', '=']) => {
            "an argument without a flag is too much; a command comes before its flags".into()
        }
        ErrorKind::UnknownArgument => format!("{flag:?} is too much; a command comes before its flags"),
        ErrorKind::InvalidSubcommand => {
            let wrong = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("unknown command {wrong:?}: use one of {}", commands(command))
        }
        ErrorKind::MissingRequiredArgument => format!("{flag} is missing"),
        // clap repeats the flag where it conflicts with itself.
        ErrorKind::ArgumentConflict => match text(error, ContextKind::PriorArg) {
            Some(prior) if prior != flag => format!("{name} and {} exclude each other", first_word(&prior)),
            _ => format!("{name} is given more than once"),
        },
        _ => first_line(error),
    };
    Stop::Wrong(line(&message))
}

/// A flag that nobody knows; or what was to be the value of the flag before it, as in `--drain -1s`, which may be a secret.
fn unknown_flag(error: &Error, name: &str, command: &clap::Command, arguments: &[OsString]) -> String {
    if let Some(known) = text(error, ContextKind::SuggestedArg) {
        return format!("unknown flag {name}; is {} meant?", first_word(&known));
    }
    let is_it =
        |given: &OsString| !name.starts_with("--") && given.to_str().is_some_and(|given| given.starts_with(name));
    let takes_one = |long: &str| argument(command, long).is_some_and(|arg| arg.get_action().takes_values());
    let before =
        arguments.windows(2).find(|pair| is_it(&pair[1])).and_then(|pair| pair[0].to_str()?.strip_prefix("--"));
    match before.filter(|long| takes_one(long)) {
        Some(long) => format!("--{long}: a value that begins with - is written --{long}=VALUE"),
        None => format!("unknown flag {name}"),
    }
}

/// The argument of a flag, be it of the command or of one below it.
fn argument<'a>(command: &'a clap::Command, long: &str) -> Option<&'a clap::Arg> {
    let of = |command: &'a clap::Command| command.get_arguments().find(|arg| arg.get_long() == Some(long));
    of(command).or_else(|| command.get_subcommands().find_map(of))
}

/// Whether a value of this flag is never repeated: a URL may have a password anywhere in it.
fn may_be_secret(usage: &str) -> bool {
    usage.split_once(' ').is_some_and(|(_, value)| value.contains("URL"))
}

fn invalid_value(error: &Error, name: &str, value: &str) -> String {
    let valid = text(error, ContextKind::ValidValue).unwrap_or_default();
    match (value.is_empty(), valid.is_empty()) {
        (true, true) => format!("{name}: a value is required"),
        (true, false) => format!("{name}: a value is required; use one of {valid}"),
        (false, _) => format!("{name} {value:?}: use one of {valid}"),
    }
}

/// The flag's name, or that of its environment variable where the value came from there.
fn setting(flag: &str, command: &clap::Command, arguments: &[OsString]) -> String {
    let flag = first_word(flag);
    let Some(long) = flag.strip_prefix("--") else { return flag.to_owned() };
    let long = long.split('=').next().unwrap_or(long);
    let given = |argument: &OsString| {
        argument.to_str().and_then(|a| a.strip_prefix("--")).is_some_and(|a| a.split('=').next() == Some(long))
    };
    if arguments.iter().any(given) {
        return format!("--{long}");
    }
    let variable = argument(command, long).and_then(clap::Arg::get_env);
    variable.map_or_else(|| flag.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        other => Some(other.to_string()),
    }
}

/// `--retry` of `--retry <FROM..TO>`; `CHANNEL` of `<CHANNEL>`.
fn first_word(usage: &str) -> &str {
    usage.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>', '[', ']', '.'])
}

fn commands(command: &clap::Command) -> String {
    let names: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).filter(|name| *name != "help").collect();
    names.join(", ")
}

fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
