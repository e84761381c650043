//! Commands of producers and operators, by a connection of their own.

use super::Wire;
use super::place::Place;
use crate::played::Fields;
use crate::redis_model::{Id, Reply};
use bytes::Bytes;
use fantail::position::Position;

/// What precedes a channel's name in its key.
pub const PREFIX: &str = "sse:";

/// The key of a stream.
pub fn key(name: &str) -> Vec<u8> {
    [PREFIX, name].concat().into_bytes()
}

/// The words of a command.
pub fn words(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// `XADD`
pub fn add(name: &str, id: Option<Position>, fields: Fields) -> Vec<Bytes> {
    let id = id.map_or("*".to_owned(), |id| id.to_string());
    let mut command = words(&["XADD", &super::full(name), &id]);
    command.extend(fields.into_iter().flat_map(|(name, value)| [name, value]));
    command
}

/// How exactly a stream is trimmed.
pub fn amount(roughly: bool) -> &'static str {
    if roughly { "~" } else { "=" }
}

/// The id of an entry in a reply.
pub fn id_of(entry: &Reply) -> Position {
    let id = match entry {
        Reply::List(parts) => match parts.first() {
            Some(Reply::Text(id)) => std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()),
            _ => None,
        },
        _ => None,
    };
    id.expect("entries begin with their ids")
}

pub fn position(id: Id) -> Position {
    Position::new(id.ms, id.seq)
}

impl Wire {
    /// Runs a command about the key behind its name; its reply.
    pub fn run(&self, command: Vec<Bytes>) -> Reply {
        let key = command[1].clone();
        self.run_all(&key, vec![command]).pop().expect("a reply")
    }

    /// Runs commands about a key by one connection, to the server that has it; their replies.
    pub fn run_all(&self, key: &[u8], mut commands: Vec<Vec<Bytes>>) -> Vec<Reply> {
        if self.shards.are_many() {
            commands.insert(0, words(&["ASKING"]));
        }
        run_at(self.shards.place(key), commands)
    }
}

/// Runs commands at a server by one connection; their replies.
pub fn run_at(place: &Place, commands: Vec<Vec<Bytes>>) -> Vec<Reply> {
    let now = place.host.now_ms();
    place.host.with(|server| {
        let id = server.connect();
        commands.into_iter().for_each(|command| server.execute(id, command, now));
        let replies = server.output(id).into_iter().map(|outgoing| outgoing.reply).collect();
        server.disconnect(id);
        replies
    })
}
