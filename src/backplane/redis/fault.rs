//! What an error means: the connection or the whole server cannot be used, or it refused one command.

use super::address::Host;
use crate::backplane::BackplaneError;
use fred::error::{Error, ErrorKind};

/// Error codes of a server that answers, but cannot serve now.
const UNUSABLE: [&str; 6] = ["LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS", "BUSY", "UNBLOCKED"];

/// `Refused` for what the server said of one command, in whatever words; `Down` for everything else.
pub fn judge(error: &Error) -> BackplaneError {
    let text = text(error);
    match is_reply(error) && !UNUSABLE.contains(&code(error.details())) {
        true => BackplaneError::Refused(text),
        false => BackplaneError::Down(text),
    }
}

/// Whether the server said it: fred gives an error reply one of these kinds, by its first words, and its own few errors
/// of the same kinds (which are listed) no command here can meet but these.
fn is_reply(error: &Error) -> bool {
    const OWN: [&str; 3] = ["Missing response.", "Too many failed write attempts.", "No connections are blocked."];
    let said = matches!(
        error.kind(),
        ErrorKind::Unknown
            | ErrorKind::InvalidArgument
            | ErrorKind::InvalidCommand
            | ErrorKind::Auth
            | ErrorKind::Cluster
            | ErrorKind::Config
    );
    said && !error.details().is_empty() && !OWN.contains(&error.details())
}

/// The error's text, without the arguments that some servers repeat: they may be credentials.
pub fn text(error: &Error) -> String {
    let details = error.details();
    let plain = unwrapped(details).unwrap_or(details);
    plain.split(", with args beginning").next().unwrap_or(plain).trim().to_owned()
}

/// What std wraps an error of the system in: `Os { code: 111, …, message: "Connection refused" }`.
fn unwrapped(details: &str) -> Option<&str> {
    let rest = details.strip_prefix("Os {").or_else(|| details.strip_prefix("Custom {"))?;
    let (_, text) = rest.split_once("message: \"").or_else(|| rest.split_once("error: \""))?;
    text.split('"').next()
}

/// The word that begins a server's reply, such as `WRONGTYPE`; some servers' errors have no code there.
fn code(details: &str) -> &str {
    details.split_whitespace().next().unwrap_or_default()
}

/// Why, without the kind of error.
pub fn reason(error: BackplaneError) -> String {
    match error {
        BackplaneError::Down(why) | BackplaneError::Refused(why) => why,
    }
}

/// Whether the refusal concerns a key, so that others of the same command may be fine.
pub fn is_about_a_key(why: &str) -> bool {
    why.starts_with("WRONGTYPE") || (why.starts_with("NOPERM") && why.contains(" key"))
}

/// Whether the keys of one command lie apart for the server, which is one of many behind an address.
pub fn is_cross_slot(why: &str) -> bool {
    why.starts_with("CROSSSLOT")
}

/// Whether a refusal is about the server, or this user's rights there: not about one key, or where it is.
pub fn is_about_the_server(why: &str) -> bool {
    let elsewhere = is_redirect(why) || ["TRYAGAIN", "CLUSTERDOWN"].iter().any(|code| why.starts_with(code));
    !elsewhere && !is_about_a_key(why) && !is_cross_slot(why) && !why.contains("no such key")
}

/// Whether the server forbids the command to this user, or does not know it.
pub fn is_for_good(why: &str) -> bool {
    // An EXEC that is forbidden is an EXECABORT because of it.
    why.contains("NOPERM ") || why.contains("unknown command") || why.contains("unknown subcommand")
}

/// What a server of a cluster says instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot belongs to that one now.
    Moved(Host),
    /// The slot is on its way there, and this key is there already.
    Ask(Host),
    /// In a moment.
    Later,
}

/// `asked`: who said it; it may leave out its own name.
pub fn redirect(why: &str, asked: &Host) -> Option<Redirect> {
    let mut words = why.split_whitespace();
    match words.next()? {
        "TRYAGAIN" | "CLUSTERDOWN" => Some(Redirect::Later),
        kind @ ("MOVED" | "ASK") => {
            let (name, port) = words.nth(1)?.rsplit_once(':')?;
            let name = if matches!(name, "" | "?") { asked.name.as_str() } else { name };
            let host = Host { name: name.to_owned(), port: port.parse().ok()? };
            Some(if kind == "ASK" { Redirect::Ask(host) } else { Redirect::Moved(host) })
        }
        _ => None,
    }
}

/// Whether a key does not belong to this server.
pub fn is_redirect(why: &str) -> bool {
    why.starts_with("MOVED ") || why.starts_with("ASK ")
}

/// Whether the other side said nothing at all.
pub fn is_silence(why: &str) -> bool {
    why.contains("timed out") || why.contains("in time")
}

/// Whether the other side ended the connection.
pub fn is_hang_up(why: &str) -> bool {
    ["closed", "reset by peer", "Broken pipe", "end of file", "EOF"].iter().any(|part| why.contains(part))
}

/// What an operator can do about it, behind what was said.
pub fn explain(why: &str) -> String {
    let hint = match why {
        _ if why.contains("UnknownIssuer") || why.contains("BadSignature") => {
            "the certificate is not trusted: name its authority with ?ca=/path"
        }
        _ if why.contains("CaUsedAsEndEntity") => crate::https::AUTHORITY_AS_SERVER,
        _ if why.contains("NotValidForName") => "the certificate is for another name than the URL's host",
        _ if why.contains("CertificateRequired") || why.contains("HandshakeFailure") => {
            "the server wants a client certificate: ?cert=/path&key=/path"
        }
        _ if why.contains("InvalidContentType") || why.contains("corrupt message") => {
            "the server does not speak TLS on this port: redis:// instead of rediss://"
        }
        _ if why.contains("unknown command") && why.contains("SENTINEL") => {
            "no sentinel: name the sentinels' port, or use redis://"
        }
        _ if why.contains("WRONGPASS") => "wrong user or password",
        _ if why.contains("NOAUTH") => "the server wants a password",
        _ if why.contains("cluster support disabled") => "not a cluster: use redis://",
        _ if why.starts_with("MOVED ") => "a server of a cluster: use redis-cluster://",
        _ if why.contains("knows no primary named") => {
            "the name behind the last / of the URL is the sentinels' name for it"
        }
        _ => return why.to_owned(),
    };
    format!("{why} ({hint})")
}

/// The steps that a server may not have come to terms with, as they stand in front of what happened then.
pub const HELLO: &str = "HELLO 3: ";
pub const TRACKING: &str = "CLIENT TRACKING: ";

/// The same error, with the step that it came at.
pub fn within(step: &str, error: BackplaneError) -> BackplaneError {
    match error {
        BackplaneError::Down(why) => BackplaneError::Down(format!("{step}{why}")),
        BackplaneError::Refused(why) => BackplaneError::Refused(format!("{step}{why}")),
    }
}

/// Whether RESP3 or its pushes are what the server does not take: for sure, where it refuses; where it hangs up or falls
/// silent at that moment, it may be chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp3 {
    Refused,
    Doubtful,
    NotConcerned,
}

/// What the failure of a new connection says of RESP3.
pub fn resp3(error: &BackplaneError) -> Resp3 {
    let of = |why: &str| why.strip_prefix(HELLO).or(why.strip_prefix(TRACKING)).map(|rest| code(rest).to_owned());
    match error {
        BackplaneError::Refused(why) if of(why).is_some() => Resp3::Refused,
        BackplaneError::Down(why) if of(why).is_some_and(|code| !UNUSABLE.contains(&code.as_str())) => Resp3::Doubtful,
        _ => Resp3::NotConcerned,
    }
}

/// Whether the server may have no room for a further connection: some say so, and some only hang up.
pub fn is_crowded(why: &str) -> bool {
    why.contains("max number of clients") || is_hang_up(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fred::error::ErrorKind;

    #[test]
    fn what_the_server_said_and_what_fred_said() {
        let judged = |details: &str| judge(&Error::new(ErrorKind::Unknown, details.to_owned()));
        for refused in [
            "ERR no such key",
            "WRONGTYPE Operation …",
            "NOPERM …",
            "OOM command …",
            "READONLY You …",
            "Unsupported operation: xinfo",
            "unknown command",
            "no",
        ] {
            assert!(matches!(judged(refused), BackplaneError::Refused(_)), "{refused}");
        }
        for down in ["LOADING Redis is loading", "MASTERDOWN Link", "NOAUTH Authentication", "Missing response.", ""] {
            assert!(matches!(judged(down), BackplaneError::Down(_)), "{down}");
        }
        for kind in [ErrorKind::Timeout, ErrorKind::IO, ErrorKind::Canceled, ErrorKind::Protocol, ErrorKind::Tls] {
            assert!(matches!(judge(&Error::new(kind, "ERR said")), BackplaneError::Down(_)));
        }
    }

    #[test]
    fn what_a_failure_says_of_resp3() {
        let of = |error| resp3(&within(HELLO, error));
        assert_eq!(of(BackplaneError::Refused("what?".into())), Resp3::Refused);
        assert_eq!(of(BackplaneError::Down("the connection was closed".into())), Resp3::Doubtful);
        assert_eq!(of(BackplaneError::Down("NOAUTH who?".into())), Resp3::NotConcerned);
        assert_eq!(resp3(&BackplaneError::Down("the connection was closed".into())), Resp3::NotConcerned);
    }

    #[test]
    fn redirections() {
        let asked = Host { name: "me".into(), port: 1 };
        let host = |name: &str| Host { name: name.into(), port: 7001 };
        assert_eq!(redirect("MOVED 3999 127.0.0.1:7001", &asked), Some(Redirect::Moved(host("127.0.0.1"))));
        assert_eq!(redirect("MOVED 3999 :7001", &asked), Some(Redirect::Moved(host("me"))));
        assert_eq!(redirect("ASK 3999 ::1:7001", &asked), Some(Redirect::Ask(host("::1"))));
        assert_eq!(redirect("CLUSTERDOWN Hash slot not served", &asked), Some(Redirect::Later));
        for odd in ["", "MOVED", "MOVED 1", "MOVED 1 h", "MOVED 1 h:x", "ASK 1 h:99999", "ERR MOVED 1 h:1"] {
            assert_eq!(redirect(odd, &asked), None, "{odd}");
        }
    }

    #[test]
    fn repeated_arguments_are_cut_off() {
        let said = "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `secret`, ";
        let text = text(&Error::new(ErrorKind::Unknown, said));
        assert_eq!(text, "ERR unknown command `HELLO`");
        assert!(is_for_good(&text));
    }

    #[test]
    fn an_error_of_the_system_is_told_without_its_wrapping() {
        let said = r#"Custom { kind: Uncategorized, error: "failed to lookup address information" }"#;
        assert_eq!(text(&Error::new(ErrorKind::IO, said)), "failed to lookup address information");
        let said = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
        assert_eq!(text(&Error::new(ErrorKind::IO, said)), "Connection refused");
    }

    #[test]
    fn a_forbidden_key_is_told_from_a_forbidden_command() {
        assert!(is_about_a_key("NOPERM this user has no permissions to access one of the keys used as arguments"));
        assert!(!is_about_a_key("NOPERM this user has no permissions to run the 'xread' command"));
    }
}
