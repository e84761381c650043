//! Fantail: a horizontally scalable Server-Sent-Events cluster on Redis Streams.
//!
//! Start at [`config`] and [`node`]; ARCHITECTURE.md has the picture.

pub mod config;
pub mod node;

pub mod auth;
pub mod backplane;
pub mod banner;
pub mod channel;
pub mod clock;
pub mod command;
pub mod control_event;
pub mod cors;
pub mod courier;
pub mod cursor;
pub mod entry;
pub mod event;
pub mod file_watch;
pub mod frame;
pub mod gzip;
pub mod health;
pub mod http;
pub mod https;
pub mod hub;
pub mod limits;
pub mod metrics;
pub mod pace;
pub mod position;
pub mod printable;
pub mod problem;
pub mod publication;
pub mod roster;
pub mod subscription;
pub mod telemetry;
pub mod trust;
