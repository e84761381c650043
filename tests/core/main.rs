//! Integration tests against real servers in real processes.

mod attacks;
mod auth;
mod cluster;
mod command_line;
mod conformance;
mod console;
mod documentation;
mod encoding;
mod guides;
mod model;
mod node;
mod redis;
mod redis_check;
mod redis_cluster;
mod redis_credentials;
mod redis_hostile;
mod redis_refusals;
mod redis_sentinel;
mod redis_tls;
mod redis_versions;
mod refusals;
mod stale_answers;
mod support;
mod traces;
mod transport;
mod watchdog;
