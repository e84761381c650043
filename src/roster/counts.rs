//! How many subscribers each channel of this node has, written as what changed since the last time. Pure.
//!
//! What others can read is kept with each feed; see [`Hub::recounted`](crate::hub::Hub::recounted).

use crate::backplane::Note;
use crate::channel::Channel;
use crate::hub::feed::Feed;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Channels that are written down; further ones are missing in answers of other nodes.
const CHANNELS: usize = 50_000;
/// Fields that are written or removed at once: what is put together for them weighs some 400 bytes each.
pub const CHANGES: usize = 1_000;
/// Such changes with one beat; the rest follows with the next ones.
pub const ROUNDS: usize = 5;

/// What was written disappears when nobody writes it again.
pub const KEEP: Duration = Duration::from_secs(30);

/// The change that is on its way.
pub struct Counts {
    key: Channel,
    /// Channels that others can read of.
    written: usize,
    sent: Vec<(Arc<Feed>, u32)>,
    /// Channels to remove, and how many of them are on their way.
    gone: Vec<Channel>,
    going: usize,
}

/// Where a node's counts are; `None` where that is no node's id.
pub fn key(id: &str) -> Option<Channel> {
    Channel::new(&format!("~subscribers:{id}")).ok()
}

impl Counts {
    pub fn new(id: &str) -> Counts {
        Counts { key: key(id).expect("an own id"), written: 0, sent: Vec::new(), gone: Vec::new(), going: 0 }
    }

    /// How many channels more may be written.
    pub fn room(&self) -> usize {
        CHANNELS.saturating_sub(self.written)
    }

    /// The next change: feeds with their counts of legs, and channels without a feed.
    pub fn change(&mut self, changed: Vec<(Arc<Feed>, u32)>, gone: Vec<Channel>) -> Note {
        self.gone.extend(gone);
        self.going = self.gone.len().min(CHANGES);
        self.sent = changed;
        let name = |channel: &Channel| Bytes::copy_from_slice(channel.as_str().as_bytes());
        let remove = self.gone[..self.going].iter().map(name).collect();
        let mut note = Note { channel: self.key.clone(), set: vec![], remove, keep: KEEP };
        for (feed, legs) in &self.sent {
            match legs {
                0 => note.remove.push(name(&feed.channel)),
                legs => note.set.push((name(&feed.channel), legs.to_string().into())),
            }
        }
        note
    }

    /// The change has been written.
    pub fn written(&mut self) {
        for (feed, legs) in self.sent.drain(..) {
            let told = std::mem::replace(&mut feed.lock().told, legs);
            self.written = self.written + usize::from(legs > 0) - usize::from(told > 0);
        }
        self.gone.drain(..self.going);
        self.written = self.written.saturating_sub(std::mem::take(&mut self.going));
    }

    /// Whether channels are still to be removed.
    pub fn owes_removals(&self) -> bool {
        !self.gone.is_empty()
    }

    /// What was written before the change on its way is not there any more.
    pub fn lost(&mut self) {
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::bell::FeedNumber;

    fn feed(number: u32) -> Arc<Feed> {
        Arc::new(Feed::new(FeedNumber::new(number), Channel::new(&format!("c{number}")).unwrap()))
    }

    #[test]
    fn what_was_written_is_known_and_what_was_not_is_written_again() {
        let (mut counts, a, b) = (Counts::new("x"), feed(1), feed(2));
        let both = || vec![(a.clone(), 1), (b.clone(), 2)];
        assert_eq!(counts.change(both(), vec![]).set.len(), 2);
        // An answer that never came.
        assert_eq!([a.lock().told, b.lock().told], [0, 0]);
        assert_eq!(counts.change(both(), vec![]).set, [("c1".into(), "1".into()), ("c2".into(), "2".into())]);
        counts.written();
        assert_eq!(([a.lock().told, b.lock().told], counts.room()), ([1, 2], CHANNELS - 2));
        let gone = || vec![b.channel.clone()];
        let note = counts.change(vec![(a.clone(), 0)], gone());
        assert_eq!((note.set, note.remove), (vec![], vec!["c2".into(), "c1".into()]));
        let note = counts.change(vec![(a.clone(), 0)], vec![]);
        assert_eq!(note.remove.len(), 2, "it was not written");
        counts.written();
        assert_eq!((a.lock().told, counts.room(), counts.change(vec![], vec![]).remove), (0, CHANNELS, vec![]));
    }

    #[test]
    fn what_is_too_much_for_one_change_is_owed() {
        let mut counts = Counts::new("x");
        let gone = (0..=CHANGES).map(|number| Channel::new(&format!("c{number}")).unwrap()).collect();
        for (gone, removed, owes) in [(gone, CHANGES, true), (vec![], 1, false)] {
            assert_eq!(counts.change(vec![], gone).remove.len(), removed);
            counts.written();
            assert_eq!(counts.owes_removals(), owes);
        }
    }
}
