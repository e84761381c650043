//! One command on a connection of its own, for the command line; a node never uses it.

use super::address::Address;
use super::connection::Connection;
use super::fault;
use crate::backplane::{BackplaneError, Publication};
use crate::position::Position;
use fred::interfaces::StreamsInterface;
use fred::types::{Key, RespVersion, Value};
use std::time::Duration;

/// Time for the server to answer, once there is a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Appends one entry at most once, and returns its id. The stream is not trimmed.
pub async fn append(url: &str, key_prefix: &str, publication: Publication) -> Result<Position, BackplaneError> {
    let address = Address::parse(url).map_err(|e| BackplaneError::Refused(e.to_string()))?;
    // RESP2, which every server speaks; there is nothing to be pushed here.
    let connection = Connection::open(&address, RespVersion::RESP2, ANSWER_TIMEOUT).await?;
    let key = format!("{key_prefix}{}", publication.channel);
    let fields: Vec<(Key, Value)> = publication.fields.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
    let append = async {
        let id: String = connection.client.xadd(key, false, None, "*", fields).await.map_err(|e| fault::judge(&e))?;
        id.parse().map_err(|_| BackplaneError::Refused(format!("{id:?} is no entry id")))
    };
    connection.run(append).await
}
