//! Integration tests against real servers in real processes.

mod command_line;
mod conformance;
mod documentation;
mod encoding;
mod node;
mod redis;
mod support;
