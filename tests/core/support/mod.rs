//! What the tests need to set up; each test uses a part of it.
#![allow(dead_code)]

pub mod redis;
