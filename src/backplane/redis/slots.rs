//! Which primary owns which slot, and which replicas it has.
//!
//! Read from `CLUSTER SLOTS`, corrected at once by what a redirected command is told.

use super::address::Host;
use super::{decode, pipeline};
use crate::backplane::BackplaneError;
use crate::hash::HashMap;
use fred::clients::Client;
use fred::types::Value;
use fred::util::redis_keyslot;
use std::ops::RangeInclusive;

/// Slots of a cluster.
pub const SLOTS: usize = 16_384;
/// Names tried to put a key into a server's slots: with one slot alone, one in a million servers gets none.
const TRIES: u32 = 250_000;

/// Which primary owns each slot, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    hosts: Vec<Host>,
    /// Per slot, which of the hosts.
    owner: Vec<Option<u16>>,
    /// Of each owner, its replicas.
    replicas: HashMap<Host, Vec<Host>>,
}

impl Default for Topology {
    fn default() -> Topology {
        Topology { hosts: Vec::new(), owner: vec![None; SLOTS], replicas: HashMap::default() }
    }
}

impl Topology {
    /// The primary that owns a slot, where it is known.
    pub fn owner(&self, slot: u16) -> Option<&Host> {
        let index = (*self.owner.get(usize::from(slot))?)?;
        self.hosts.get(usize::from(index))
    }

    /// The replicas of an owner.
    pub fn replicas(&self, owner: &Host) -> Vec<Host> {
        self.replicas.get(owner).cloned().unwrap_or_default()
    }

    /// Notes the owner of a slot; whether it is another one than before.
    pub fn set(&mut self, slot: u16, host: Host) -> bool {
        if self.owner(slot) == Some(&host) {
            return false;
        }
        let index = self.hosts.iter().position(|known| *known == host).unwrap_or_else(|| {
            self.hosts.push(host);
            self.hosts.len() - 1
        });
        if let (Some(owner), Ok(index)) = (self.owner.get_mut(usize::from(slot)), u16::try_from(index)) {
            *owner = Some(index);
        }
        true
    }

    /// How many slots each owner has.
    pub fn owners(&self) -> HashMap<&Host, usize> {
        let mut owners = HashMap::default();
        for host in self.owner.iter().flatten().filter_map(|index| self.hosts.get(usize::from(*index))) {
            *owners.entry(host).or_default() += 1;
        }
        owners
    }

    /// Whether a slot has gone from one owner to another.
    pub fn moved(&self, before: &Topology) -> bool {
        (0..SLOTS as u16).any(|slot| matches!((self.owner(slot), before.owner(slot)), (Some(a), Some(b)) if a != b))
    }

    /// Reads a reply to `CLUSTER SLOTS` of the host that was asked, which may leave its own name out.
    pub fn read(reply: &Value, asked: &Host) -> Option<Topology> {
        let mut topology = Topology::default();
        for range in ranges(reply)? {
            let host = range.host(asked);
            let all = topology.replicas.entry(host.clone()).or_default();
            let new = range.replicas.iter().filter(|replica| !all.contains(replica)).cloned().collect::<Vec<_>>();
            all.extend(new);
            for slot in range.slots {
                topology.set(slot, host.clone());
            }
        }
        (!topology.hosts.is_empty()).then_some(topology)
    }
}

struct Range {
    slots: RangeInclusive<u16>,
    name: Option<String>,
    port: u16,
    id: String,
    replicas: Vec<Host>,
}

impl Range {
    fn host(&self, asked: &Host) -> Host {
        let name = self.name.clone().unwrap_or_else(|| asked.name.clone());
        Host { name, port: self.port }
    }
}

/// `[[first, last, [host, port, id, …], replica, …], …]`
fn ranges(reply: &Value) -> Option<Vec<Range>> {
    let Value::Array(list) = reply else { return None };
    let range = |range: &Value| {
        let Value::Array(range) = range else { return None };
        let [first, last, Value::Array(primary), replicas @ ..] = range.as_slice() else { return None };
        let slot = |value: &Value| value.as_u64().and_then(|slot| u16::try_from(slot).ok());
        let (first, last) = (slot(first)?, slot(last).filter(|last| usize::from(*last) < SLOTS)?);
        let [name, port, more @ ..] = primary.as_slice() else { return None };
        let name = decode::str(name).filter(|name| !matches!(*name, "" | "?")).map(str::to_owned);
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok())?;
        let id = more.first().and_then(decode::str).unwrap_or_default().to_owned();
        // One whose name is not known cannot be read.
        let replica = |node: &Value| {
            let Value::Array(node) = node else { return None };
            let name = node.first().and_then(decode::str).filter(|name| !matches!(*name, "" | "?"))?.to_owned();
            Some(Host { name, port: node.get(1)?.as_u64().and_then(|port| u16::try_from(port).ok())? })
        };
        let replicas = replicas.iter().filter_map(replica).collect();
        Some(Range { slots: first..=last, name, port, id, replicas })
    };
    list.iter().map(range).collect()
}

/// The slots of the server itself.
pub async fn own_slots(client: &Client) -> Result<Vec<RangeInclusive<u16>>, BackplaneError> {
    let (Ok(id), Ok(slots)) =
        (pipeline::one(client, &["CLUSTER", "MYID"]).await?, pipeline::one(client, &["CLUSTER", "SLOTS"]).await?)
    else {
        return Ok(Vec::new());
    };
    let id = decode::str(&id).unwrap_or_default();
    let ranges = ranges(&slots).unwrap_or_default();
    Ok(ranges.into_iter().filter(|range| range.id == id).map(|range| range.slots).collect())
}

/// A key that begins with the stem and lies in one of the slots; `None` where the stem itself names another slot.
pub fn key_within(stem: &str, slots: &[RangeInclusive<u16>]) -> Option<String> {
    let within = |key: &str| slots.iter().any(|range| range.contains(&redis_keyslot(key.as_bytes())));
    let name = |n: u32| format!("{stem}:{{{n:x}}}");
    let slot = |n| redis_keyslot(name(n).as_bytes());
    if slot(0) == slot(1) && slot(1) == slot(2) {
        // The stem has a hash tag of its own.
        return within(stem).then(|| stem.to_owned());
    }
    (0..TRIES).map(name).find(|key| within(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    fn slots(list: &[(i64, i64, &str, i64)]) -> Value {
        let node = |name: &str, port: i64| Value::Array(vec![name.into(), port.into(), "id".into()]);
        let range = |r: &(i64, i64, &str, i64)| Value::Array(vec![r.0.into(), r.1.into(), node(r.2, r.3)]);
        Value::Array(list.iter().map(range).collect())
    }

    #[test]
    fn slots_have_owners_and_move() {
        let asked = host("seed", 1);
        let mut topology = Topology::read(&slots(&[(0, 99, "a", 7), (100, 16_383, "", 8)]), &asked).unwrap();
        assert_eq!(topology.owner(99), Some(&host("a", 7)));
        assert_eq!(topology.owner(100), Some(&host("seed", 8)), "a server may leave out its own name");
        assert_eq!(topology.owners()[&host("a", 7)], 100);
        let before = topology.clone();
        assert!(!topology.set(5, host("a", 7)) && !topology.moved(&before));
        assert!(topology.set(5, host("c", 9)) && topology.moved(&before));
        assert_eq!(topology.owner(5), Some(&host("c", 9)));
        assert!(!before.moved(&Topology::default()), "what had no owner has not moved");
    }

    #[test]
    fn an_owner_has_replicas() {
        let node = |name: &str, port: i64| Value::Array(vec![name.into(), port.into(), "id".into()]);
        let range = |first: i64, last: i64| {
            Value::Array(vec![first.into(), last.into(), node("a", 7), node("b", 8), node("?", 9), node("c", 8)])
        };
        let topology = Topology::read(&Value::Array(vec![range(0, 5), range(9, 9)]), &host("seed", 1)).unwrap();
        assert_eq!(topology.replicas(&host("a", 7)), [host("b", 8), host("c", 8)]);
        assert_eq!(topology.replicas(&host("b", 8)), []);
    }

    #[test]
    fn odd_replies_are_refused() {
        let asked = host("seed", 1);
        for odd in [Value::Null, Value::Array(vec![]), slots(&[(0, 16_384, "a", 1)]), slots(&[(0, 1, "a", 99_999)])] {
            assert_eq!(Topology::read(&odd, &asked), None, "{odd:?}");
        }
        assert_eq!(Topology::read(&Value::Array(vec![Value::Integer(1)]), &asked), None);
    }

    #[test]
    fn a_key_is_put_into_a_slot() {
        for slots in [0..=0, 16_383..=16_383, 5_000..=6_000] {
            let key = key_within("sse:~canary:1", std::slice::from_ref(&slots)).unwrap();
            assert!(key.starts_with("sse:~canary:1") && slots.contains(&redis_keyslot(key.as_bytes())));
        }
        let tagged = "sse:{a}:~canary:1";
        let slot = redis_keyslot(tagged.as_bytes());
        assert_eq!(key_within(tagged, &[slot..=slot]).as_deref(), Some(tagged));
        assert_eq!(key_within(tagged, &[0..=slot - 1]), None);
        assert_eq!(key_within("sse:~canary:1", &[]), None);
    }
}
