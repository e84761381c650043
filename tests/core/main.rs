//! Integration tests against real servers in real processes.

mod redis;
mod support;
