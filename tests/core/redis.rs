//! The Redis backplane against real servers.

use crate::support::redis::{Redis, Reply};

#[test]
fn the_starter_stops_restarts_and_freezes() {
    let redis = Redis::start_persistent();
    let id = redis.command(&["XADD", "a", "*", "data", "1"]);
    redis.restart();
    let kept = redis.command(&["XRANGE", "a", "-", "+"]);
    assert_eq!(kept.list()[0].list()[0], id);
    redis.freeze();
    redis.thaw();
    assert_eq!(redis.command(&["PING"]), Reply::Text("PONG".into()));
    redis.stop();
    assert!(redis.try_pipeline(&[&["PING"]]).is_err());
}
