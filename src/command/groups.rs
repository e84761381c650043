//! The groups of a node's flags in help. Not what the flags mean.

/// Groups, each with its flags; a `*` stands for any end of a name.
const GROUPS: [(&str, &[&str]); 10] = [
    (
        "Addresses",
        &[
            "listen",
            "admin-*",
            "public-url",
            "cors-origin",
            "trusted-proxies",
            "forwarded-header",
            "proxy-protocol",
            "http2",
            "http2-streams",
        ],
    ),
    ("TLS", &["tls-*"]),
    ("Redis", &["redis", "redis-*", "key-prefix", "follow", "coalesce", "relay-from", "unready-after"]),
    ("Publishing", &["publish", "publish-maxlen", "publish-ttl", "max-event-bytes", "max-entry-bytes", "demo"]),
    ("Timing of streams", &["heartbeat", "heartbeat-*", "retry", "idle-timeout", "max-age", "stall-timeout"]),
    ("Shutdown", &["drain", "drain-*"]),
    (
        "Limits",
        &[
            "max-connections",
            "max-connections-*",
            "max-channels-*",
            "max-channel-*",
            "accept-rate",
            "subscribe-rate",
            "subscribe-rate-*",
            "publish-rate",
            "publish-rate-*",
            "when-full",
        ],
    ),
    ("Memory and delivery", &["tail-bytes", "replay-*", "leftover-bytes", "couriers", "compress"]),
    ("Authorization", &["auth", "auth-*", "jwt-*", "claim-*", "token-*", "public", "forward-*"]),
    ("Log and traces", &["log", "log-*", "otlp-*", "trace-*"]),
];

/// A command whose flags of a node are in their groups. What has no group is among the command's own.
pub(super) fn grouped(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| match arg.get_long().and_then(group_of) {
        Some(group) => arg.help_heading(group),
        None => arg,
    })
}

fn group_of(flag: &str) -> Option<&'static str> {
    let is = |known: &&str| known.strip_suffix('*').map_or(*known == flag, |begin| flag.starts_with(begin));
    GROUPS.iter().find(|(_, flags)| flags.iter().any(&is)).map(|(group, _)| *group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::NodeSettings;
    use clap::Args as _;

    #[test]
    fn every_flag_of_a_node_is_in_a_group() {
        let command = NodeSettings::augment_args(clap::Command::new("serve"));
        let flags: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(flags.len() > 70, "{flags:?}");
        let without: Vec<_> = flags.iter().filter(|flag| group_of(flag).is_none()).collect();
        assert!(without.is_empty(), "give these a group: {without:?}");
    }

    #[test]
    fn a_name_that_begins_like_another_has_its_own_group() {
        assert_eq!(["publish", "publish-rate"].map(group_of), [Some("Publishing"), Some("Limits")]);
        assert_eq!(["public", "public-url"].map(group_of), [Some("Authorization"), Some("Addresses")]);
        assert_eq!(group_of("live"), None);
    }
}
