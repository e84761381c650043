//! Copies of a server: what it has written since, who it is, and what becomes of it when its role changes.

use super::connection::{Connection, ConnectionId, Words};
use super::keyspace::Database;
use super::process;
use super::server::Server;
use bytes::Bytes;

/// The connection by which a primary writes.
const PRIMARY: ConnectionId = ConnectionId(0);

/// Commands that have changed something, and are carried out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When it was, in milliseconds since 1970.
    pub now_ms: u64,
    /// Each with its database.
    pub commands: Vec<(usize, Vec<Bytes>)>,
}

/// Whether a server takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does.
    Primary,
    /// It has what that one has.
    Replica {
        /// The primary's name.
        host: String,
        /// The primary's port.
        port: u16,
    },
}

/// How a replica is connected to its primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tie {
    /// It is told of all that is written.
    #[default]
    Up,
    /// It is not.
    Down,
    /// It is taking over all data.
    Synchronizing,
}

/// Who a server says it is.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub role: Role,
    /// How it is connected to its primary, if it has one.
    pub tie: Tie,
    /// The process.
    pub run_id: String,
    /// The data set.
    pub replication_id: String,
    /// How much has been written.
    pub offset: u64,
}

impl Default for Identity {
    fn default() -> Identity {
        let of = |digit: &str| digit.repeat(40);
        Identity { role: Role::Primary, tie: Tie::Up, run_id: of("1"), replication_id: of("a"), offset: 0 }
    }
}

impl Identity {
    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }
}

impl Server {
    /// Names the process and the data set, as `INFO` tells them.
    pub fn set_ids(&mut self, run_id: &str, replication_id: &str) {
        self.identity.run_id = run_id.to_owned();
        self.identity.replication_id = replication_id.to_owned();
    }

    /// Makes it a primary or a replica, with the data that it has.
    pub fn set_role(&mut self, role: Role) {
        self.identity.role = role;
    }

    /// How it is connected to its primary.
    pub fn tie(&self) -> Tie {
        self.identity.tie
    }

    /// Changes how it is connected to its primary.
    pub fn set_tie(&mut self, tie: Tie) {
        self.identity.tie = tie;
    }

    /// How much of its history it has.
    pub fn offset(&self) -> u64 {
        self.identity.offset
    }

    /// It has come so far in its primary's history.
    pub fn set_offset(&mut self, offset: u64) {
        self.identity.offset = offset;
    }

    /// Another process has its data, and knows of no connection.
    pub fn start_anew(&mut self, run_id: &str) {
        self.forget_readers();
        self.identity.run_id = run_id.to_owned();
    }

    /// Puts the data of another server in the place of its own, as a replica does that is synchronized anew.
    pub fn replace_data(&mut self, with: &Server) {
        self.flushed();
        self.databases.clone_from(&with.databases);
        self.identity.replication_id.clone_from(&with.identity.replication_id);
        self.identity.offset = with.identity.offset;
    }

    /// Loses all connections, data, and what it remembers of readers, as a process does that is started anew.
    pub fn restart(&mut self) {
        self.connections.clear();
        self.tracked.clear();
        self.databases.iter_mut().for_each(|database| *database = Database::default());
    }

    /// Writes down from now on what is changed, for [`Server::apply`].
    pub fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    /// Whether something has been written down.
    pub fn has_written(&self) -> bool {
        self.log.as_ref().is_some_and(|log| !log.is_empty())
    }

    /// Takes what has been written down.
    pub fn take_log(&mut self) -> Vec<Written> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Carries out what another server has written, which must have had the same data before: it comes to the same here.
    pub fn apply(&mut self, written: &Written) {
        self.now = self.now.max(written.now_ms);
        let now = std::mem::replace(&mut self.now, written.now_ms);
        let id = PRIMARY;
        self.connections.insert(id, Connection { is_known: true, ..Connection::default() });
        self.begin_record();
        for (db, words) in &written.commands {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.db = *db;
            }
            process::replay(self, id, words);
        }
        self.end_record();
        self.disconnect(id);
        self.now = now;
        self.settle();
    }

    /// What follows up to [`Server::end_record`] is carried out together.
    pub(super) fn begin_record(&mut self) {
        self.transaction_log = Some(Written { now_ms: self.now, commands: Vec::new() });
    }

    pub(super) fn end_record(&mut self) {
        if let (Some(written), Some(log)) = (self.transaction_log.take(), &mut self.log)
            && !written.commands.is_empty()
        {
            log.push(written);
        }
    }

    /// Writes down a command that has been carried out.
    pub(super) fn write_down(&mut self, db: usize, words: Words) {
        self.identity.offset += words.iter().map(|word| word.len() as u64 + 5).sum::<u64>();
        match &mut self.transaction_log {
            Some(written) => written.commands.push((db, words)),
            None => {
                let written = Written { now_ms: self.now, commands: vec![(db, words)] };
                self.log.iter_mut().for_each(|log| log.push(written.clone()));
            }
        }
    }

    /// Writes down that a key is gone by itself.
    pub(super) fn write_down_removal(&mut self, db: usize, key: &[u8]) {
        self.write_down(db, vec![Bytes::from_static(b"DEL"), Bytes::copy_from_slice(key)]);
    }
}
