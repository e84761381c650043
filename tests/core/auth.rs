//! Who may do what: tokens, the application's word, revocations, origins, and limits per client; whole nodes, real sockets.

mod carriers;
mod changed_ids;
mod changes;
mod changes_at_limits;
mod changes_by_way;
mod clients;
mod conditions;
mod control_stream;
mod forward;
mod forward_callers;
mod key_sets;
mod keys;
mod refusals;
mod renewals;
mod revocations;
mod sessions;
mod tokens;
mod tokens_to_try;

use crate::support::jwt::{Folder, flags};
use crate::support::node::Node;
use crate::support::redis::Redis;

/// A node in memory that takes tokens of the tests' secret.
fn node(folder: &Folder, more: &[&str]) -> Node {
    let flags = flags(folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Node::start(&flags)
}

/// The same on a Redis.
fn node_on(redis: &Redis, folder: &Folder, more: &[&str]) -> Node {
    let flags = flags(folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Node::on(redis, &flags)
}

/// The header that carries a token.
fn bearer(token: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {token}"))
}
