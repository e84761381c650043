//! Subscriptions whose sets of channels orders have changed.

use super::{Resume, Subscription};
use crate::channel::Channel;
use crate::cursor::{Changes, Cursor, Form, Since, name_hash};

/// How far ahead of the backplane's clock an id is still believed to be a time, in milliseconds.
const CLOCKS_DIFFER: u64 = 1_000;

impl Subscription {
    /// How the set has changed so far: of what the client's ids say, the latest.
    pub fn carried(&self) -> Option<&Changes> {
        self.cursors().iter().filter_map(Cursor::changes).max_by_key(|changes| changes.seen)
    }

    /// The latest time that its ids say, in Unix milliseconds: then it was still connected.
    pub fn connected_at(&self, now_ms: u64) -> Option<u64> {
        let positions = self.cursors().iter().flat_map(Cursor::positions);
        let times = positions.filter(|position| position.is_time() && position.ms <= now_ms + CLOCKS_DIFFER);
        times.map(|position| position.ms).max()
    }

    fn cursors(&self) -> &[Cursor] {
        match &self.resume {
            Resume::Cursors(cursors) => cursors,
            Resume::None | Resume::Foreign => &[],
        }
    }

    /// Channels that its request names, whether they were left or not.
    fn named(&self) -> impl Iterator<Item = &Channel> {
        let (joined, left) = self.changes.as_deref().map_or((&[][..], &[][..]), |c| (c.joined(), c.left()));
        self.channels.iter().filter(|channel| !joined.contains(channel)).chain(left)
    }

    /// Whether one position, without a name, is of this channel.
    pub(super) fn is_only(&self, channel: &Channel) -> bool {
        let mut named = self.named();
        named.next() == Some(channel) && named.next().is_none()
    }

    /// How its ids name channels; `None` where one position says all.
    pub fn ids(&self) -> Option<Form> {
        let several = self.changes.is_some() || self.channels.len() > 1;
        several.then(|| Form::of(self.named().map(name_hash)))
    }

    /// Takes a channel in that is not in the set; `since`: it has no place yet.
    pub fn join(&mut self, channel: &Channel, since: Option<Since>) {
        self.channels.push(channel.clone());
        self.changes.get_or_insert_default().join(channel, since);
    }

    /// Takes a channel of the set away; whether it was there.
    pub fn leave(&mut self, channel: &Channel) -> bool {
        let Some(at) = self.channels.iter().position(|there| there == channel) else { return false };
        self.channels.remove(at);
        self.changes.get_or_insert_default().leave(channel);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Texts};
    use super::*;
    use crate::position::Position;

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    fn asked(query: &str, last_event_id: &str) -> Subscription {
        let limits = Limits { max_channels: 9, max_tail: 1, heartbeat: Default::default() };
        let texts = Texts { query, last_event_id: Some(last_event_id.as_bytes()), ..Texts::default() };
        Subscription::parse(&texts, &limits, 0).unwrap()
    }

    #[test]
    fn of_two_ids_the_later_one_says_how_the_set_has_changed() {
        let both = asked("channels=a&lastEventId=a%3D1-0,%2Bb%3D1-0,~control%3D5-0", "a=1-0,+c=1-0,~control=4-0");
        assert_eq!(both.carried().unwrap().joined(), [channel("b")]);
        assert_eq!(asked("channels=a", "7-0").carried(), None);
    }

    #[test]
    fn one_position_is_of_the_channel_that_the_request_names() {
        let mut subscription = asked("channels=a", "7-0");
        assert_eq!(subscription.ids(), None);
        subscription.join(&channel("b"), Some(Since::Time(5)));
        let at = |subscription: &Subscription, name| subscription.resume_at(&channel(name)).map(|claim| claim.position);
        assert_eq!((at(&subscription, "a"), at(&subscription, "b")), (Some(Position::new(7, 0)), None));
        assert!(subscription.leave(&channel("a")) && !subscription.leave(&channel("a")));
        assert_eq!((at(&subscription, "b"), subscription.ids()), (None, Some(Form::Vector)));
        assert_eq!(subscription.channels, [channel("b")]);
    }

    #[test]
    fn the_form_of_ids_is_that_of_the_channels_that_are_named() {
        let mut subscription = asked("channels=a,b,c,d,e", "");
        subscription.leave(&channel("a"));
        assert_eq!(subscription.ids(), Some(Form::Compact), "it may come back");
        let mut four = asked("channels=a,b,c,d", "");
        four.join(&channel("e"), None);
        assert_eq!(four.ids(), Some(Form::Vector));
    }

    #[test]
    fn it_was_connected_at_the_latest_time_that_its_ids_say() {
        let now = 1_800_000_000_000;
        let at = |id: &str| asked("channels=a,b", id).connected_at(now).map(|ms| now - ms);
        assert_eq!(at(&format!("a={}-0,b={}-0", now - 5_000, now - 9_000)), Some(5_000));
        assert_eq!(at(&format!("a={}-0,b={}-0", now + 5_000, now - 9_000)), Some(9_000));
        assert_eq!((at("a=5-0,b=0-0"), at("")), (None, None));
    }
}
