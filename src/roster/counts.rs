//! How many subscribers each channel of this node has, written as what changed since the last time. Pure.

use crate::backplane::Note;
use crate::channel::Channel;
use bytes::Bytes;
use std::collections::HashMap;

/// Channels that are written down; further ones are missing in answers of other nodes.
const CHANNELS: usize = 50_000;
/// Fields that are written or removed at once; the rest follows with the next beats.
const CHANGES: usize = 5_000;

/// What others can read already.
pub struct Counts {
    key: Channel,
    known: HashMap<Channel, u32>,
    /// The change that is on its way.
    sent: Vec<(Channel, Option<u32>)>,
}

/// Where a node's counts are; `None` where that is no node's id.
pub fn key(id: &str) -> Option<Channel> {
    Channel::new(&format!("~subscribers:{id}")).ok()
}

impl Counts {
    pub fn new(id: &str) -> Counts {
        Counts { key: key(id).expect("an own id"), known: HashMap::new(), sent: Vec::new() }
    }

    /// The next change, towards these.
    pub fn change(&mut self, now: Vec<(Channel, u32)>) -> Note {
        let now: HashMap<Channel, u32> = now.into_iter().take(CHANNELS).collect();
        let gone =
            self.known.keys().filter(|channel| !now.contains_key(*channel)).map(|channel| (channel.clone(), None));
        let new = now.iter().filter(|(channel, count)| self.known.get(*channel) != Some(count));
        let new = new.map(|(channel, count)| (channel.clone(), Some(*count)));
        self.sent = gone.chain(new).take(CHANGES).collect();
        let name = |channel: &Channel| Bytes::copy_from_slice(channel.as_str().as_bytes());
        let mut note = Note { channel: self.key.clone(), set: vec![], remove: vec![], keep: super::KEEP };
        for (channel, count) in &self.sent {
            match count {
                Some(count) => note.set.push((name(channel), count.to_string().into())),
                None => note.remove.push(name(channel)),
            }
        }
        note
    }

    /// The change has been written. `there`: what was written before it was still there.
    pub fn written(&mut self, there: bool) {
        if !there {
            self.known.clear();
        }
        for (channel, count) in self.sent.drain(..) {
            match count {
                Some(count) => drop(self.known.insert(channel, count)),
                None => drop(self.known.remove(&channel)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    #[test]
    fn only_what_changed_is_written_and_all_of_it_where_it_was_lost() {
        let mut counts = Counts::new("x");
        let both = || vec![(channel("a"), 1), (channel("b"), 2)];
        assert_eq!(counts.change(both()).set.len(), 2);
        // An answer that never came: it is written again.
        assert_eq!(counts.change(both()).set.len(), 2);
        counts.written(false);
        let note = counts.change(vec![(channel("b"), 3)]);
        assert_eq!((note.set, note.remove), (vec![("b".into(), "3".into())], vec!["a".into()]));
        counts.written(true);
        assert_eq!(counts.change(vec![(channel("b"), 3)]).set, []);
        counts.written(false);
        assert_eq!(counts.change(vec![(channel("b"), 3)]).set.len(), 1, "the key had expired");
    }

    #[test]
    fn a_change_is_bounded() {
        let mut counts = Counts::new("x");
        let many: Vec<_> = (0..CHANGES as u32 + 10).map(|n| (channel(&format!("c{n}")), 1)).collect();
        assert_eq!(counts.change(many.clone()).set.len(), CHANGES);
        counts.written(true);
        assert_eq!(counts.change(many).set.len(), 10);
    }
}
