//! Requests on HTTP/2 connections that couriers read: each is decided on a task, and answered there, unless it subscribes.

use super::acceptor::ConnectionGuard;
use super::decision::Decision;
use super::history::Answer;
use super::http2::{Decided, decide, hurry};
use super::intake::Intake;
use super::metrics::Dropped;
use super::request_body::RequestBody;
use super::stream_writer::{StreamWriter, send};
use super::subscribe;
use super::tls::{Secure, tapped};
use super::wire::Wire;
use crate::courier::{NewCarrier, Requests, StreamWay};
use crate::records::Session;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use tokio::runtime::Handle;
use tracing::Instrument as _;

/// One connection, as far as its requests need it.
struct Connection {
    intake: Arc<Intake>,
    runtime: Handle,
    peer: IpAddr,
    _guard: ConnectionGuard,
}

/// What a courier takes over: a connection of which nothing was read, or whose session has left rustls.
pub struct Begun {
    socket: TcpStream,
    session: Option<Session>,
    /// What was read of the session.
    ahead: Vec<u8>,
}

impl Begun {
    /// A connection in the clear.
    pub fn clear(socket: TcpStream) -> Begun {
        Begun { socket, session: None, ahead: Vec::new() }
    }

    /// A connection under TLS, once no record of its client is amid.
    pub async fn sealed(stream: Secure) -> io::Result<Begun> {
        let (socket, session, ahead) = tapped::take_over(*stream).await?;
        Ok(Begun { socket, session: Some(session), ahead })
    }
}

/// Hands a connection to a courier. Needs a runtime around it, for what it will ask.
pub fn hand_over(begun: Begun, peer: IpAddr, intake: &Arc<Intake>, guard: ConnectionGuard) {
    let Begun { socket, session, ahead } = begun;
    let context = &intake.context;
    context.metrics.http2_connections.inc();
    let connection = Connection { intake: intake.clone(), runtime: Handle::current(), peer, _guard: guard };
    context.couriers.carry(NewCarrier {
        socket,
        session,
        ahead,
        most_streams: context.settings.http2_streams,
        streams: context.metrics.http2_streams.clone(),
        requests: Arc::new(connection),
    });
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.intake.context.metrics.http2_connections.dec();
    }
}

impl Requests for Connection {
    fn begin(&self, request: Request<()>, way: StreamWay) {
        let (peer, intake) = (self.peer, self.intake.clone());
        self.runtime.spawn(async move {
            // What joining takes is made once there is a place: a request that waits takes little.
            let place = match *request.method() {
                Method::GET => Some(intake.joins.acquire().await),
                _ => None,
            };
            let answering = Box::pin(answer(request, peer, way, intake.clone()));
            if let Some((wire, turned_away)) = hurry(place, answering).await {
                subscribe::begin(wire, turned_away, intake.context.clone()).await;
            }
        });
    }

    fn flooded(&self) {
        self.intake.context.dropped(Dropped::Http2Flood, self.peer);
    }
}

/// Answers one request; returns what is to be told to who has no place, whose answer may be held.
async fn answer(request: Request<()>, peer: IpAddr, way: StreamWay, intake: Arc<Intake>) -> Option<(Wire, Decision)> {
    let context = &intake.context;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bodiless = *request.method() == Method::HEAD;
    let body = way.body();
    let request = request.map(|()| RequestBody::Stream(body, length));
    match decide(request, peer, context).await {
        Decided::Answer(answer) => answer_with(answer, bodiless, way, &intake).await,
        Decided::Subscribes(decision) => {
            let trace = decision.trace();
            let wire = Wire::Carried(StreamWriter::new(way));
            if !decision.admits() {
                return Some((wire, decision));
            }
            Box::pin(subscribe::begin(wire, decision, context.clone()).instrument(trace)).await;
        }
    }
    None
}

async fn answer_with(answer: Answer, bodiless: bool, way: StreamWay, intake: &Intake) {
    let context = &intake.context;
    send(way, answer, bodiless, &context.clock, context.settings.stall_timeout).await;
}
