//! What an error means: the connection or the whole server cannot be used, or it refused one command.
//!
//! The only place that reads the texts of Redis, fred, the system and rustls; what they mean is a kind from here on.

use super::address::Host;
use crate::backplane::error::{BackplaneError, Elsewhere, Outage, Refusal};
use fred::error::{Error, ErrorKind};
use std::io;

/// An error of fred: `Refused` for what the server said of one command, in whatever words; `Down` for everything else.
pub fn judge(error: &Error) -> BackplaneError {
    let text = text(error);
    match is_reply(error).then(|| unusable(code(error.details()))) {
        Some(None) => BackplaneError::Refused { kind: refusal(&text), text },
        Some(Some(kind)) => down(kind, text),
        None => down(outage(&text), text),
    }
}

/// An error reply that was not read by fred.
pub fn reply(text: String) -> BackplaneError {
    judge(&Error::new(ErrorKind::Unknown, text))
}

/// An error of a connection that is not fred's.
pub fn broken(error: &io::Error) -> BackplaneError {
    let text = error.to_string();
    let kind = match error.kind() {
        io::ErrorKind::TimedOut if error.raw_os_error().is_none() => Outage::NoAnswer,
        io::ErrorKind::TimedOut => Outage::TimedOut,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Outage::HungUp,
        _ => outage(&text),
    };
    down(kind, text)
}

/// An error of this node's own: `Down` of a kind.
pub fn down(kind: Outage, text: impl Into<String>) -> BackplaneError {
    BackplaneError::Down { kind, text: text.into(), unsent: false }
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
fn text(error: &Error) -> String {
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

/// The codes of a server that answers, but cannot serve now.
fn unusable(code: &str) -> Option<Outage> {
    match code {
        "LOADING" | "MASTERDOWN" | "BUSY" | "UNBLOCKED" => Some(Outage::NotReady),
        "NOAUTH" => Some(Outage::NoPassword),
        "WRONGPASS" => Some(Outage::WrongPassword),
        _ => None,
    }
}

/// What an error reply of Redis says, by its code, or by its words where it has none of its own.
fn refusal(text: &str) -> Refusal {
    let has = |part: &str| text.contains(part);
    match code(text) {
        "WRONGTYPE" => Refusal::WrongType,
        "NOPERM" if has(" key") => Refusal::ForbiddenKey,
        "NOPERM" => Refusal::Forbidden,
        "CROSSSLOT" => Refusal::CrossSlot,
        "MOVED" => Refusal::Moved(elsewhere(text)),
        "ASK" => Refusal::Ask(elsewhere(text)),
        "TRYAGAIN" => Refusal::TryAgain,
        "CLUSTERDOWN" => Refusal::ClusterDown,
        "READONLY" => Refusal::ReadOnly,
        "MISCONF" => Refusal::DiskFull,
        "OOM" => Refusal::OutOfMemory,
        "NOREPLICAS" => Refusal::NoReplicas,
        // An EXEC that is forbidden is an EXECABORT because of it.
        _ if has("NOPERM ") => Refusal::Forbidden,
        _ if has("unknown command") && has("SENTINEL") => Refusal::NoSentinel,
        _ if has("unknown command") || has("unknown subcommand") => Refusal::UnknownCommand,
        _ if has("no such key") => Refusal::NoSuchKey,
        _ if has("max number of clients") => Refusal::NoRoom,
        _ if has("cluster support disabled") => Refusal::NoCluster,
        _ if has("wrong number of arguments") || has("syntax") => Refusal::BadArguments,
        "ERR" => Refusal::Plain,
        _ => Refusal::Other,
    }
}

/// `MOVED 3999 127.0.0.1:7001`; the name may be left out.
fn elsewhere(text: &str) -> Option<Elsewhere> {
    let (name, port) = text.split_whitespace().nth(2)?.rsplit_once(':')?;
    let name = Some(name.to_owned()).filter(|name| !matches!(name.as_str(), "" | "?"));
    Some(Elsewhere { name, port: port.parse().ok()? })
}

/// What fred, the system or rustls say of a connection.
fn outage(text: &str) -> Outage {
    const HANG_UPS: [&str; 5] = ["closed", "reset by peer", "Broken pipe", "end of file", "EOF"];
    let has = |part: &str| text.contains(part);
    match text {
        _ if has("UnknownIssuer") || has("BadSignature") => Outage::Untrusted,
        _ if has("CaUsedAsEndEntity") => Outage::AuthorityAsServer,
        _ if has("NotValidForName") => Outage::WrongName,
        _ if has("CertificateRequired") || has("HandshakeFailure") => Outage::WantsCertificate,
        _ if has("InvalidContentType") || has("corrupt message") => Outage::NoTls,
        _ if has("WRONGPASS") => Outage::WrongPassword,
        _ if has("NOAUTH") => Outage::NoPassword,
        _ if has("max number of clients") => Outage::Refused(Refusal::NoRoom),
        _ if HANG_UPS.iter().any(|part| has(part)) => Outage::HungUp,
        _ if has("timed out") => Outage::TimedOut,
        _ => Outage::Other,
    }
}

/// What a server of a cluster says instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot belongs to that one now.
    Moved(Host),
    /// The slot is on its way there, and this key is there already.
    Ask(Host),
    /// Nobody can say where the slot is; the part is asked again in a moment.
    Later,
}

/// Where a refused part of a call must go; `asked`: who refused it, whose name a redirection may leave out.
pub fn redirect(refusal: &Refusal, asked: &Host) -> Option<Redirect> {
    let host = |there: &Elsewhere| {
        let name = there.name.as_ref().unwrap_or(&asked.name);
        Host { name: name.clone(), port: there.port }
    };
    match refusal {
        Refusal::TryAgain | Refusal::ClusterDown => Some(Redirect::Later),
        Refusal::Moved(there) => there.as_ref().map(|there| Redirect::Moved(host(there))),
        Refusal::Ask(there) => there.as_ref().map(|there| Redirect::Ask(host(there))),
        _ => None,
    }
}

/// The error with what an operator can do about it, behind what was said.
pub fn explain(error: BackplaneError) -> BackplaneError {
    match hint(&error.outage()) {
        Some(hint) => error.map_text(|why| format!("{why} ({hint})")),
        None => error,
    }
}

/// What an operator can do about it.
fn hint(outage: &Outage) -> Option<&'static str> {
    Some(match outage {
        Outage::Untrusted => "the certificate is not trusted: name its authority with ?ca=/path",
        Outage::AuthorityAsServer => crate::trust::AUTHORITY_AS_SERVER,
        Outage::WrongName => "the certificate is for another name than the URL's host",
        Outage::WantsCertificate => "the server wants a client certificate: ?cert=/path&key=/path",
        Outage::NoTls => "the server does not speak TLS on this port: redis:// instead of rediss://",
        Outage::Refused(Refusal::NoSentinel) => "no sentinel: name the sentinels' port, or use redis://",
        Outage::WrongPassword => "wrong user or password",
        Outage::NoPassword => "the server wants a password",
        Outage::Refused(Refusal::NoCluster) => "not a cluster: use redis://",
        Outage::Refused(Refusal::Moved(_)) => "a server of a cluster: use redis-cluster://",
        Outage::UnknownPrimary => "the name behind the last / of the URL is the sentinels' name for it",
        _ => return None,
    })
}

/// Why none of several servers can be used.
#[derive(Default)]
pub struct Failures {
    kinds: Vec<Outage>,
    texts: Vec<String>,
}

impl Failures {
    /// One more server, and why it cannot be used.
    pub fn add(&mut self, host: &Host, error: &BackplaneError) {
        self.add_text(error.outage(), format!("{host}: {}", error.text()));
    }

    /// One more server, whose text names it already.
    pub fn add_text(&mut self, kind: Outage, text: String) {
        self.kinds.push(kind);
        self.texts.push(text);
    }

    /// `Down` with all texts. Its kind is that of the first one that an operator can do something about, else of the
    /// first.
    pub fn into_error(self, before: &str) -> BackplaneError {
        let main = self.kinds.iter().find(|kind| hint(kind).is_some()).or(self.kinds.first());
        down(main.cloned().unwrap_or(Outage::Other), format!("{before}{}", self.texts.join("; ")))
    }
}

/// A connection that could not be begun.
#[derive(Debug)]
pub struct Unopened {
    /// Whether it failed just as it asked for RESP3 or its pushes.
    pub at_resp3: bool,
    /// Why it failed.
    pub error: BackplaneError,
}

impl Unopened {
    /// It failed as it asked for RESP3 or its pushes, by this command, which stands in front of what happened then.
    pub fn at(command: &str, error: BackplaneError) -> Unopened {
        Unopened { at_resp3: true, error: error.map_text(|why| format!("{command}: {why}")) }
    }
}

impl From<BackplaneError> for Unopened {
    fn from(error: BackplaneError) -> Unopened {
        Unopened { at_resp3: false, error }
    }
}

impl From<Unopened> for BackplaneError {
    fn from(unopened: Unopened) -> BackplaneError {
        unopened.error
    }
}

/// Whether RESP3 or its pushes are what the server does not take: for sure, where it refuses; where it hangs up or falls
/// silent at that moment, it may be chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp3 {
    /// The server refuses it.
    Refused,
    /// The server hung up or fell silent at that moment.
    Doubtful,
    /// The failure has another reason.
    NotConcerned,
}

/// What the failure of a new connection says of RESP3.
pub fn resp3(unopened: &Unopened) -> Resp3 {
    match &unopened.error {
        _ if !unopened.at_resp3 => Resp3::NotConcerned,
        BackplaneError::Refused { .. } => Resp3::Refused,
        BackplaneError::Down { kind: Outage::NotReady | Outage::NoPassword | Outage::WrongPassword, .. } => {
            Resp3::NotConcerned
        }
        BackplaneError::Down { .. } => Resp3::Doubtful,
    }
}

#[cfg(test)]
mod tests;
