//! Fantail: a horizontally scalable Server-Sent-Events cluster on Redis Streams.
//!
//! Start at [`command`] and [`node`]; ARCHITECTURE.md has the picture. Public is what the binary needs. What tests and fuzzing
//! look into is public with the feature `testing` alone: without it the compiler names what nobody uses.

pub mod command;
pub mod metrics;
pub mod node;
pub mod telemetry;

mod cors;
mod entry;
mod file_watch;
mod gzip;
mod health;
mod https;
mod hub;
mod limits;
mod pace;
mod printable;
mod roster;
mod trust;

#[cfg(not(feature = "testing"))]
mod auth;
#[cfg(not(feature = "testing"))]
mod backplane;
#[cfg(not(feature = "testing"))]
mod banner;
#[cfg(not(feature = "testing"))]
mod channel;
#[cfg(not(feature = "testing"))]
mod clock;
#[cfg(not(feature = "testing"))]
mod condition;
#[cfg(not(feature = "testing"))]
mod config;
#[cfg(not(feature = "testing"))]
mod control_event;
#[cfg(not(feature = "testing"))]
mod courier;
#[cfg(not(feature = "testing"))]
mod cursor;
#[cfg(not(feature = "testing"))]
mod event;
#[cfg(not(feature = "testing"))]
mod frame;
#[cfg(not(feature = "testing"))]
mod hash;
#[cfg(not(feature = "testing"))]
mod http;
#[cfg(not(feature = "testing"))]
mod invariant;
#[cfg(not(feature = "testing"))]
mod outside;
#[cfg(not(feature = "testing"))]
mod planted;
#[cfg(not(feature = "testing"))]
mod position;
#[cfg(not(feature = "testing"))]
mod probe;
#[cfg(not(feature = "testing"))]
mod problem;
#[cfg(not(feature = "testing"))]
mod publication;
#[cfg(not(feature = "testing"))]
mod random;
#[cfg(not(feature = "testing"))]
mod records;
#[cfg(not(feature = "testing"))]
mod subscription;
#[cfg(not(feature = "testing"))]
mod watched;

#[cfg(feature = "testing")]
pub mod auth;
#[cfg(feature = "testing")]
pub mod backplane;
#[cfg(feature = "testing")]
pub mod banner;
#[cfg(feature = "testing")]
pub mod channel;
#[cfg(feature = "testing")]
pub mod clock;
#[cfg(feature = "testing")]
pub mod condition;
#[cfg(feature = "testing")]
pub mod config;
#[cfg(feature = "testing")]
pub mod control_event;
#[cfg(feature = "testing")]
pub mod courier;
#[cfg(feature = "testing")]
pub mod cursor;
#[cfg(feature = "testing")]
pub mod event;
#[cfg(feature = "testing")]
pub mod frame;
#[cfg(feature = "testing")]
pub mod hash;
#[cfg(feature = "testing")]
pub mod http;
pub mod http2;
#[cfg(feature = "testing")]
pub mod invariant;
#[cfg(feature = "testing")]
pub mod outside;
#[cfg(feature = "testing")]
pub mod planted;
#[cfg(feature = "testing")]
pub mod position;
#[cfg(feature = "testing")]
pub mod probe;
#[cfg(feature = "testing")]
pub mod problem;
#[cfg(feature = "testing")]
pub mod publication;
#[cfg(feature = "testing")]
pub mod random;
#[cfg(feature = "testing")]
pub mod records;
#[cfg(feature = "testing")]
pub mod subscription;
#[cfg(feature = "testing")]
pub mod watched;
