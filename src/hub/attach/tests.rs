use super::*;
use crate::backplane::Link;
use crate::backplane::memory::{Memory, Settings};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::cursor::Claim;
use crate::frame::Standing;
use crate::hub::fixture;
use crate::hub::follower::Follower;
use crate::hub::join::{Attached, JoinError, Want};
use crate::hub::offset::Offset;
use crate::hub::page::PageRequest;
use crate::position::Position;
use std::time::Duration;
use tokio::time::Instant;

/// A hub with its follower, which has a turn only where a test waits.
fn hub(memory: &Arc<Memory>) -> Arc<Hub> {
    let (hub, asked) = fixture::hub(memory.clone());
    tokio::spawn(Follower::new(hub.clone(), Clock::default(), Duration::ZERO).run(asked));
    hub
}

fn channel() -> Channel {
    Channel::new("a").unwrap()
}

fn at(ms: u64) -> Position {
    Position::new(ms, 0)
}

fn publish(memory: &Memory, ids: &[u64]) {
    let fields = [("data".into(), "x".into())];
    ids.iter().for_each(|ms| assert!(memory.append_at(&channel(), at(*ms), &fields).is_ok()));
}

/// The node's link is lost, and meanwhile the stream made anew with these entries; the node is back, and has not looked yet.
fn made_anew(memory: &Memory, ids: &[u64]) {
    memory.set_link(Link::Down);
    memory.delete_stream(&channel());
    publish(memory, ids);
    memory.set_link(Link::Up);
}

async fn follow(hub: &Arc<Hub>) -> Attached {
    hub.attached(&channel()).await.unwrap()
}

/// Entries of a feed from an offset on, as they are in memory now.
fn entries_from(feed: &Feed, from: Offset) -> Vec<Position> {
    let mut frames = Vec::new();
    feed.pull(from, &mut frames);
    frames.iter().filter(|(_, frame)| frame.is_entry()).map(|(_, frame)| frame.position).collect()
}

#[tokio::test]
async fn who_comes_just_behind_a_doubt_is_joined_to_what_the_stream_is_by_then() {
    let memory = Memory::new(Settings::default());
    let hub = hub(&memory);
    let live = follow(&hub).await;
    publish(&memory, &[5, 10, 30]);
    while live.feed().lock().log.position() < at(30) {
        tokio::task::yield_now().await;
    }
    made_anew(&memory, &[5, 10, 20, 40]);
    let claim = Claim { position: at(20), earlier: None };
    let start = hub.join(&mut follow(&hub).await, Want::Resume(claim), None).await.unwrap();
    let begins = start.at.expect("it is in memory");
    assert_eq!((start.gap, entries_from(live.feed(), begins)), (None, vec![at(40)]));
}

#[tokio::test]
async fn while_the_backplane_is_away_a_live_feed_is_joined_as_it_was() {
    let memory = Memory::new(Settings::default());
    let hub = hub(&memory);
    let live = follow(&hub).await;
    publish(&memory, &[5, 10]);
    while live.feed().lock().log.position() < at(10) {
        tokio::task::yield_now().await;
    }
    memory.set_link(Link::Down);
    let claim = Claim { position: at(5), earlier: None };
    let start = hub.join(&mut follow(&hub).await, Want::Resume(claim), None).await.unwrap();
    assert_eq!(entries_from(live.feed(), start.at.expect("it is in memory")), [at(10)]);
}

#[tokio::test]
async fn a_page_that_was_read_behind_a_doubt_is_given_only_if_the_log_proves_to_be_of_the_same_stream() {
    let memory = Memory::new(Settings::default());
    let hub = hub(&memory);
    publish(&memory, &[5, 10, 30]);
    let live = follow(&hub).await;
    let here = Arc::new(());
    let standing = Standing { position: Position::ZERO, due: None, entry: false };
    let feed = live.feed().clone();
    let known_to = feed.lock().log.end();
    let request = PageRequest { feed, standing, known_to, fresh: true, given: 0, here: Arc::downgrade(&here) };
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    memory.set_link(Link::Down);
    memory.set_link(Link::Up);
    let same = hub.page(&request, &mut allowance).await.expect("it is the same stream");
    assert_eq!(same.frames.len(), 3);
    made_anew(&memory, &[5, 10, 20, 40]);
    let anew = hub.page(&request, &mut allowance).await;
    assert!(matches!(anew, Err(BackplaneError::Down { .. })), "{:?}", anew.map(|page| page.frames.len()));
}

#[tokio::test]
async fn a_tail_that_begins_at_no_entry_is_not_extended_by_a_life_that_has_one_there() {
    let memory = Memory::new(Settings::default());
    let hub = hub(&memory);
    publish(&memory, &[40]);
    let live = follow(&hub).await;
    let begin = async |ms| hub.join(&mut follow(&hub).await, Want::After(at(ms)), None).await;
    let start = begin(20).await.expect("it is read");
    assert_eq!(entries_from(live.feed(), start.at.expect("it is in memory")), [at(40)]);
    // The node is told, and has not looked yet.
    memory.delete_stream(&channel());
    publish(&memory, &[10, 20, 30]);
    let mixed = begin(5).await.map(|start| entries_from(live.feed(), start.at.expect("it is in memory")));
    assert!(matches!(mixed, Err(JoinError::Backplane(BackplaneError::Down { .. }))), "{mixed:?}");
}

#[tokio::test]
async fn a_tail_that_begins_at_no_entry_is_not_extended_by_a_life_whose_ids_go_on() {
    let memory = Memory::new(Settings::default());
    let hub = hub(&memory);
    publish(&memory, &[40]);
    let live = follow(&hub).await;
    let begin = async |ms| hub.join(&mut follow(&hub).await, Want::After(at(ms)), None).await.expect("it is read");
    begin(20).await;
    // The node is told, and has not looked yet.
    memory.delete_stream(&channel());
    publish(&memory, &[10, 30, 50]);
    let begun = begin(5).await.at.map(|begins| entries_from(live.feed(), begins));
    assert!(begun.as_ref().is_none_or(|entries| *entries == [at(10), at(30), at(50)]), "{begun:?}");
}

#[tokio::test]
async fn a_page_is_given_though_what_the_tail_begins_and_ends_with_is_deleted() {
    let memory = Memory::new(Settings::default());
    let hub = hub(&memory);
    publish(&memory, &[5, 10, 20, 30]);
    let live = follow(&hub).await;
    let feed = live.feed().clone();
    assert!(memory.delete_entry(&channel(), at(30)));
    let (known_to, here) = (feed.lock().log.end(), Arc::new(()));
    let standing = Standing { position: at(20), due: None, entry: true };
    let request = PageRequest { feed, standing, known_to, fresh: false, given: 0, here: Arc::downgrade(&here) };
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("it would be asked for until something is published");
    assert_eq!((page.frames.len(), page.at), (0, Some(request.feed.lock().log.end())));
}
