//! Who a server says it is: primary or replica, and which data set it holds.
//!
//! A replica takes reads and lags behind, or was demoted and holds what the new primary never had: it is never used for a
//! primary. Where replicas are to be read, `replica` has what one must say of itself.

use super::decode;
use fred::types::Value;

/// What `INFO` (or `ROLE`, where that is forbidden) tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Whether it follows another server.
    pub replica: bool,
    /// The name of the data set; another one after a failover or a full resync.
    pub replication_id: Option<String>,
    /// The name of the process.
    pub run_id: Option<String>,
}

impl Identity {
    /// Takes in a reply to `INFO replication` or `INFO server`.
    pub fn take_info(&mut self, info: &str) {
        for line in info.lines() {
            let Some((name, value)) = line.trim_end().split_once(':') else { continue };
            match name {
                "role" => self.replica = value == "slave",
                "master_replid" => self.replication_id = Some(value.to_owned()),
                "run_id" => self.run_id = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    /// Takes in a reply to `ROLE`.
    pub fn take_role(&mut self, reply: &Value) {
        let Value::Array(list) = reply else { return };
        self.replica = list.first().and_then(decode::str).is_some_and(|role| role == "slave");
    }

    /// Whether the data set or the process is another one, as far as both are known.
    pub fn differs(&self, before: &Identity) -> bool {
        let differ = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
        differ(&self.replication_id, &before.replication_id) || differ(&self.run_id, &before.run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_and_role() {
        let mut identity = Identity::default();
        identity.take_info("# Replication\r\nrole:slave\r\nmaster_host:h\r\nmaster_replid:abc\r\n");
        identity.take_info("# Server\r\nrun_id:123\r\n");
        let known = Identity { replica: true, replication_id: Some("abc".into()), run_id: Some("123".into()) };
        assert_eq!(identity, known);
        let mut by_role = Identity::default();
        by_role.take_role(&Value::Array(vec!["master".into(), 1.into()]));
        assert!(!by_role.replica);
        by_role.take_role(&Value::Array(vec!["slave".into()]));
        assert!(by_role.replica);
        for odd in [Value::Null, Value::Array(vec![]), Value::Integer(1)] {
            by_role.take_role(&odd);
        }
        assert!(!known.differs(&Identity::default()) && !known.differs(&known));
        assert!(known.differs(&Identity { run_id: Some("9".into()), ..known.clone() }));
        assert!(known.differs(&Identity { replication_id: Some("9".into()), ..known.clone() }));
    }
}
