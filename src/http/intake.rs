//! The intake: what receiving connections needs, whatever they speak; `accept` says how it is done.

use super::Context;
use super::tls::Tls;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Slow requests, kept-alive publishers and kept-alive clients under TLS at once; the next one is closed.
const SLOW_REQUESTS: usize = 4096;
/// Joins of HTTP/2 streams that are worked on at once.
const JOINS: usize = 64;

/// What receiving connections needs, shared by all.
pub struct Intake {
    pub context: Arc<Context>,
    /// `None`: clients speak without TLS.
    pub(super) tls: Option<Tls>,
    pub(super) slow: Semaphore,
    /// Places for joins of HTTP/2 streams.
    pub joins: Semaphore,
}

impl Intake {
    pub fn new(context: Arc<Context>, tls: Option<Tls>) -> Arc<Intake> {
        let (slow, joins) = (Semaphore::new(SLOW_REQUESTS), Semaphore::new(JOINS));
        Arc::new(Intake { context, tls, slow, joins })
    }
}
