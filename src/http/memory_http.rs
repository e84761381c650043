//! HTTP on a connection in memory: what receiving a connection does, without an acceptor, TLS and permits.

use super::Context;
use super::exchange::Exchange;
use super::http1::{self, Served};
use super::http2;
use super::intake::Intake;
use super::subscribe;
use super::wire::Wire;
use crate::courier::memory_socket::MemorySocket;
use crate::watched as watch;
use std::net::IpAddr;
use std::sync::Arc;

/// Serves requests of `peer` by HTTP/1 until the connection ends or one of them has become a subscriber.
pub async fn serve_http1(mut socket: MemorySocket, peer: IpAddr, context: Arc<Context>) {
    loop {
        let exchange = Arc::new(Exchange::default());
        match http1::serve(socket, peer, &context, &exchange).await {
            Served::Ended => return,
            Served::Over(again) => socket = again,
            Served::Subscribes(socket, decision) => {
                return subscribe::begin(Wire::Memory(socket), decision, context).await;
            }
        }
    }
}

/// Serves requests of `peer` by HTTP/2 until the connection ends; `closing` turns true when no more are accepted.
pub async fn serve_http2(socket: MemorySocket, peer: IpAddr, intake: Arc<Intake>, mut closing: watch::Receiver<bool>) {
    let closing = async {
        if closing.wait_for(|closing| *closing).await.is_err() {
            std::future::pending().await
        }
    };
    http2::serve(socket, peer, intake, closing).await;
}
