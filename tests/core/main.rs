//! Integration tests against real servers in real processes.

mod conformance;
mod encoding;
mod redis;
mod support;
