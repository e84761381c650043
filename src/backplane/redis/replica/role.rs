//! What servers say of replication: `ROLE`, and `INFO replication`. Offsets count the bytes of what was replicated, so two
//! servers of one history can be told apart by them: who is further has all that the other one has.

use crate::backplane::redis::decode;
use fred::types::Value;

/// What a server says of itself by `ROLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// How far it is.
    Primary { offset: u64 },
    /// Whether it is connected to its primary, and how far it is; `None`: it does not know.
    Replica { connected: bool, offset: Option<u64> },
}

impl Role {
    /// Reads a reply to `ROLE`: `[master, offset, …]` or `[slave, host, port, state, offset]`.
    pub fn read(reply: &Value) -> Option<Role> {
        let Value::Array(list) = reply else { return None };
        match list.first().and_then(decode::str)? {
            "master" => Some(Role::Primary { offset: list.get(1)?.as_u64()? }),
            "slave" => {
                let connected = list.get(3).and_then(decode::str) == Some("connected");
                Some(Role::Replica { connected, offset: list.get(4).and_then(Value::as_u64) })
            }
            _ => None,
        }
    }
}

/// What a server says of replication by `INFO replication`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Whether it follows another server.
    pub replica: bool,
    /// The name of its history.
    pub id: Option<String>,
    /// Whether it is connected to its primary.
    pub linked: bool,
    /// Whether it is taking over a whole data set.
    pub syncing: bool,
}

impl Replication {
    /// Reads a reply to `INFO replication`.
    pub fn read(info: &str) -> Replication {
        let mut found = Replication::default();
        for (name, value) in info.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "role" => found.replica = value == "slave",
                "master_replid" => found.id = Some(value.to_owned()),
                "master_link_status" => found.linked = value == "up",
                "master_sync_in_progress" => found.syncing = value == "1",
                _ => {}
            }
        }
        found
    }

    /// Why a server that says this is not read as a replica of that history.
    pub fn unfit(&self, history: &str) -> Option<&'static str> {
        match self {
            Replication { replica: false, .. } => Some("it is no replica"),
            Replication { syncing: true, .. } => Some("it is taking over its primary's data"),
            Replication { linked: false, .. } => Some("it is not connected to its primary"),
            Replication { id, .. } if id.as_deref() != Some(history) => Some("it is a replica of another primary"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles() {
        let list = |list: Vec<Value>| Role::read(&Value::Array(list));
        assert_eq!(list(vec!["master".into(), 7.into(), Value::Array(vec![])]), Some(Role::Primary { offset: 7 }));
        let replica =
            |state: &str, offset: i64| list(vec!["slave".into(), "h".into(), 1.into(), state.into(), offset.into()]);
        assert_eq!(replica("connected", 9), Some(Role::Replica { connected: true, offset: Some(9) }));
        assert_eq!(replica("connect", -1), Some(Role::Replica { connected: false, offset: None }));
        for odd in [vec![], vec!["sentinel".into()], vec!["master".into()]] {
            assert_eq!(list(odd), None);
        }
        assert_eq!(Role::read(&Value::Null), None);
    }

    #[test]
    fn a_replica_is_read_that_follows_this_history_and_is_whole() {
        let info =
            "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\nmaster_replid:a\r\n";
        let unfit = |info: &str| Replication::read(info).unfit("a");
        assert_eq!(unfit(info), None);
        assert_eq!(unfit("role:master\r\nmaster_replid:a\r\n"), Some("it is no replica"));
        assert_eq!(unfit(&info.replace("status:up", "status:down")), Some("it is not connected to its primary"));
        assert_eq!(unfit(&info.replace("progress:0", "progress:1")), Some("it is taking over its primary's data"));
        assert_eq!(unfit(&info.replace("replid:a", "replid:b")), Some("it is a replica of another primary"));
    }
}
