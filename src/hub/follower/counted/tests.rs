use super::*;
use crate::backplane::Ask;
use crate::backplane::memory::{Memory, Settings};
use crate::clock::Clock;
use crate::hub::bell::FeedNumber;
use crate::hub::feed::Feed;
use crate::hub::fixture;
use crate::hub::follower::batch::MOST_COUNTED;
use crate::hub::follower::followed::{Followed, Turn};
use crate::position::Position;
use std::sync::Arc;
use std::time::Duration;

/// A follower of one stream, that has read its only entry, `9-0`.
fn follower(channel: &Channel) -> Follower {
    let (hub, _) = fixture::hub(Memory::new(Settings::default()));
    let mut follower = Follower::new(hub, Clock::default(), Duration::ZERO);
    let feed = Arc::new(Feed::new(FeedNumber::new(0), channel.clone()));
    feed.lock().log.begin_at(Position::new(9, 0), Some(1), false);
    feed.lock().life = Life::Live;
    let mut followed = Followed::awake(feed, 1);
    followed.absent = false;
    follower.followed.insert(channel, |_| followed);
    follower
}

#[test]
fn a_life_of_smaller_ids_is_looked_at_though_the_old_one_is_waited_for() {
    let channel = Channel::new("a").unwrap();
    for (last, looked_at) in [(9, false), (12, false), (3, true)] {
        let mut follower = follower(&channel);
        let state = StreamState { length: 1, added: Some(1), last: Position::new(last, 0), ..StreamState::default() };
        follower.counted(&channel, Some(&state));
        assert_eq!(follower.followed.get(&channel).map(|followed| followed.absent), Some(looked_at), "{last}");
    }
}

/// The only entry of a stream that was made anew is one that was had before, so it is not read into the log again.
#[test]
fn a_channel_whose_last_event_was_left_out_has_ended() {
    let channel = Channel::new("a").unwrap();
    let mut follower = follower(&channel);
    let mut state = StreamState { length: 1, added: Some(1), last: Position::new(9, 0), ..StreamState::default() };
    let finished = |follower: &Follower| follower.followed.get(&channel).map(|f| f.feed.lock().log.finished());
    state.finished = true;
    follower.recount(&channel, Some(&state));
    assert_eq!(finished(&follower), Some(true));
    state.finished = false;
    follower.recount(&channel, Some(&state));
    assert_eq!(finished(&follower), Some(false), "it goes on");
}

#[test]
fn of_the_reads_of_a_second_some_are_counted_at_once() {
    let channel = Channel::new("a").unwrap();
    let mut follower = follower(&channel);
    let (turns, ask) =
        ([Turn { channel: channel.clone(), number: 0, serial: 1 }], Ask { channel, after: Position::ZERO, count: 32 });
    let counted = (0..100).filter(|_| follower.is_counted(&turns, std::slice::from_ref(&ask))).count();
    assert_eq!(counted, MOST_COUNTED as usize);
}
