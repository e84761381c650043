//! What the server refuses now, by the command's name: a full disk (`MISCONF`), no memory (`OOM`), missing rights.
//!
//! A refusal that is about one key is told with its channel, and a redirection is none: neither is kept here.

use crate::backplane::error::Refusal;
use crate::backplane::{BackplaneError, Refused};
use parking_lot::Mutex;
use std::sync::Arc;

/// Told of each refusal with its code, one of [`CODES`].
pub type Told = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The codes that are counted by their names; all others are `other`.
pub const CODES: [&str; 7] = ["MISCONF", "OOM", "NOREPLICAS", "READONLY", "NOPERM", "ERR", "other"];

/// The probe's name as it is observed: a label of metrics, which its keys begin with, too.
pub const PROBE: &str = "canary";

/// Refused commands, each until it succeeds; there are no more than names of commands.
pub struct Refusals {
    told: Told,
    now: Mutex<Vec<Refused>>,
}

impl Refusals {
    /// Nothing is refused yet.
    pub fn new(told: Told) -> Refusals {
        Refusals { told, now: Mutex::default() }
    }

    /// Takes in one answer; `command`: as it is observed. The refusal, where it is about the server.
    pub fn take<'a, T>(&self, command: &'static str, answer: &'a Result<T, BackplaneError>) -> Option<&'a str> {
        let command = name(command);
        match answer {
            Ok(_) => {
                let mut now = self.now.lock();
                now.retain(|refused| refused.command != command);
                None
            }
            Err(BackplaneError::Refused { kind, text: why }) if kind.is_about_the_server() => {
                (self.told)(code(kind));
                let mut now = self.now.lock();
                now.retain(|refused| refused.command != command);
                now.push(Refused { command, why: why.clone() });
                Some(why)
            }
            Err(_) => None,
        }
    }

    /// All commands that are refused now.
    pub fn list(&self) -> Vec<Refused> {
        self.now.lock().clone()
    }

    /// Forgets all, as another server may refuse other things.
    pub fn forget(&self) {
        self.now.lock().clear();
    }
}

/// The code that a refusal is counted by, one of [`CODES`].
fn code(kind: &Refusal) -> &'static str {
    match kind {
        Refusal::DiskFull => "MISCONF",
        Refusal::OutOfMemory => "OOM",
        Refusal::NoReplicas => "NOREPLICAS",
        Refusal::ReadOnly => "READONLY",
        Refusal::Forbidden | Refusal::ForbiddenKey => "NOPERM",
        Refusal::UnknownCommand
        | Refusal::NoSentinel
        | Refusal::NoCluster
        | Refusal::BadArguments
        | Refusal::NoSuchKey
        | Refusal::NoRoom
        | Refusal::Plain => "ERR",
        _ => "other",
    }
}

/// The commands that stand behind an observed name.
pub fn name(observed: &'static str) -> &'static str {
    match observed {
        "xread" => "XREAD",
        "xinfo" => "XINFO",
        "examine" => "XINFO and XREAD",
        "xrange" => "XRANGE",
        "xadd" => "XADD",
        "note" => "HSET",
        "noted" => "HGETALL",
        "role" => "ROLE",
        PROBE => "SET",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::redis::fault;

    #[test]
    fn what_is_refused_is_kept_until_it_is_taken() {
        let told: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let codes = told.clone();
        let refusals = Refusals::new(Arc::new(move |code| codes.lock().push(code)));
        let refused = |why: &str| Err::<(), _>(fault::reply(why.into()));
        for why in ["MISCONF disk", "OOM memory", "what?", "MOVED 1 h:1", "WRONGTYPE x", "ERR no such key"] {
            refusals.take("xadd", &refused(why));
        }
        assert_eq!(*told.lock(), ["MISCONF", "OOM", "other"]);
        refusals.take(PROBE, &refused("MISCONF disk"));
        let list = refusals.list();
        assert_eq!(
            list.iter().map(|r| (r.command, r.why.as_str())).collect::<Vec<_>>(),
            [("XADD", "what?"), ("SET", "MISCONF disk")]
        );
        refusals.take("xadd", &Ok(()));
        assert_eq!(refusals.list().len(), 1);
    }
}
