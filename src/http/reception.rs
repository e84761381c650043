//! What receiving connections needs, whatever they speak.

use super::Context;
use super::tls::Tls;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Slow requests, kept-alive publishers and kept-alive clients under TLS at once; the next one is closed.
const SIDE_DOORS: usize = 4096;
/// Joins of HTTP/2 streams that are worked on at once.
const JOINS: usize = 64;

/// What receiving connections needs, shared by all.
pub struct Reception {
    pub context: Arc<Context>,
    /// `None`: clients speak without TLS.
    pub(super) tls: Option<Tls>,
    pub(super) side: Semaphore,
    /// Places for joins of HTTP/2 streams.
    pub joins: Semaphore,
}

impl Reception {
    pub fn new(context: Arc<Context>, tls: Option<Tls>) -> Arc<Reception> {
        let (side, joins) = (Semaphore::new(SIDE_DOORS), Semaphore::new(JOINS));
        Arc::new(Reception { context, tls, side, joins })
    }
}
