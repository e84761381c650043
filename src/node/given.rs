//! What the parts of a node are given: settings tell it, or a test does.

use super::metrics::Metrics;
use crate::auth::AuthError;
use crate::backplane::metrics::BackplaneMetrics;
use crate::backplane::redis::address::AddressError;
use crate::backplane::{Awaited, Backplane, memory, redis};
use crate::config::Serve;
use crate::http::admin::token::AdminTokenError;
use crate::http::tls::certificate::CertificateError;
use crate::http::tls::tickets::TicketKeysError;
use crate::outside::Outside;
use crate::telemetry::trace::Deliveries;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("--listen {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    #[error("--admin-listen {0}: {1}")]
    AdminListen(SocketAddr, std::io::Error),
    #[error("--redis: {0}")]
    Redis(#[from] AddressError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    AdminToken(#[from] AdminTokenError),
    #[error("--tls-cert, --tls-key: {0}")]
    Tls(#[from] CertificateError),
    #[error("--tls-ticket-keys: {0}")]
    TicketKeys(#[from] TicketKeysError),
    #[error("the node does not start: {0}")]
    System(#[from] std::io::Error),
}

/// What the parts of a node are given from outside.
pub struct Given {
    pub backplane: Arc<dyn Backplane>,
    /// Runs the backplane and the follower.
    pub runtime: Runtime,
    pub metrics: Metrics,
    pub deliveries: Option<Arc<Deliveries>>,
    pub outside: Outside,
}

/// The backplane of the settings: Redis, which need not be there yet, or memory.
pub fn backplane(
    settings: &Serve,
    metrics: &Arc<BackplaneMetrics>,
    runtime: &Runtime,
    awaited: Awaited,
    outside: &Outside,
) -> Result<Arc<dyn Backplane>, StartError> {
    let Some(url) = &settings.redis else {
        let bounds = memory::Settings {
            maxlen: settings.publish_maxlen,
            max_entry_bytes: settings.max_entry_bytes,
            ..memory::Settings::default()
        };
        return Ok(memory::Memory::by(bounds, outside.clock.clone()));
    };
    let (metrics, refused) = (metrics.clone(), metrics.backplane_refused.clone());
    let redis = redis::Settings {
        key_prefix: settings.key_prefix.clone(),
        follow: settings.follow,
        relay_from: settings.relay_from,
        publish_maxlen: settings.publish_maxlen,
        max_entry_bytes: settings.max_entry_bytes,
        awaited,
        observe: Arc::new(move |command, took, ok| {
            metrics.backplane_commands.with_label_values(&[command]).observe(took.as_secs_f64());
            if !ok {
                metrics.backplane_errors.inc();
            }
        }),
        refused: Arc::new(move |code| refused.with_label_values(&[code]).inc()),
        outside: outside.clone(),
        ..settings.redis_access.settings(url)
    };
    Ok(redis::Redis::start(redis, runtime.handle())?)
}
