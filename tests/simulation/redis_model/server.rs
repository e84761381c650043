//! The server: who drives it gives commands and the time, and takes what is to be written.

use super::cluster::Member;
use super::connection::{Connection, ConnectionId, Outgoing};
use super::faults::{Pushes, Refusal};
use super::id::Id;
use super::keyspace::Database;
use super::process;
use super::replica::{Identity, Written};
use super::reply::{Reply, Resp};
use super::version::Version;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Databases of one server.
const DATABASES: usize = 16;
/// The number of the first connection.
const FIRST_CONNECTION: u64 = 3;

/// A Redis server without I/O. A clone is another server with the same data, and the same connections.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) version: Version,
    pub(super) now: u64,
    pub(super) databases: Vec<Database>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    /// Connections with something to write.
    talkative: BTreeSet<ConnectionId>,
    /// Who has read each key since it changed.
    pub(super) tracked: BTreeMap<Bytes, BTreeSet<ConnectionId>>,
    /// The connection whose command is being run: what it changes itself it is told of after its reply.
    pub(super) runs: Option<ConnectionId>,
    /// What it is told of that; `None`: all keys.
    pub(super) told_later: Vec<Option<Bytes>>,
    /// What others redirect to it meanwhile.
    pub(super) pushed_later: Vec<Vec<Reply>>,
    /// Its reply, if that comes behind all of this.
    pub(super) answers_last: Option<Reply>,
    /// Keys that somebody may wait for, as they have changed.
    pub(super) ready: VecDeque<(usize, Bytes)>,
    /// Connections that wait no more, and may have sent something meanwhile.
    pub(super) unblocked: VecDeque<ConnectionId>,
    pub(super) waits: u64,
    pub(super) settings: BTreeMap<String, String>,
    /// Passwords of users.
    pub(super) users: BTreeMap<Bytes, Bytes>,
    pub(super) identity: Identity,
    /// What it knows of its Cluster; `None`: it is in none.
    pub(super) cluster: Option<Member>,
    pub(super) refusals: BTreeSet<Refusal>,
    pub(super) chance: u64,
    pub(super) log: Option<Vec<Written>>,
    pub(super) transaction_log: Option<Written>,
    /// Commands that a real server may know, and this one does not.
    pub(super) unknown: BTreeSet<String>,
}

impl Server {
    /// An empty server, a primary that wants no password.
    pub fn new(version: Version) -> Server {
        let settings = [
            ("tracking-table-max-keys", "1000000"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
            ("maxmemory", "0"),
            ("maxmemory-policy", "noeviction"),
            ("maxclients", "10000"),
        ];
        Server {
            version,
            now: 0,
            databases: vec![Database::default(); DATABASES],
            connections: BTreeMap::new(),
            next_connection: FIRST_CONNECTION,
            talkative: BTreeSet::new(),
            tracked: BTreeMap::new(),
            runs: None,
            told_later: Vec::new(),
            pushed_later: Vec::new(),
            answers_last: None,
            ready: VecDeque::new(),
            unblocked: VecDeque::new(),
            waits: 0,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            users: BTreeMap::new(),
            identity: Identity::default(),
            cluster: None,
            refusals: BTreeSet::new(),
            chance: 1,
            log: None,
            transaction_log: None,
            unknown: BTreeSet::new(),
        }
    }

    /// A new connection.
    pub fn connect(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let connection = Connection { is_known: self.users.is_empty(), ..Connection::default() };
        self.connections.insert(id, connection);
        id
    }

    /// The next connection gets this number, and later ones those after it.
    pub fn number_connections_from(&mut self, next: u64) {
        self.next_connection = next;
    }

    /// The other side of a connection is gone.
    pub fn disconnect(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        self.talkative.remove(&id);
    }

    /// Runs one command of a connection; behind one that waits, it waits, too. `now_ms`: milliseconds since 1970.
    pub fn execute(&mut self, id: ConnectionId, command: Vec<Bytes>, now_ms: u64) {
        self.tick(now_ms);
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_closing) else {
            return;
        };
        if connection.waits.is_some() {
            connection.behind.push_back(command);
            return;
        }
        process::process(self, id, command);
        self.settle();
    }

    /// Takes in what time it is: keys expire, and waits end.
    pub fn tick(&mut self, now_ms: u64) {
        self.now = self.now.max(now_ms);
        self.end_waits();
        self.expire();
        self.settle();
    }

    /// When [`Server::tick`] has something to do next, in milliseconds since 1970.
    pub fn next_deadline(&self) -> Option<u64> {
        let waits = self.connections.values().filter_map(|connection| connection.waits.as_ref()?.until);
        // A key lives through its last millisecond.
        let keys = self.next_expiry().map(|at| at.saturating_add(1));
        waits.chain(keys).min()
    }

    /// Takes what is to be written to a connection, in order.
    pub fn output(&mut self, id: ConnectionId) -> Vec<Outgoing> {
        self.talkative.remove(&id);
        self.connections.get_mut(&id).map(|connection| std::mem::take(&mut connection.output)).unwrap_or_default()
    }

    /// Takes the names of connections that have got something to write, or are to be closed.
    pub fn take_talkative(&mut self) -> BTreeSet<ConnectionId> {
        std::mem::take(&mut self.talkative)
    }

    /// Whether a connection is to be closed, once its output is written.
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.is_closing)
    }

    /// Whether a connection waits for streams.
    pub fn is_waiting(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.waits.is_some())
    }

    /// Whether a connection collects commands for a transaction.
    pub fn is_in_transaction(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.transaction.is_some())
    }

    /// The database that a connection has chosen.
    pub fn database(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |connection| connection.db)
    }

    /// The greatest id that a stream has had; `None`: there is no stream.
    pub fn last_id(&self, db: usize, key: &[u8]) -> Option<Id> {
        self.stream(db, key).ok().flatten().map(|stream| stream.last)
    }

    /// Which server is played.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Connections that are there.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// Lets a user in by this password only; `default` is who gives a password alone.
    pub fn set_password(&mut self, user: &str, password: &str) {
        self.users.insert(Bytes::copy_from_slice(user.as_bytes()), Bytes::copy_from_slice(password.as_bytes()));
    }

    /// Commands that were asked for, and that this server cannot play: a test that relies on it looks here.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.unknown.iter().map(String::as_str)
    }

    /// Answers who waits for what has changed, and runs what they have sent meanwhile.
    pub(super) fn settle(&mut self) {
        self.serve_ready();
        while let Some(id) = self.unblocked.pop_front() {
            self.catch_up(id);
        }
    }

    fn serve_ready(&mut self) {
        while let Some((db, key)) = self.ready.pop_front() {
            self.serve(db, &key);
        }
    }

    fn catch_up(&mut self, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(&id)
            && connection.waits.is_none()
            && !connection.is_closing
            && let Some(command) = connection.behind.pop_front()
        {
            process::process(self, id, command);
            // After each command, not after all of them.
            self.serve_ready();
        }
    }

    /// Puts out a reply to a connection.
    pub(super) fn reply(&mut self, id: ConnectionId, reply: Reply) {
        if let (Some(resp), false) = (self.resp(id), reply == Reply::Later) {
            self.put_out(id, Outgoing { resp, reply });
        }
    }

    /// Puts out a push to a connection, or whatever becomes of its pushes.
    pub(super) fn push(&mut self, id: ConnectionId, parts: Vec<Reply>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let push = Outgoing { resp: connection.resp, reply: Reply::Push(parts) };
        match connection.pushes {
            Pushes::Sent => self.put_out(id, push),
            Pushes::Held => connection.held.push(push),
            Pushes::Lost => {}
        }
    }

    pub(super) fn put_out(&mut self, id: ConnectionId, outgoing: Outgoing) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.output.push(outgoing);
            self.talkative.insert(id);
        }
    }

    /// Has whoever serves a connection look at it.
    pub(super) fn rouse(&mut self, id: ConnectionId) {
        self.talkative.insert(id);
    }

    pub(super) fn resp(&self, id: ConnectionId) -> Option<Resp> {
        self.connections.get(&id).map(|connection| connection.resp)
    }
}
