//! One command on a connection of its own, for the command line; a node never uses it.

use super::address::{Address, Endpoint, Host, Place};
use super::connection::Connection;
use super::fault::{self, Redirect};
use super::sentinel;
use super::settings::Settings;
use crate::backplane::{BackplaneError, Publication};
use crate::position::Position;
use fred::interfaces::StreamsInterface;
use fred::types::{Key, RespVersion, Value};
use std::time::Duration;

/// Time for the server to answer, once there is a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Redirections of a cluster that are followed.
const REDIRECTIONS: usize = 5;

/// Appends one entry at most once, and returns its id. The stream is not trimmed.
pub async fn append(settings: &Settings, publication: Publication) -> Result<Position, BackplaneError> {
    let address = settings.address().map_err(|e| BackplaneError::refused(e.to_string()))?;
    append_to(&address, &settings.key_prefix, publication).await.map_err(fault::explain)
}

async fn append_to(address: &Address, key_prefix: &str, publication: Publication) -> Result<Position, BackplaneError> {
    let Place::Cluster(seeds) = &address.place else {
        let endpoint = match (&address.place, address.fixed()) {
            (Place::Sentinel(hosts, master), _) => {
                address.endpoint(&sentinel::primary(address, hosts, master).await?.primary)
            }
            (_, Some(endpoint)) => endpoint,
            (_, None) => return Err(BackplaneError::refused("an address without a server")),
        };
        return add(&endpoint, key_prefix, &publication).await;
    };
    let mut last = BackplaneError::down("no host");
    for seed in seeds {
        // Nothing is sent to a host that cannot be connected to, so the next one may be tried.
        if let Err(unopened) = Connection::open(&address.endpoint(seed), RespVersion::RESP2, ANSWER_TIMEOUT).await {
            last = unopened.error;
            continue;
        }
        let mut host: Host = seed.clone();
        for _ in 0..REDIRECTIONS {
            match add(&address.endpoint(&host), key_prefix, &publication).await {
                Ok(position) => return Ok(position),
                Err(error) => match error.refusal().and_then(|refusal| fault::redirect(refusal, &host)) {
                    Some(Redirect::Moved(target)) => host = target,
                    _ => return Err(error),
                },
            }
        }
        return Err(BackplaneError::down("the cluster's slots are moving"));
    }
    Err(last)
}

async fn add(endpoint: &Endpoint, key_prefix: &str, publication: &Publication) -> Result<Position, BackplaneError> {
    // RESP2, which every server speaks; there is nothing to be pushed here.
    let connection = Connection::open(endpoint, RespVersion::RESP2, ANSWER_TIMEOUT).await?;
    let key = format!("{key_prefix}{}", publication.channel);
    let pair = |(name, value): &(bytes::Bytes, bytes::Bytes)| (name.clone().into(), value.clone().into());
    let fields: Vec<(Key, Value)> = publication.fields.iter().map(pair).collect();
    let append = async {
        let id: String = connection.client.xadd(key, false, None, "*", fields).await.map_err(|e| fault::judge(&e))?;
        id.parse().map_err(|_| BackplaneError::refused(format!("{id:?} is no entry id")))
    };
    connection.run(append).await
}
