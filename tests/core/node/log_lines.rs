//! Lines of the log, whatever others wrote that stands in them.

use crate::support::jwt::{Folder, SECRET};
use crate::support::node::Node;
use crate::support::redis::Redis;

/// A name that would begin a line of its own, colour a terminal, and turn what is behind it.
const FORGED: &str = "alice\r\n2026-01-01T00:00:00.000000Z  INFO fantail::auth: all is well\u{1b}[2J\u{9b}31m\u{202e}";

#[test]
fn a_name_that_others_wrote_forges_no_line() {
    for format in ["text", "json"] {
        let (redis, folder) = (Redis::start(), Folder::new());
        let secret = folder.write("secret", SECRET);
        let node = Node::on(&redis, &["--auth", "jwt", "--jwt-key", &secret, "--log-format", format, "--log", "debug"]);
        redis.command(&["XADD", "sse:~control", "*", "disconnect", "subject", "name", FORGED]);
        redis.command(&["XADD", "sse:~control", "*", "disconnect", FORGED, "name", "x"]);
        redis.command(&["XADD", "sse:~control", "*", FORGED, "subject", "name", FORGED]);
        redis.command(&["XADD", "sse:~control", "*", "disconnect", "subject", "name", "the-last-one"]);
        node.logs(&["the-last-one"]);
        let log = node.log();
        assert!(!log.lines().any(|line| line.starts_with("2026-01-01")), "{log}");
        assert!(!log.contains(['\u{1b}', '\r']) && log.contains("all is well"), "{log:?}");
        if format == "text" {
            assert!(!log.contains(['\u{9b}', '\u{202e}']), "{log:?}");
            assert!(log.lines().all(|line| line.starts_with("20") && line.contains("fantail")), "{log}");
        }
    }
}
