//! Variables `FANTAIL_…` of the environment that no command knows: most are misspelt, and would do nothing without a word.
//!
//! What Kubernetes puts into pods beside a Service named `fantail` or `fantail-…` is nobody's setting. Of
//! values it is only asked whether they are empty, for they may be secret.

use crate::backplane::redis::access::VARIABLES;
use crate::publication::nearest;
use clap::Command;
use std::collections::BTreeSet;

const PREFIX: &str = "FANTAIL_";

/// A name that no command knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    /// The known one that it is most like.
    pub meant: Option<String>,
}

/// What stands in the environment and means nothing to any command of `command`.
pub fn unknown(command: &Command, names: impl IntoIterator<Item = String>) -> Vec<Unknown> {
    let known = known(command);
    let unknown = |name: &String| name.starts_with(PREFIX) && !known.contains(name) && !is_of_a_service(name);
    let mut unknown: Vec<String> = names.into_iter().filter(unknown).collect();
    unknown.sort_unstable();
    // Behind the prefix that all have: `FANTAIL_TURN` is a variable of its own, and no `FANTAIL_URL`.
    let known = || known.iter().filter_map(|known| known.strip_prefix(PREFIX));
    let meant = |name: &str| nearest(name.strip_prefix(PREFIX)?, known()).map(|known| format!("{PREFIX}{known}"));
    unknown.into_iter().map(|name| Unknown { meant: meant(&name), name }).collect()
}

/// Names of the process' own environment, without those of empty values, which count as unset; one that is no text is nobody's.
pub fn names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| name.into_string().ok())
}

fn known(command: &Command) -> BTreeSet<String> {
    let of = |command: &Command| -> Vec<String> {
        let names = command.get_arguments().filter_map(|arg| arg.get_env());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    let commands = command.get_subcommands().flat_map(of);
    commands.chain(VARIABLES.map(str::to_owned)).collect()
}

/// Whether Kubernetes makes such a name of a Service's (its documentation, "Accessing the Service"): `*_SERVICE_HOST`,
/// `*_SERVICE_PORT`, `*_SERVICE_PORT_*`, `*_PORT`, `*_PORT_N_TCP`, `*_PORT_N_TCP_*`, the same with UDP and SCTP.
fn is_of_a_service(name: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    name.match_indices("_PORT_").any(|(at, port)| {
        let mut parts = name[at + port.len()..].split('_');
        parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
            && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str]) -> Vec<(String, Option<String>)> {
        let unknown = unknown(&crate::command::command_line(), names.iter().map(|name| (*name).to_owned()));
        unknown.into_iter().map(|unknown| (unknown.name, unknown.meant)).collect()
    }

    #[test]
    fn what_is_misspelt_names_what_was_meant() {
        for (wrong, meant) in [
            ("FANTAIL_HEARTBEET", "FANTAIL_HEARTBEAT"),
            ("FANTAIL_HAERTBEAT", "FANTAIL_HEARTBEAT"),
            ("FANTAIL_TOKEN_FIL", "FANTAIL_TOKEN_FILE"),
            ("FANTAIL_ADMIN_HOSTS", "FANTAIL_ADMIN_HOST"),
            ("FANTAIL_ULR", "FANTAIL_URL"),
        ] {
            let told = told(&[wrong]);
            assert_eq!(told, [(wrong.to_owned(), Some(meant.to_owned()))]);
        }
        for other in ["FANTAIL_REDIS_URL", "FANTAIL_SOMETHING_ELSE", "FANTAIL_TURN", "FANTAIL_"] {
            assert_eq!(told(&[other]), [(other.to_owned(), None)]);
        }
    }

    #[test]
    fn other_commands_and_kubernetes_are_not_meant() {
        let others = [
            "FANTAIL_URL",
            "FANTAIL_TOKEN_FILE",
            "FANTAIL_ADMIN_URL",
            "FANTAIL_REDIS_PASSWORD",
            "FANTAIL_REDIS_SENTINEL_PASSWORD",
            "FANTAIL_SERVICE_HOST",
            "FANTAIL_SERVICE_PORT",
            "FANTAIL_SERVICE_PORT_HTTP",
            "FANTAIL_PORT",
            "FANTAIL_PORT_8080_TCP",
            "FANTAIL_PORT_8080_TCP_ADDR",
            "FANTAIL_PORT_53_UDP_PROTO",
            "FANTAIL_ADMIN_SERVICE_HOST",
            "FANTAIL_ADMIN_PORT_9090_TCP_PORT",
            "PATH",
            "OTEL_SERVICE_NAME",
        ];
        assert_eq!(told(&others), []);
        let unlike = ["FANTAIL_PORTS", "FANTAIL_PORT_X_TCP", "FANTAIL_PORT_8080_HTTP"];
        assert_eq!(told(&unlike).len(), unlike.len());
    }
}
