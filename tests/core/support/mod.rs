//! What the tests need to set up; each test uses a part of it.
#![allow(dead_code)]

pub mod authority;
pub mod chunked;
pub mod client;
pub mod collector;
pub mod event_stream;
pub mod fleet;
pub mod http2;
pub mod jwt;
pub mod node;
pub mod program;
pub mod raw;
pub mod redis;
pub mod relay;
pub mod replication_link;
pub mod resp_proxy;
pub mod slow_way;
pub mod stream;
pub mod topology;
pub mod watchdog;
pub mod web;
