//! What can be done to a server that is played: refusals, evictions, connections that lose pushes or end.

use super::connection::ConnectionId;
use super::process;
use super::server::Server;
use super::table::{ALLOW_BUSY, DENY_OOM, LOADING, Spec, WRITE};

/// A state in which the server refuses commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// `maxmemory` is reached, and nothing may be evicted.
    OutOfMemory,
    /// The disk does not take the data.
    Misconfigured,
    /// Too few replicas are there.
    NoReplicas,
    /// It is a replica; so it is as long as its role says, too.
    ReadOnly,
    /// It is a replica that has lost its primary.
    MasterDown,
    /// It is still reading its data.
    Loading,
    /// It is running a script that does not end.
    Busy,
}

impl Refusal {
    /// What is said to who is refused.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Refusal::Misconfigured => {
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands \
                 that may modify the data set are disabled, because this instance is configured to report errors during \
                 writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for \
                 details about the RDB error."
            }
            Refusal::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
            Refusal::ReadOnly => "READONLY You can't write against a read only replica.",
            Refusal::MasterDown => "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            Refusal::Loading => "LOADING Redis is loading the dataset in memory",
            Refusal::Busy => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        }
    }

    /// Whether a command is refused; `flags`: its own, and for `EXEC` those of all that it runs.
    pub(super) fn is_of(self, spec: &Spec, flags: u16) -> bool {
        match self {
            Refusal::OutOfMemory => flags & DENY_OOM != 0,
            Refusal::Misconfigured => flags & WRITE != 0 || spec.name == "ping",
            Refusal::NoReplicas | Refusal::ReadOnly => flags & WRITE != 0,
            Refusal::MasterDown | Refusal::Loading => flags & LOADING == 0,
            Refusal::Busy => flags & ALLOW_BUSY == 0,
        }
    }
}

/// What becomes of pushes to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pushes {
    /// They are put out at once.
    #[default]
    Sent,
    /// They wait until they are sent again.
    Held,
    /// They are lost.
    Lost,
}

impl Server {
    /// Begins or ends a state in which commands are refused.
    pub fn set_refusal(&mut self, refusal: Refusal, is_on: bool) {
        match is_on {
            true => self.refusals.insert(refusal),
            false => self.refusals.remove(&refusal),
        };
    }

    /// Removes a key, as a server does that is short of memory; whether it was there.
    pub fn evict(&mut self, db: usize, key: &[u8]) -> bool {
        let was_there = self.remove(db, key).is_some();
        if was_there {
            self.modified(key);
            self.write_down_removal(db, key);
            self.settle();
        }
        was_there
    }

    /// Keys that the server remembers readers of, at most (`tracking-table-max-keys`); 0: all.
    pub fn set_tracking_limit(&mut self, keys: usize) {
        self.settings.insert("tracking-table-max-keys".into(), keys.to_string());
    }

    /// What chooses which key is forgotten when readers of too many are remembered.
    pub fn set_chance(&mut self, seed: u64) {
        self.chance = seed;
    }

    /// Forgets all readers, and tells nobody.
    pub fn forget_readers(&mut self) {
        self.tracked.clear();
    }

    /// What becomes of pushes to a connection from now on; those that were held are sent, or lost.
    pub fn set_pushes(&mut self, id: ConnectionId, pushes: Pushes) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.pushes = pushes;
        let held = match pushes {
            Pushes::Held => return,
            Pushes::Sent => std::mem::take(&mut connection.held),
            Pushes::Lost => return connection.held.clear(),
        };
        held.into_iter().for_each(|push| self.put_out(id, push));
    }

    /// Ends a connection; what it has to say is still written.
    pub fn kill(&mut self, id: ConnectionId) {
        process::close(self, id);
    }
}
