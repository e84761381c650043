use super::*;
use crate::backplane::memory::{Memory, Settings};
use crate::clock::Clock;
use crate::hub::bell::FeedNumber;
use crate::hub::feed::Feed;
use crate::hub::fixture;
use crate::hub::follower::followed::Followed;
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
