//! What an error means: the connection or the whole server cannot be used, or it refused one command.

use crate::backplane::BackplaneError;
use fred::error::Error;

/// Error codes of a server that answers, but cannot serve now.
const UNUSABLE: [&str; 8] =
    ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "BUSY", "TRYAGAIN", "UNBLOCKED"];

/// `Refused` for what the server said of one command; `Down` for everything else.
pub fn judge(error: &Error) -> BackplaneError {
    let text = text(error);
    match code(error.details()) {
        Some(code) if !UNUSABLE.contains(&code) => BackplaneError::Refused(text),
        _ => BackplaneError::Down(text),
    }
}

/// The error's text, without the arguments that some servers repeat: they may be credentials.
pub fn text(error: &Error) -> String {
    let details = error.details();
    details.split(", with args beginning").next().unwrap_or(details).trim().to_owned()
}

/// The error code that begins a server's reply, such as `WRONGTYPE`; fred's own errors have none.
fn code(details: &str) -> Option<&str> {
    let word = details.split_whitespace().next()?;
    (word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase())).then_some(word)
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

/// Whether the server forbids the command to this user, or does not know it.
pub fn is_for_good(why: &str) -> bool {
    why.starts_with("NOPERM") || why.contains("unknown command") || why.contains("unknown subcommand")
}

/// Whether the server does not know or not allow `HELLO 3`.
pub fn is_no_resp3(why: &str) -> bool {
    is_for_good(why) || why.starts_with("NOPROTO")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fred::error::ErrorKind;

    #[test]
    fn what_the_server_said_and_what_fred_said() {
        let judged = |details: &str| judge(&Error::new(ErrorKind::Unknown, details.to_owned()));
        for refused in ["ERR no such key", "WRONGTYPE Operation …", "NOPERM …", "OOM command …", "READONLY You …"]
        {
            assert!(matches!(judged(refused), BackplaneError::Refused(_)), "{refused}");
        }
        for down in ["LOADING Redis is loading", "MASTERDOWN Link", "NOAUTH Authentication", "Request timed out.", ""] {
            assert!(matches!(judged(down), BackplaneError::Down(_)), "{down}");
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
    fn a_forbidden_key_is_told_from_a_forbidden_command() {
        assert!(is_about_a_key("NOPERM this user has no permissions to access one of the keys used as arguments"));
        assert!(!is_about_a_key("NOPERM this user has no permissions to run the 'xread' command"));
    }
}
