//! Fantail: a horizontally scalable Server-Sent-Events cluster on Redis Streams.
//!
//! Start at [`config`] and `node`; ARCHITECTURE.md has the picture.

pub mod backplane;
pub mod channel;
pub mod config;
pub mod event;
pub mod frame;
pub mod position;
