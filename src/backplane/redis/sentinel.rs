//! Sentinel: asks where the primary and its replicas are, and listens for the primary's replacement.
//!
//! Never through fred's own Sentinel mode: it replaces the configured list by what one sentinel says, and when those
//! are dead it never asks the others again.

use super::address::{Address, Endpoint, Host};
use super::announced::Said;
use super::connection::Connection;
use super::fault::{self, Failures};
use super::server::Server;
use super::target::Backoff;
use super::{decode, pipeline};
use crate::backplane::BackplaneError;
use crate::backplane::error::Outage;
use fred::interfaces::{EventInterface, PubsubInterface};
use fred::types::{RespVersion, Value};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How much later than the one before it a sentinel is asked: one that is dead must not delay the answer.
const STAGGER: Duration = Duration::from_millis(250);
/// Between looks at what a sentinel believes; they also show that it lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The channels on which a sentinel tells of a new primary: the one that leads the failover as soon as the server is promoted,
/// the others once they have heard of it.
const SWITCHED: [&str; 2] = ["+promoted-slave", "+switch-master"];

/// Asks the sentinels in turn where the primary is, and takes the first answer.
pub async fn primary(address: &Address, hosts: &[Host], master: &str) -> Result<Said, BackplaneError> {
    in_turn(address, hosts, master, |connection| async move { look(&connection, master).await }).await
}

/// Asks the sentinels in turn where the primary's replicas are, without those that are known to be away or apart from it.
pub async fn replicas(address: &Address, hosts: &[Host], master: &str) -> Result<Vec<Host>, BackplaneError> {
    let listed = |connection: Connection| async move {
        let words = ["SENTINEL", "REPLICAS", master];
        let reply = connection.run(pipeline::one(&connection.client, &words)).await??;
        Ok(Some(list(&reply)))
    };
    in_turn(address, hosts, master, listed).await
}

/// Asks the sentinels in turn, and takes the first answer.
async fn in_turn<T, F>(
    address: &Address,
    hosts: &[Host],
    master: &str,
    ask: impl Fn(Connection) -> F,
) -> Result<T, BackplaneError>
where
    F: Future<Output = Result<Option<T>, BackplaneError>>,
{
    let ask = &ask;
    let mut asked: FuturesUnordered<_> = hosts
        .iter()
        .zip(0..)
        .map(|(host, turn)| async move {
            sleep(STAGGER * turn).await;
            let endpoint = address.sentinel(host);
            let answer = match Connection::open(&endpoint, RespVersion::RESP2, endpoint.access.timeout).await {
                Ok(connection) => ask(connection).await,
                Err(unopened) => Err(unopened.error),
            };
            (host, answer)
        })
        .collect();
    let mut failures = Failures::default();
    while let Some((host, answer)) = asked.next().await {
        match answer {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {
                failures.add_text(Outage::UnknownPrimary, format!("{host} knows no primary named {master:?}"));
            }
            Err(error) => failures.add(host, &told_apart(error)),
        }
    }
    Err(failures.into_error("no sentinel says where the primary is: "))
}

/// The error of a sentinel. Sentinels have credentials of their own: what is wrong with those is told apart.
fn told_apart(error: BackplaneError) -> BackplaneError {
    match error.outage() {
        Outage::NoPassword => error.map_text(|why| format!("the sentinels want a password of their own: {why}")),
        Outage::WrongPassword => {
            error.map_text(|why| format!("the sentinels do not know this user or password: {why}"))
        }
        _ => error,
    }
}

/// The configuration is asked for before the address: one that is newer than its address would be believed for nothing.
async fn look(connection: &Connection, master: &str) -> Result<Option<Said>, BackplaneError> {
    let ask = async |what| {
        let words = ["SENTINEL", what, master];
        connection.run(pipeline::one(&connection.client, &words)).await
    };
    let epoch = ask("MASTER").await?.ok().and_then(decode::config_epoch);
    match ask("GET-MASTER-ADDR-BY-NAME").await?? {
        Value::Null => Ok(None),
        reply => {
            let primary = host(&reply).ok_or_else(|| BackplaneError::refused("an answer that is no address"))?;
            Ok(Some(Said { primary, epoch }))
        }
    }
}

fn host(reply: &Value) -> Option<Host> {
    let Value::Array(list) = reply else { return None };
    let [name, port] = list.as_slice() else { return None };
    Some(Host { name: decode::str(name)?.to_owned(), port: decode::str(port)?.parse().ok()? })
}

/// The replicas in a reply to `SENTINEL REPLICAS`, each a list of names and values.
fn list(reply: &Value) -> Vec<Host> {
    let Value::Array(all) = reply else { return Vec::new() };
    let replica = |one: &Value| {
        let Value::Array(words) = one else { return None };
        let of = |name: &str| {
            let pair = words.chunks_exact(2).find(|pair| decode::str(&pair[0]) == Some(name))?;
            decode::str(&pair[1])
        };
        let away = |flag: &str| matches!(flag, "s_down" | "o_down" | "disconnected");
        let apart = of("flags")?.split(',').any(away) || of("master-link-status").is_some_and(|status| status != "ok");
        let host = Host { name: of("ip")?.to_owned(), port: of("port")?.parse().ok()? };
        (!apart).then_some(host)
    };
    all.iter().filter_map(replica).collect()
}

/// Listens to one sentinel, and ends the live connection as soon as it says that the primary is another one. Runs as long as the
/// node. All sentinels are listened to: the one that leads a failover knows up to two seconds before the others.
pub async fn watch(server: Arc<Server>, host: Host, master: String) {
    let mut backoff = Backoff::default();
    loop {
        let endpoint = server.address.sentinel(&host);
        if let Ok(connection) = listen(&endpoint).await {
            backoff.reset();
            let why = follow(&server, &connection, &master).await;
            tracing::debug!(sentinel = %endpoint, why = why.text(), "redis: the sentinel is left");
        }
        sleep(backoff.next(&server.outside.random)).await;
    }
}

/// Subscribes where the sentinel speaks RESP3; in RESP2 a subscribed connection could ask nothing any more.
async fn listen(endpoint: &Endpoint) -> Result<Connection, BackplaneError> {
    let timeout = endpoint.access.timeout;
    let Ok(connection) = Connection::open(endpoint, RespVersion::RESP3, timeout).await else {
        return Ok(Connection::open(endpoint, RespVersion::RESP2, timeout).await?);
    };
    let subscribe = async { connection.client.subscribe(SWITCHED.to_vec()).await.map_err(|e| fault::judge(&e)) };
    // Who may not subscribe sees what the looks bring.
    if let Err(error) = connection.run(subscribe).await {
        tracing::debug!(sentinel = %endpoint, why = error.text(), "redis: the sentinel takes no subscription");
    }
    Ok(connection)
}

async fn follow(server: &Server, connection: &Connection, master: &str) -> BackplaneError {
    let mut messages = connection.client.message_rx();
    loop {
        match look(connection, master).await {
            Ok(Some(said)) => leave_another(server, &server.announced.hear(said)),
            Ok(None) => return BackplaneError::refused(format!("it knows no primary named {master:?}")),
            Err(error) => return error,
        }
        tokio::select! {
            biased;
            why = connection.lost() => return why,
            // Whatever it says, the next look tells.
            _ = messages.recv() => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

fn leave_another(server: &Server, primary: &Host) {
    let (Some(endpoint), Some(live)) = (server.target.get(), server.live()) else { return };
    if endpoint.host().is_some_and(|host| host != *primary) {
        live.fail(BackplaneError::down(format!("the sentinels follow another primary, {primary}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_are_away_are_left_out() {
        let one = |port: &str, flags: &str, link: &str| {
            let words = ["ip", "h", "port", port, "flags", flags, "master-link-status", link];
            Value::Array(words.iter().map(|word| Value::from(*word)).collect())
        };
        let reply = Value::Array(vec![
            one("1", "slave", "ok"),
            one("2", "s_down,slave", "ok"),
            one("3", "slave,disconnected", "ok"),
            one("4", "slave", "err"),
            one("x", "slave", "ok"),
            Value::Null,
        ]);
        assert_eq!(list(&reply), [Host { name: "h".into(), port: 1 }]);
        assert_eq!(list(&Value::Null), []);
    }

    #[test]
    fn odd_answers_are_no_address() {
        let list = |words: &[&str]| Value::Array(words.iter().map(|w| Value::from(*w)).collect());
        assert_eq!(host(&list(&["h", "1"])), Some(Host { name: "h".into(), port: 1 }));
        for odd in [Value::Null, list(&[]), list(&["h"]), list(&["h", "x"]), list(&["h", "99999"]), Value::Integer(1)] {
            assert_eq!(host(&odd), None);
        }
    }
}
