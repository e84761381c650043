//! What a server can do and what this user may do there.

use super::connection::Connection;
use super::pipeline::one;
use super::policy::Caution;
use super::prepared;
use crate::backplane::BackplaneError;
use crate::backplane::error::Refusal;
use crate::config::Follow;
use fred::clients::Client;
use fred::types::{RespVersion, Value};

/// Turns tracking on; whether it is. Default mode: with `BCAST` every node would hear of every write; never
/// `NOLOOP`: the probe key is the node's own write.
pub async fn start_tracking(connection: &Connection, follow: Follow) -> Result<bool, BackplaneError> {
    if connection.version != RespVersion::RESP3 {
        return Ok(false);
    }
    match one(&connection.client, &["CLIENT", "TRACKING", "ON"]).await? {
        Ok(_) => Ok(true),
        Err(BackplaneError::Refused { text: why, .. }) if follow == Follow::Auto => {
            tracing::debug!(%why, "redis: no client tracking");
            Ok(false)
        }
        Err(error) => match error.refusal() {
            Some(_) => Err(error.map_text(|why| format!("the server refuses tracking: {why}")).into_down()),
            None => Err(error),
        },
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its version, where it tells it.
    pub version: Option<String>,
    /// Part of a Cluster, or a sentinel.
    pub mode: Mode,
}

/// What kind of server it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Alone,
    Cluster,
    Sentinel,
}

/// What a server says of itself by `INFO`; nothing is known where that is forbidden.
pub async fn about(client: &Client) -> Result<About, BackplaneError> {
    let Ok(info) = one(client, &["INFO", "server"]).await? else { return Ok(About::default()) };
    let info = info.into_string().unwrap_or_default();
    let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = line("valkey_version:").map(|v| format!("Valkey {v}"));
    let mode = match line("redis_mode:").or_else(|| line("server_mode:")) {
        Some("cluster") => Mode::Cluster,
        Some("sentinel") => Mode::Sentinel,
        _ => Mode::Alone,
    };
    Ok(About { version: version.or_else(|| line("redis_version:").map(str::to_owned)), mode })
}

/// Whether a server counts the entries that a stream ever had (`entries-added`, Redis 7.0), which makes gaps exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    Yes,
    /// It is older than 7.0.
    No,
    /// It lacks what Redis knows, as stand-ins do.
    Unknown,
}

/// Finds that out for `fantail check` alone: a node goes by what `XINFO` replies.
///
/// `XSETID` of a stream that is not there changes nothing, and has to know of the count. Where it is forbidden the
/// version decides.
pub async fn counts_entries(
    client: &Client,
    key_prefix: &str,
    version: Option<&str>,
) -> Result<Counts, BackplaneError> {
    let key = absent(key_prefix);
    let words = ["XSETID", &key, "1-1", "ENTRIESADDED", "1", "MAXDELETEDID", "0-0"];
    Ok(match one(client, &words).await?.err().as_ref().and_then(BackplaneError::refusal) {
        Some(Refusal::BadArguments) => Counts::No,
        Some(kind) if *kind == Refusal::UnknownCommand || is_foreign(kind) => Counts::Unknown,
        Some(kind) if kind.is_for_good() && !is_recent(version) => Counts::No,
        _ => Counts::Yes,
    })
}

/// Whether a version is 7.0 or later; Valkey began above it, and an unknown one is taken for it.
fn is_recent(version: Option<&str>) -> bool {
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    version.and_then(major).is_none_or(|major| major >= 7)
}

/// A key under the prefix that no channel can have.
fn absent(key_prefix: &str) -> String {
    format!("{key_prefix}~check:{:016x}", fastrand::u64(..))
}

/// What a server and a user's rights there allow.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The address without credentials.
    pub name: String,
    /// The server's version, where it tells it.
    pub version: Option<String>,
    /// `tracking` or `block`.
    pub follow: &'static str,
    /// Server clock minus this machine's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Each command that a node uses, and whether this user may run it.
    pub rights: Vec<Right>,
    /// Settings of the server that harm.
    pub cautions: Vec<Caution>,
    /// Whether lost events can be counted.
    pub counts: Counts,
    /// Whether entries can be published once; `None` where the node does not publish.
    pub once: Option<Keyed>,
    /// Each primary of a cluster, and why it cannot be used.
    pub shards: Vec<(String, Option<String>)>,
    /// Where replicas are to be read, each of them, and what was found there or is wrong with it.
    pub replicas: Vec<(String, Result<String, String>)>,
}

/// Whether entries can be published once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed {
    Supported,
    /// The server is too old.
    Unknown,
    /// This user may not; why.
    Forbidden(String),
}

/// Whether the server remembers keys of entries for as long as nodes promise, and this user may tell it so.
pub async fn publishes_once(client: &Client, key_prefix: &str) -> Result<Keyed, BackplaneError> {
    let (key, settings) = (absent(key_prefix), prepared::settings());
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    // What makes a stream is not to make one here: it is a group of a stream that is not there.
    let tries = [
        [&["XCFGSET", &key][..], &settings].concat(),
        vec!["XGROUP", "CREATE", &key, "a", "$"],
        vec!["XGROUP", "DESTROY", &key, "a"],
    ];
    for words in tries {
        match one(client, &words).await? {
            Err(error) if error.refusal() == Some(&Refusal::UnknownCommand) => return Ok(Keyed::Unknown),
            // Redis says that there is no such key.
            Err(error) if words[0] == "XCFGSET" && error.refusal().is_some_and(is_foreign) => {
                return Ok(Keyed::Unknown);
            }
            Err(error) if error.refusal().is_some_and(Refusal::is_for_good) => {
                return Ok(Keyed::Forbidden(format!("{}: {}", words[0], error.text())));
            }
            _ => {}
        }
    }
    Ok(Keyed::Supported)
}

/// Whether a refusal is none of those that Redis has for a command that it knows.
fn is_foreign(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Plain | Refusal::Other)
}

/// A command that a node needs, or can do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Its name, such as `XADD`.
    pub command: &'static str,
    /// What a node cannot do without it.
    pub purpose: &'static str,
    /// Whether a node does not work at all without it.
    pub needed: bool,
    /// Why the server refuses it; `None`: allowed.
    pub refused: Option<String>,
}

impl Right {
    /// Says it of a replica, if it is refused there; what replicas never allow is not wanted of them.
    pub fn at_replica(self) -> Option<Right> {
        let refused = self.refused.filter(|why| !why.starts_with("READONLY"))?;
        let refused = Some(format!("at the replica: {refused}"));
        Some(Right { refused, needed: false, ..self })
    }
}

/// What of a server is tried.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// The node also appends.
    pub publishes: bool,
    /// The node follows by blocking reads alone.
    pub blocks: bool,
    /// The node reads several streams with one command, wherever they lie.
    pub several: bool,
    /// The node passes on to others what it reads of busy streams, and hears what they do.
    pub relays: bool,
}

/// Tries every command that a node uses on a key under the prefix that no channel can have; nothing is left behind.
pub async fn rights(client: &Client, key_prefix: &str, tried: &Tried) -> Result<Vec<Right>, BackplaneError> {
    let (key, other) = (absent(key_prefix), absent(key_prefix));
    let (key, other) = (key.as_str(), other.as_str());
    let mut tries = vec![
        ("XREAD", "reading events", true, vec!["XREAD", "COUNT", "1", "STREAMS", key, "0-0"]),
        ("XRANGE", "reading history", true, vec!["XRANGE", key, "-", "+", "COUNT", "1"]),
        ("XREVRANGE", "reading history", true, vec!["XREVRANGE", key, "+", "-", "COUNT", "1"]),
        ("XINFO STREAM", "telling gaps", true, vec!["XINFO", "STREAM", key]),
        ("CLIENT TRACKING", "following by tracking", false, vec!["CLIENT", "TRACKING", "OFF"]),
        ("PING", "sending commands together, and noticing a dead server where SET is forbidden", false, vec!["PING"]),
        ("TIME", "measuring delivery lag", false, vec!["TIME"]),
        ("INFO", "noticing a demoted server or another data set", false, vec!["INFO", "server"]),
        ("ROLE", "noticing a demoted server where INFO is forbidden", false, vec!["ROLE"]),
        ("CLIENT ID", "following promptly without tracking", false, vec!["CLIENT", "ID"]),
        ("CLIENT UNBLOCK", "following promptly without tracking", false, vec!["CLIENT", "UNBLOCK", "0"]),
    ];
    // NOMKSTREAM on a key that is not there: the right is checked, nothing is added.
    let append = vec!["XADD", key, "NOMKSTREAM", "*", "data", ""];
    if tried.publishes {
        tries.push(("XADD", "publishing", true, append));
    }
    if tried.several {
        let words = vec!["XREAD", "COUNT", "1", "STREAMS", key, other, "0-0", "0-0"];
        tries.push(("XREAD of two keys", "reading several streams at once", true, words));
    }
    let purpose = if tried.blocks { "following" } else { "waiting for busy streams" };
    let block = vec!["XREAD", "COUNT", "1", "BLOCK", "1", "STREAMS", key, "0-0"];
    tries.push(("XREAD BLOCK", purpose, tried.blocks, block));
    if tried.relays {
        let purpose = "reading busy streams for other nodes";
        tries.push(("SPUBLISH", purpose, false, vec!["SPUBLISH", key, ""]));
        tries.push(("PUBSUB SHARDNUMSUB", purpose, false, vec!["PUBSUB", "SHARDNUMSUB", key]));
    }
    let console = "showing other nodes in the console";
    tries.push(("HSET", console, false, vec!["HSET", key, "a", "1"]));
    tries.push(("HDEL", console, false, vec!["HDEL", key, "b"]));
    tries.push(("HGETALL", console, false, vec!["HGETALL", key]));
    tries.push(("HMGET", console, false, vec!["HMGET", key, "a"]));
    tries.push(("PEXPIRE", console, false, vec!["PEXPIRE", key, "1"]));
    // Last: until it expires, the key is there, and no stream.
    tries.push(("SET", "noticing an emptied tracking table at once", false, vec!["SET", key, "1", "PX", "1"]));
    tries.push(("GET", "noticing an emptied tracking table at once", false, vec!["GET", key]));
    let mut rights = Vec::with_capacity(tries.len());
    for (command, purpose, needed, words) in tries {
        let refused = refusal(one(client, &words).await?)?;
        // Of a node's reads the rest is split then.
        let needed = needed && !refused.as_ref().is_some_and(|error| error.refusal() == Some(&Refusal::CrossSlot));
        let refused = refused.map(|error| error.text().to_owned());
        rights.push(Right { command, purpose, needed, refused });
    }
    let refuses = |command: &str| rights.iter().any(|right| right.command == command && right.refused.is_some());
    if ["INFO", "ROLE", "SET"].into_iter().all(refuses) {
        let refused = Some("INFO, ROLE and SET are all refused, so a replica would be taken for a primary".into());
        rights.push(Right { command: "ROLE", purpose: "telling a replica from a primary", needed: false, refused });
    }
    Ok(rights)
}

/// Why a server refuses a command. Whatever it says counts, but that there is no such key, or that it is elsewhere in
/// a cluster: a node is told the same.
fn refusal(reply: Result<Value, BackplaneError>) -> Result<Option<BackplaneError>, BackplaneError> {
    let Err(error) = reply else { return Ok(None) };
    match error.refusal() {
        Some(Refusal::NoSuchKey | Refusal::ClusterDown | Refusal::Moved(_) | Refusal::Ask(_)) => Ok(None),
        Some(_) => Ok(Some(error)),
        None => Err(error),
    }
}
