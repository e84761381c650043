//! Which replica is read: the nearest of those that are whole, follow the primary, and soon have what it has now. Of those
//! that are about as near any one, so that nodes spread over them.

use super::role::{Replication, Role};
use crate::backplane::BackplaneError;
use crate::backplane::redis::address::{Host, Place};
use crate::backplane::redis::connection::Connection;
use crate::backplane::redis::server::Server;
use crate::backplane::redis::{pipeline, sentinel};
use crate::random::Random;
use fred::types::{RespVersion, Value};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long one replica may take to say what it is, apart from its lag.
const LOOK: Duration = Duration::from_secs(2);
/// How often the way to it is measured; the shortest counts.
const WAYS: usize = 3;
/// A way that is longer by half and by this is about as long: what a network is off from time to time.
const ABOUT: Duration = Duration::from_micros(300);
/// Between looks whether a replica has what its primary had.
const CATCHING_UP: Duration = Duration::from_millis(10);

/// A primary as its replicas must follow it.
#[derive(Clone, Debug)]
struct Leader {
    /// The name of its history.
    history: String,
    /// How far it is.
    offset: u64,
}

/// What was found of the replicas of one server.
#[derive(Debug, Default)]
pub struct Choice {
    /// The one to read.
    pub best: Option<Host>,
    /// Each that may be read, with the way there and back.
    pub fit: Vec<(Host, Duration)>,
    /// Each that may not, and why.
    pub unfit: Vec<(Host, String)>,
}

impl Choice {
    /// Why there is none to read.
    pub fn why(&self) -> String {
        let why = |(host, why): &(Host, String)| format!("{host}: {why}");
        match self.unfit.is_empty() {
            true => "there is none".into(),
            false => self.unfit.iter().map(why).collect::<Vec<_>>().join("; "),
        }
    }
}

/// Looks at all replicas of a server that are not left alone, and waits so long for each to have what the primary has now.
/// An error is the primary's, or the sentinels'.
pub async fn choose(server: &Server, lag: Duration) -> Result<Choice, BackplaneError> {
    let hosts = match &server.address.place {
        Place::Sentinel(hosts, master) => sentinel::replicas(&server.address, hosts, master).await?,
        _ => server.replicas.known(),
    };
    let leader = server.pulse.run(|primary| async move {
        let history = history(&primary).await?;
        match role(&primary).await? {
            Role::Primary { offset } => Ok(Leader { history, offset }),
            Role::Replica { .. } => Err(BackplaneError::down("the primary was demoted")),
        }
    });
    let (mut choice, leader) = (Choice::default(), &leader.await?);
    let looks = hosts.into_iter().map(|host| async move {
        let found = match server.replicas.is_left(&host) {
            true => Err("it is left alone for now".to_owned()),
            false => match timeout(LOOK + lag, look(server, &host, leader, lag)).await {
                Ok(found) => found.map_err(|error| error.text().to_owned()),
                Err(_) => Err("it did not answer in time".to_owned()),
            },
        };
        (host, found)
    });
    for (host, found) in join_all(looks).await {
        match found {
            Ok(way) => choice.fit.push((host, way)),
            Err(why) => choice.unfit.push((host, why)),
        }
    }
    choice.best = nearest(&choice.fit, &server.outside.random);
    Ok(choice)
}

/// The name of the history that a primary writes.
pub async fn history(connection: &Connection) -> Result<String, BackplaneError> {
    let info = replication(connection).await?;
    match info.replica {
        true => Err(BackplaneError::down("the primary was demoted")),
        false => info.id.ok_or_else(|| BackplaneError::down("INFO does not name the primary's history")),
    }
}

/// What a server says by `INFO replication`; `Down` where it does not say it.
pub async fn replication(connection: &Connection) -> Result<Replication, BackplaneError> {
    let reply = pipeline::one(&connection.client, &["INFO", "replication"]).await?;
    let info = reply.map_err(BackplaneError::into_down)?.into_string();
    Ok(Replication::read(info.as_deref().unwrap_or_default()))
}

/// What a server says by `ROLE`; `Down` where it does not say it.
pub async fn role(connection: &Connection) -> Result<Role, BackplaneError> {
    let reply: Value = pipeline::one(&connection.client, &["ROLE"]).await?.map_err(BackplaneError::into_down)?;
    Role::read(&reply).ok_or_else(|| BackplaneError::down("ROLE is not answered"))
}

/// The way to one replica and back, if it may be read.
async fn look(server: &Server, host: &Host, leader: &Leader, lag: Duration) -> Result<Duration, BackplaneError> {
    let endpoint = server.address.replica(host);
    let connection = Connection::open(&endpoint, RespVersion::RESP2, endpoint.access.timeout).await?;
    let found = connection.run(replication(&connection)).await?;
    if let Some(why) = found.unfit(&leader.history) {
        return Err(BackplaneError::down(why));
    }
    let (begun, mut shortest, mut ways) = (Instant::now(), Duration::MAX, 0);
    loop {
        let asked = Instant::now();
        let said = connection.run(role(&connection)).await?;
        (shortest, ways) = (shortest.min(asked.elapsed()), ways + 1);
        match said {
            Role::Replica { offset: Some(offset), .. } if offset >= leader.offset => {
                if ways >= WAYS {
                    return Ok(shortest);
                }
            }
            _ if begun.elapsed() > lag => return Err(BackplaneError::down(format!("it lags by more than {lag:?}"))),
            _ => sleep(CATCHING_UP).await,
        }
    }
}

/// One of the nearest.
fn nearest(fit: &[(Host, Duration)], random: &Random) -> Option<Host> {
    let shortest = fit.iter().map(|(_, way)| *way).min()?;
    let near: Vec<&Host> =
        fit.iter().filter(|(_, way)| *way <= shortest * 3 / 2 + ABOUT).map(|(host, _)| host).collect();
    let index = random.within(0..=near.len() as u64 - 1);
    near.get(index as usize).map(|host| (*host).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_about_as_near_ones_any_is_taken_and_never_a_far_one() {
        let host = |name: &str| Host { name: name.into(), port: 1 };
        let ways = [("a", 400), ("b", 700), ("far", 1_500)].map(|(name, us)| (host(name), Duration::from_micros(us)));
        let mut taken: Vec<String> =
            (0..200).filter_map(|_| nearest(&ways, &Random::default())).map(|host| host.name).collect();
        taken.sort();
        taken.dedup();
        assert_eq!(taken, ["a", "b"]);
        assert_eq!(nearest(&[], &Random::default()), None);
    }

    #[test]
    fn why_there_is_none_is_said_of_each() {
        let host = Host { name: "r".into(), port: 7 };
        assert_eq!(Choice::default().why(), "there is none");
        assert_eq!(
            Choice { unfit: vec![(host, "it is no replica".into())], ..Choice::default() }.why(),
            "r:7: it is no replica"
        );
    }
}
