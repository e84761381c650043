//! Requests on connections of HTTP/2: what couriers ask of who answers them.

use super::stream_way::StreamWay;
use crate::records::Session;
use hyper::Request;
use prometheus::IntGauge;
use std::net::TcpStream;
use std::sync::Arc;

/// A connection that a courier takes over before its first byte was read, or behind its handshake.
pub struct NewCarrier {
    /// It must not block.
    pub socket: TcpStream,
    /// A session of TLS 1.3 that rustls has handed over.
    pub session: Option<Session>,
    /// What was read of the session before.
    pub ahead: Vec<u8>,
    /// Streams that its client may have at once.
    pub most_streams: u32,
    /// Counts subscribers that are streams.
    pub streams: IntGauge,
    pub requests: Arc<dyn Requests>,
}

/// Who answers the requests of one connection. It goes with the connection, and must not block.
pub trait Requests: Send + Sync {
    /// A request came; `way` is the way back, and to its body.
    fn begin(&self, request: Request<()>, way: StreamWay);

    /// The connection ends, for its client has flooded it.
    fn flooded(&self);
}
