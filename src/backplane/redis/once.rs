//! One command on a connection of its own, for the command line; a node never uses it.

use crate::backplane::{BackplaneError, Publication};
use crate::position::Position;
use bytes::Bytes;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig};
use fred::{clients::Client, error::Error};
use std::time::Duration;
use tokio::time::timeout;

/// Time for the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Appends one entry at most once, and returns its id. The stream is not trimmed.
pub async fn append(url: &str, key_prefix: &str, publication: Publication) -> Result<Position, BackplaneError> {
    let down = |e: Error| BackplaneError::Down(e.to_string());
    let config = Config { fail_fast: true, ..Config::from_url(url).map_err(down)? };
    let performance = PerformanceConfig { default_command_timeout: TIMEOUT, ..Default::default() };
    // A command that is sent again after a lost connection could publish twice.
    let connection = ConnectionConfig {
        connection_timeout: TIMEOUT,
        internal_command_timeout: TIMEOUT,
        max_command_attempts: 1,
        reconnect_errors: Vec::new(),
        ..Default::default()
    };
    let client = Client::new(config, Some(performance), Some(connection), None);
    let key = format!("{key_prefix}{}", publication.channel);
    let fields: Vec<(Bytes, Bytes)> = publication.fields;
    let exchange = async {
        let _driver = client.init().await.map_err(down)?;
        let fields: Vec<(fred::types::Key, Bytes)> = fields.into_iter().map(|(n, v)| (n.into(), v)).collect();
        let id: String =
            client.xadd(key, false, None, "*", fields).await.map_err(|e| BackplaneError::Refused(e.to_string()))?;
        let _ = client.quit().await;
        id.parse().map_err(|_| BackplaneError::Refused(format!("{id:?} is no entry id")))
    };
    timeout(2 * TIMEOUT, exchange).await.unwrap_or_else(|_| Err(BackplaneError::Down("no answer".into())))
}
