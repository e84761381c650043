//! How the server is set up, as far as it matters here, and what becomes of streams then. For `fantail check` alone.
//!
//! Nothing is known where `INFO` and `CONFIG` are refused, as managed servers do.

use super::pipeline::one;
use crate::backplane::BackplaneError;
use fred::clients::Client;
use fred::types::Value;

/// Fewer keys in the tracking table than this are few for a node; Redis has room for a million.
const TRACKED_KEYS: u64 = 100_000;
/// Connections that one node may have: the live one, two lazy ones, four busy streams, and as many again while they
/// change.
const CONNECTIONS: u64 = 16;
/// A limit of the output buffer below this ends connections that an event of the largest size goes over.
const OUTPUT_BYTES: u64 = 64 << 20;

/// A setting of the server and its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caution {
    /// Its name.
    pub setting: &'static str,
    /// Its value, and what comes of it.
    pub effect: String,
}

/// Settings of the server that harm.
pub async fn cautions(client: &Client) -> Result<Vec<Caution>, BackplaneError> {
    let memory = info(client, "memory").await?;
    let clients = info(client, "clients").await?;
    let server = info(client, "server").await?;
    let replication = info(client, "replication").await?;
    let commands = info(client, "commandstats").await?;
    let table = config(client, "tracking-table-max-keys").await?;
    let output = config(client, "client-output-buffer-limit").await?;
    let eviction = line(&memory, "maxmemory_policy:").and_then(|policy| eviction(policy, line(&memory, "maxmemory:")));
    let connections = number(line(&clients, "maxclients:")).zip(number(line(&clients, "connected_clients:")));
    let all = [
        eviction,
        number(table.as_deref()).and_then(tracking),
        connections.and_then(|(most, now)| room(most, now)),
        output.as_deref().and_then(buffer),
        acked(line(&server, "redis_version:"), &commands),
        two_primaries(line(&replication, "role:")),
    ];
    Ok(all.into_iter().flatten().collect())
}

async fn info(client: &Client, section: &str) -> Result<String, BackplaneError> {
    let reply = one(client, &["INFO", section]).await?;
    Ok(reply.ok().and_then(Value::into_string).unwrap_or_default())
}

async fn config(client: &Client, name: &str) -> Result<Option<String>, BackplaneError> {
    let reply = one(client, &["CONFIG", "GET", name]).await?;
    Ok(match reply {
        Ok(Value::Map(map)) => map.inner().into_values().next().and_then(Value::into_string),
        Ok(Value::Array(pair)) => pair.into_iter().nth(1).and_then(Value::into_string),
        _ => None,
    })
}

fn line<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

/// What `maxmemory-policy` does to streams; `limit`: `maxmemory`, 0 for none.
fn eviction(policy: &str, limit: Option<&str>) -> Option<Caution> {
    let limited = number(limit) != Some(0);
    let effect = match policy {
        "noeviction" => return None,
        all if all.starts_with("allkeys") => "whole streams are evicted when memory is short, and each is a gap",
        _ => "streams with an expiry are evicted when memory is short, and each is a gap",
    };
    let later = if limited { "" } else { " (once there is a maxmemory)" };
    Some(Caution { setting: "maxmemory-policy", effect: format!("{policy}: {effect}{later}; noeviction keeps them") })
}

/// What a small tracking table does; `most`: its keys, 0 for no limit.
fn tracking(most: u64) -> Option<Caution> {
    let effect = format!(
        "{most}: where more keys are followed by all nodes together, some are forgotten and read again, over and over"
    );
    (1..TRACKED_KEYS).contains(&most).then_some(Caution { setting: "tracking-table-max-keys", effect })
}

/// What too few connections do; `most` of them, of which `now` are taken.
fn room(most: u64, now: u64) -> Option<Caution> {
    let effect =
        format!("{most}, of which {now} are taken: a node may want {CONNECTIONS}, and goes without some of them");
    (most.saturating_sub(now) < CONNECTIONS).then_some(Caution { setting: "maxclients", effect })
}

/// What a small output buffer does. `limits`: `normal 0 0 0 slave … pubsub …`; a node's connections are normal ones.
fn buffer(limits: &str) -> Option<Caution> {
    let words: Vec<&str> = limits.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "normal")?;
    let bytes = |word: Option<&&str>| number(word.copied()).filter(|bytes| *bytes > 0);
    let least = bytes(words.get(at + 1)).into_iter().chain(bytes(words.get(at + 2))).min()?;
    let effect = format!("normal connections are ended at {least} bytes, and larger events with them");
    (least < OUTPUT_BYTES).then_some(Caution { setting: "client-output-buffer-limit", effect })
}

/// Trimming that passes over what consumer groups have not acknowledged takes entries out of the middle, from 8.2 on.
fn acked(version: Option<&str>, commands: &str) -> Option<Caution> {
    let mut parts = version?.split('.').map_while(|part| part.parse::<u32>().ok());
    let can = (parts.next()?, parts.next()?) >= (8, 2);
    let groups =
        commands.lines().any(|line| line.starts_with("cmdstat_xgroup") || line.starts_with("cmdstat_xreadgroup"));
    let effect = "consumer groups are in use: what XTRIM or XADD takes out of the middle with ACKED is told to who is connected, \
                  not to who comes back; trim without it";
    (can && groups).then(|| Caution { setting: "ACKED", effect: effect.to_owned() })
}

/// KeyDB's replicas that are written to as well: the ids of either side may be behind those of the other.
fn two_primaries(role: Option<&str>) -> Option<Caution> {
    let effect =
        "on: streams that both sides append to lose events without a gap; have everything published at one of them";
    (role? == "active-replica").then(|| Caution { setting: "active-replica", effect: effect.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_not_worth_a_word() {
        assert_eq!(eviction("noeviction", Some("100")), None);
        assert_eq!((tracking(0), tracking(1_000_000)), (None, None));
        assert_eq!(room(10_000, 3), None);
        assert_eq!(buffer("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"), None);
        assert_eq!(buffer(""), None);
        assert_eq!(two_primaries(Some("master")), None);
    }

    #[test]
    fn what_harms_is_named_with_its_effect() {
        assert!(eviction("allkeys-lru", Some("100")).unwrap().effect.starts_with("allkeys-lru: whole streams"));
        assert!(eviction("volatile-ttl", Some("0")).unwrap().effect.contains("once there is a maxmemory"));
        assert!(tracking(10).unwrap().effect.starts_with("10: "));
        assert!(room(20, 6).is_some());
        let groups = "cmdstat_ping:calls=1\r\ncmdstat_xgroup|create:calls=1,usec=3\r\n";
        assert!(acked(Some("8.2.3"), groups).is_some() && acked(Some("10.0"), groups).is_some());
        assert!(acked(Some("8.0.9"), groups).is_none() && acked(Some("8.2.3"), "cmdstat_xadd:calls=1").is_none());
        assert!(two_primaries(Some("active-replica")).is_some());
        assert!(buffer("normal 262144 131072 2 slave 0 0 0").unwrap().effect.contains("131072"));
    }
}
