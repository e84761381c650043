//! One command on a connection of its own, for the command line; a node never uses it.

use super::address::Address;
use super::commands::Commands;
use super::connection::Lane;
use super::{LANE_TIMEOUT, Observe};
use crate::backplane::{BackplaneError, Publication};
use crate::position::Position;
use std::sync::Arc;

/// Appends one entry at most once, and returns its id. The stream is not trimmed.
pub async fn append(url: &str, key_prefix: &str, publication: Publication) -> Result<Position, BackplaneError> {
    let address = Address::parse(url).map_err(|e| BackplaneError::Refused(e.to_string()))?;
    let lane = Lane::new(address, LANE_TIMEOUT);
    let observe: Observe = Arc::new(|_, _, _| {});
    let (observe, publications) = (&observe, &[publication]);
    let append = async |connection: Arc<super::connection::Connection>| {
        Commands { client: &connection.client, key_prefix, observe }.append(publications, 0).await
    };
    let mut answers = lane.run(append).await?;
    answers.pop().unwrap_or_else(|| Err(BackplaneError::Down("no answer".into())))
}
