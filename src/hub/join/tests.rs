use super::*;
use crate::backplane::memory::{Memory, Settings};
use crate::clock::Clock;
use crate::hub::fixture;
use crate::hub::follower::Follower;

fn at(ms: u64) -> Position {
    Position::new(ms, 0)
}

/// A node on a stream in memory, which is followed.
struct Node {
    memory: Arc<Memory>,
    hub: Arc<Hub>,
    channel: Channel,
}

impl Node {
    fn with_one_entry() -> Node {
        let (memory, channel) = (Memory::new(Settings::default()), Channel::new("a").unwrap());
        let (hub, asked) = fixture::hub(memory.clone());
        tokio::spawn(Follower::new(hub.clone(), Clock::default(), Duration::ZERO).run(asked));
        let node = Node { memory, hub, channel };
        node.publish(5);
        node
    }

    fn publish(&self, ms: u64) {
        assert!(self.memory.append_at(&self.channel, at(ms), &[("data".into(), "x".into())]).is_ok());
    }
}

/// Another node has had an entry that was deleted before this one read it, and nothing has come since.
#[tokio::test]
async fn who_has_had_what_was_deleted_before_this_node_read_it_begins_behind_it() {
    let node = Node::with_one_entry();
    let mut attached = node.hub.attached(&node.channel).await.unwrap();
    // The follower has a turn only where a test waits.
    node.publish(10);
    assert!(node.memory.delete_entry(&node.channel, at(10)));
    let claim = Claim { position: at(10), earlier: None };
    let start =
        node.hub.join(&mut attached, Want::Resume(claim), None).await.expect("nothing is there to be waited for");
    let end = attached.feed().lock().log.end();
    assert_eq!(
        (start.gap, start.at, start.standing.position, start.standing.rank()),
        (None, Some(end), at(10), Some(2))
    );
    assert_eq!(attached.feed().lock().log.position(), at(5), "what this node has read");
}

#[tokio::test]
async fn who_has_had_an_entry_that_is_deleted_and_comes_from_before_the_tail_is_owed_what_lies_behind_it() {
    let node = Node::with_one_entry();
    let mut attached = node.hub.attached(&node.channel).await.unwrap();
    [10, 15, 20].into_iter().for_each(|ms| node.publish(ms));
    while attached.feed().lock().log.position() < at(20) {
        tokio::task::yield_now().await;
    }
    // A tail that was trimmed is not extended.
    attached.feed().lock().log.trim(0, 1);
    assert!(node.memory.delete_entry(&node.channel, at(10)));
    let claim = Claim { position: at(10), earlier: None };
    let start = node.hub.join(&mut attached, Want::Resume(claim), None).await.expect("it is read");
    assert_eq!((start.gap, start.at, start.fresh), (None, None, false), "its stream may go away before its first page");
}

/// An older copy of the stream is back, which has more than the other one had, and nobody has told the node of that yet.
#[tokio::test]
async fn who_has_had_an_entry_that_the_log_lacks_waits_until_it_is_known_whose_log_that_is() {
    let node = Node::with_one_entry();
    let mut attached = node.hub.attached(&node.channel).await.unwrap();
    node.publish(20);
    while attached.feed().lock().log.position() < at(20) {
        tokio::task::yield_now().await;
    }
    node.memory.delete_stream(&node.channel);
    [1, 10, 30].into_iter().for_each(|ms| node.publish(ms));
    let claim = Claim { position: at(10), earlier: None };
    let start = node.hub.join(&mut attached, Want::Resume(claim), None).await.expect("it is read");
    let mut frames = Vec::new();
    attached.feed().pull(start.at.expect("in the log"), &mut frames);
    let events: Vec<Position> = frames.iter().map(|(_, frame)| frame.position).collect();
    assert_eq!(events, [at(30)], "what is behind it in the stream, not in the log of the other one");
}
