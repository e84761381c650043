//! What a server can do and what this user may do there.

use super::canary::send;
use super::connection::Connection;
use super::fault;
use crate::backplane::BackplaneError;
use crate::config::Follow;
use fred::clients::Client;
use fred::types::{RespVersion, Value};

/// Turns tracking on; whether it is. Default mode: with `BCAST` every node would hear of every write; never
/// `NOLOOP`: the canary is the node's own write.
pub async fn start_tracking(connection: &Connection, follow: Follow) -> Result<bool, BackplaneError> {
    if connection.version != RespVersion::RESP3 {
        return Ok(false);
    }
    match one(&connection.client, &["CLIENT", "TRACKING", "ON"]).await? {
        Ok(_) => Ok(true),
        Err(BackplaneError::Refused(why)) if follow == Follow::Auto => {
            tracing::debug!(%why, "redis: no client tracking");
            Ok(false)
        }
        Err(BackplaneError::Refused(why)) => Err(BackplaneError::Down(format!("the server refuses tracking: {why}"))),
        Err(down) => Err(down),
    }
}

/// The server's version as `INFO` says it; `None` where that is forbidden.
pub async fn version(client: &Client) -> Result<Option<String>, BackplaneError> {
    let Ok(info) = one(client, &["INFO", "server"]).await? else { return Ok(None) };
    let info = info.into_string().unwrap_or_default();
    let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = line("valkey_version:").map(|v| format!("Valkey {v}"));
    Ok(version.or_else(|| line("redis_version:").map(str::to_owned)))
}

/// Whether `XINFO STREAM` counts entries, by the version that was told (Valkey began above it). Only a hint for
/// `fantail check`: a node goes by the reply itself.
pub fn counts_entries(version: Option<&str>) -> bool {
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    version.and_then(major).is_none_or(|major| major >= 7)
}

/// One command with its own answer; the outer error is the connection's.
pub async fn one(client: &Client, words: &[&str]) -> Result<Result<Value, BackplaneError>, BackplaneError> {
    let words = words.iter().map(|w| w.to_string()).collect();
    let mut replies = send(client, &[words]).await?;
    Ok(replies.pop().unwrap_or(Err(BackplaneError::Down("no reply".into()))))
}

/// What a server and a user's rights there allow.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The address without credentials.
    pub name: String,
    pub version: Option<String>,
    /// `tracking` or `block`.
    pub follow: &'static str,
    /// Server clock minus this machine's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    pub rights: Vec<Right>,
    /// Whether lost events can be counted.
    pub exact: bool,
    /// Each primary of a cluster, and why it cannot be used.
    pub shards: Vec<(String, Option<String>)>,
}

/// A command that a node needs, or can do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub command: &'static str,
    /// What a node cannot do without it.
    pub purpose: &'static str,
    /// Whether a node does not work at all without it.
    pub needed: bool,
    /// Why the server refuses it; `None`: allowed.
    pub refused: Option<String>,
}

/// Tries every command that a node uses on a key under the prefix that no channel can have; nothing is left behind.
///
/// `publishes`: whether the node also appends.
pub async fn rights(client: &Client, key_prefix: &str, publishes: bool) -> Result<Vec<Right>, BackplaneError> {
    let key = format!("{key_prefix}~check:{:016x}", fastrand::u64(..));
    let key = key.as_str();
    let mut tries = vec![
        ("XREAD", "reading events", true, vec!["XREAD", "COUNT", "1", "STREAMS", key, "0-0"]),
        ("XRANGE", "reading history", true, vec!["XRANGE", key, "-", "+", "COUNT", "1"]),
        ("XREVRANGE", "reading history", true, vec!["XREVRANGE", key, "+", "-", "COUNT", "1"]),
        ("XINFO STREAM", "telling gaps", true, vec!["XINFO", "STREAM", key]),
        ("MULTI", "telling gaps", true, vec!["MULTI"]),
        ("EXEC", "telling gaps", true, vec!["EXEC"]),
        ("CLIENT TRACKING", "following by tracking", false, vec!["CLIENT", "TRACKING", "OFF"]),
        ("PING", "noticing a dead server where SET is forbidden", false, vec!["PING"]),
        ("TIME", "measuring delivery lag", false, vec!["TIME"]),
        ("INFO", "noticing a demoted server or another data set", false, vec!["INFO", "server"]),
        ("ROLE", "noticing a demoted server where INFO is forbidden", false, vec!["ROLE"]),
        ("CLIENT ID", "following promptly without tracking", false, vec!["CLIENT", "ID"]),
        ("CLIENT UNBLOCK", "following promptly without tracking", false, vec!["CLIENT", "UNBLOCK", "0"]),
    ];
    // NOMKSTREAM on a key that is not there: the right is checked, nothing is added.
    let append = vec!["XADD", key, "NOMKSTREAM", "*", "data", ""];
    if publishes {
        tries.push(("XADD", "publishing", true, append));
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
        rights.push(Right { command, purpose, needed, refused: refusal(one(client, &words).await?)? });
    }
    Ok(rights)
}

/// Only what is forbidden or unknown counts; "no such key" is an answer.
fn refusal(reply: Result<Value, BackplaneError>) -> Result<Option<String>, BackplaneError> {
    match reply {
        Ok(_) => Ok(None),
        Err(BackplaneError::Refused(why)) => Ok(Some(why).filter(|why| fault::is_for_good(why))),
        Err(down) => Err(down),
    }
}
