//! What the tests need to set up; each test uses a part of it.
#![allow(dead_code)]

pub mod event_stream;
pub mod redis;
