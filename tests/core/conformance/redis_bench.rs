//! The Redis backplane on a redis-server of its own.

use super::bench::{Bench, Fields, KEY_PREFIX, Operator, key};
use crate::support;
use fantail::backplane::redis::{Redis, Settings};
use fantail::backplane::{Backplane, Link};
use fantail::channel::Channel;
use fantail::config::Follow;
use fantail::position::Position;
use std::sync::Arc;
use std::time::Duration;

pub struct RedisBench {
    backplane: Arc<Redis>,
    server: support::redis::Redis,
}

impl RedisBench {
    /// Connected, following in the given way.
    pub async fn new(follow: Follow) -> RedisBench {
        let server = support::redis::Redis::start();
        let settings =
            Settings { key_prefix: KEY_PREFIX.into(), follow, publish_maxlen: 0, ..Settings::new(&server.url()) };
        let backplane = Redis::start(settings, &tokio::runtime::Handle::current()).expect("a good address");
        let mut link = backplane.link();
        let up = link.wait_for(|link| *link == Link::Up);
        tokio::time::timeout(Duration::from_secs(10), up).await.expect("connects in time").expect("lives");
        let expected = if follow == Follow::Block { "block" } else { "tracking" };
        assert_eq!(backplane.facts().follow, Some(expected));
        RedisBench { backplane, server }
    }

    /// Makes a channel's key one of another type.
    pub fn spoil(&self, channel: &Channel) {
        self.server.command(&["SET", &key(channel), "no stream"]);
    }
}

impl Bench for RedisBench {
    fn backplane(&self) -> Arc<dyn Backplane> {
        self.backplane.clone()
    }
}

impl Operator for RedisBench {
    fn append_at(&self, channel: &Channel, position: Position, fields: Fields) -> bool {
        self.server.append_at(channel, position, fields)
    }

    fn trim(&self, channel: &Channel, maxlen: u64) -> u64 {
        self.server.trim(channel, maxlen)
    }

    fn delete_entry(&self, channel: &Channel, position: Position) -> bool {
        self.server.delete_entry(channel, position)
    }

    fn delete_stream(&self, channel: &Channel) -> bool {
        self.server.delete_stream(channel)
    }

    fn expire(&self, channel: &Channel) {
        self.server.expire(channel);
    }

    fn set_last_id(&self, channel: &Channel, last: Position) -> bool {
        self.server.set_last_id(channel, last)
    }
}
