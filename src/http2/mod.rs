//! HTTP/2 (RFC 9113) without sockets and without time: what bytes of a client mean, and which bytes answer them.
//!
//! [`connection`] is the state of one connection; it takes bytes, tells what happened, and collects what must be sent.
//! [`frame`] is the form of frames, [`hpack`] that of heads, [`head`] what a request's head must be, [`streams`] who is
//! there and what may be sent to whom, `budget` what floods may cost.

mod budget;
pub mod connection;
pub mod error_code;
pub mod frame;
pub mod head;
pub mod hpack;
mod reading;
mod sending;
mod settings;
pub mod streams;
#[cfg(test)]
mod tests;
