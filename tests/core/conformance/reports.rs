//! Reports of changes: at least one after each read, none lost.
//!
//! Doubt is not counted as a report but where it is said: it would let a backplane pass that reports nothing else.

use super::bench::*;
use fantail::backplane::{Ask, Backplane, Publication};
use fantail::channel::Channel;
use fantail::position::Position;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

/// A hang is a failure; nothing here takes nearly as long.
async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

async fn reported(backplane: &dyn Backplane, channel: &Channel) {
    patiently(&format!("a report of {channel}"), async {
        while !backplane.changes().take().channels.contains(channel) {
            backplane.changes().wait().await;
        }
    })
    .await;
}

/// Reads to the end and says so, as the follower does.
async fn catch_up(backplane: &dyn Backplane, channel: &Channel, mut at: Position) -> Position {
    while let Some(entry) = read(backplane, channel, at, 100).await.last() {
        at = entry.position;
    }
    backplane.followed(channel, at);
    at
}

pub async fn a_change_after_a_read(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    fill(bench, &a, [1]);
    catch_up(&*backplane, &a, Position::ZERO).await;
    fill(bench, &a, [2]);
    reported(&*backplane, &a).await;
}

pub async fn a_change_after_an_inspection(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    fill(bench, &a, [1]);
    let state = inspect(&*backplane, &a).await.unwrap();
    backplane.followed(&a, state.last);
    fill(bench, &a, [2]);
    reported(&*backplane, &a).await;
}

pub async fn the_first_entry_of_a_missing_stream(bench: &dyn Bench) {
    let (backplane, a, b) = (bench.backplane(), channel("a"), channel("b"));
    catch_up(&*backplane, &a, Position::ZERO).await;
    fill(bench, &a, [1]);
    reported(&*backplane, &a).await;
    assert_eq!(inspect(&*backplane, &b).await, None);
    backplane.followed(&b, Position::ZERO);
    append(&*backplane, &b, numbered(1)).await.unwrap();
    reported(&*backplane, &b).await;
}

pub async fn every_read_asks_anew(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let mut at = catch_up(&*backplane, &a, Position::ZERO).await;
    for n in 1..=50 {
        fill(bench, &a, [n]);
        reported(&*backplane, &a).await;
        at = catch_up(&*backplane, &a, at).await;
        assert_eq!(at, id(n));
    }
}

pub async fn a_change_before_it_was_said_to_be_followed(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    fill(bench, &a, [1]);
    assert_eq!(read(&*backplane, &a, Position::ZERO, 10).await.len(), 1);
    fill(bench, &a, [2]);
    backplane.followed(&a, id(1));
    reported(&*backplane, &a).await;
}

pub async fn followed_again_after_it_was_left(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let mut at = Position::ZERO;
    for n in 1..=10 {
        catch_up(&*backplane, &a, at).await;
        backplane.unfollowed(&a);
        at = catch_up(&*backplane, &a, at).await;
        fill(bench, &a, [n]);
        reported(&*backplane, &a).await;
    }
}

pub async fn only_what_changed(bench: &dyn Bench) {
    let (backplane, a, b) = (bench.backplane(), channel("a"), channel("b"));
    catch_up(&*backplane, &a, Position::ZERO).await;
    catch_up(&*backplane, &b, Position::ZERO).await;
    backplane.changes().take();
    fill(bench, &b, [1]);
    patiently("a report of b", async {
        loop {
            let pending = backplane.changes().take();
            assert!(!pending.channels.contains(&a), "nothing happened to a");
            if pending.channels.contains(&b) {
                break;
            }
            backplane.changes().wait().await;
        }
    })
    .await;
}

const CHANNELS: usize = 16;
const ROUNDS: u64 = 400;

/// Two producers publish at full speed while a follower reads what is reported, and no more than that.
pub async fn none_is_lost_in_a_race(bench: &dyn Bench) {
    let backplane = bench.backplane();
    let channels: Vec<_> = (0..CHANNELS).map(|n| channel(&format!("race.{n}"))).collect();
    let mut at: HashMap<_, _> = channels.iter().map(|c| (c.clone(), (Position::ZERO, 0u64))).collect();
    for channel in &channels {
        catch_up(&*backplane, channel, Position::ZERO).await;
    }
    let producers: Vec<_> = (0..2)
        .map(|half| {
            let (backplane, channels) = (backplane.clone(), channels.clone());
            tokio::spawn(async move {
                for n in 0..ROUNDS {
                    let mine = channels.iter().skip(half).step_by(2);
                    let batch = mine.map(|c| Publication::new(c.clone(), numbered(n))).collect();
                    assert!(backplane.append(batch).await.unwrap().iter().all(Result::is_ok));
                }
            })
        })
        .collect();
    patiently("all entries by their reports", async {
        while at.values().any(|(_, seen)| *seen < ROUNDS) {
            backplane.changes().wait().await;
            let pending = backplane.changes().take();
            let dirty = if pending.doubt { channels.clone() } else { pending.channels.into_iter().collect() };
            follow(&*backplane, dirty, &mut at).await;
        }
    })
    .await;
    for producer in producers {
        producer.await.unwrap();
    }
}

/// Reads each of these streams to its end, a few entries at a time.
async fn follow(backplane: &dyn Backplane, mut dirty: Vec<Channel>, at: &mut HashMap<Channel, (Position, u64)>) {
    while !dirty.is_empty() {
        let ask = |c: &Channel| Ask { channel: c.clone(), after: at[c].0, count: 3 };
        let answers = backplane.read(dirty.iter().map(ask).collect()).await.unwrap();
        let mut unfinished = Vec::new();
        for (channel, entries) in dirty.into_iter().zip(answers) {
            let (position, seen) = at.get_mut(&channel).expect("only followed streams are reported");
            let entries = entries.unwrap();
            for entry in &entries {
                assert!(entry.position > *position, "{channel}: {} after {position}", entry.position);
                assert_eq!(entry.fields, numbered(*seen), "{channel} at {}", entry.position);
                (*position, *seen) = (entry.position, *seen + 1);
            }
            backplane.followed(&channel, *position);
            if entries.len() == 3 {
                unfinished.push(channel);
            }
        }
        dirty = unfinished;
    }
}
