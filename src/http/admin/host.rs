//! Which names the operators' listener may be asked for by, against DNS rebinding: a web page of `evil.example` whose name
//! suddenly leads to this address is of the same origin as the console for its browser, reads all, and acts. What it cannot
//! change is the name that its browser sends in `Host`.
//!
//! So `Host` has to be a name that nobody can have given out in the public DNS: an address, a name without dots, one below a
//! suffix that is kept for private use, or one that the operator lists (`--admin-host`). Who sends none is no browser.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Kept for private use: RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, and what clusters resolve by themselves.
const PRIVATE: [&str; 6] = [".localhost", ".local", ".internal", ".home.arpa", ".svc", ".test"];

/// Whether a `Host` header's value is a name of the listener's own; `listed` are the operator's, in lower case, where one that
/// begins with a dot lists all that end with it.
pub fn is_own(host: &str, listed: &[String]) -> bool {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        || name.parse::<Ipv4Addr>().is_ok()
        || (!name.is_empty() && !name.contains(['.', ':', '[', ']']))
        || PRIVATE.iter().any(|suffix| name.ends_with(suffix))
        || listed.iter().any(|own| *own == name || own.starts_with('.') && name.ends_with(own.as_str()))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn names_that_the_public_dns_can_give_out_are_not_own() {
        let listed = ["console.example.org", ".nodes.example.net"].map(str::to_owned);
        for own in [
            "127.0.0.1:9090",
            "10.1.2.3",
            "[::1]:9090",
            "[fe80::1]",
            "localhost:9090",
            "LOCALHOST",
            "fantail:9090",
            "fantail-0.fantail.default.svc.cluster.local:9090",
            "fantail.default.svc",
            "a.internal.",
            "node.test:1",
            "console.example.org:9090",
            "Console.Example.org",
            "a.nodes.example.net:9090",
            "b.a.nodes.example.net",
        ] {
            assert!(is_own(own, &listed), "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xlocal.com",
            "",
            ":9090",
            "a.console.example.org",
            "nodes.example.net",
            "evilnodes.example.net",
            ".nodes.example.net.evil.example",
            "console.example.org.evil.example",
            "[::1].evil.example",
            "::1",
            "[evil]",
            "2130706433.com",
            "evil.svc.example",
        ] {
            assert!(!is_own(other, &listed), "{other}");
        }
    }
}
