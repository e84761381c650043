//! Bounds and faults; what it shares with Redis is tested by the conformance suite.

use super::*;
use crate::backplane::{Keeping, Once};
use bytes::Bytes;
use std::time::{Duration, UNIX_EPOCH};

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn publication(name: &str, size: usize) -> Publication {
    Publication::new(channel(name), vec![(Bytes::from("data"), Bytes::from(vec![b'x'; size]))])
}

async fn append(memory: &Memory, name: &str, size: usize) -> Result<Position, BackplaneError> {
    memory.append(vec![publication(name, size)]).await.unwrap().remove(0)
}

async fn length(memory: &Memory, name: &str) -> u64 {
    memory.inspect(vec![channel(name)]).await.unwrap().remove(0).unwrap().map_or(0, |s| s.length)
}

#[tokio::test]
async fn a_stream_keeps_maxlen_entries() {
    let memory = Memory::new(Settings { maxlen: 3, ..Settings::default() });
    for _ in 0..5 {
        append(&memory, "a", 1).await.unwrap();
    }
    assert_eq!(length(&memory, "a").await, 3);
    let unlimited = Memory::new(Settings { maxlen: 0, ..Settings::default() });
    append(&unlimited, "a", 1).await.unwrap();
    assert_eq!(length(&unlimited, "a").await, 1);
}

#[tokio::test]
async fn entries_are_dated_by_the_clock_that_is_given() {
    let now = Arc::new(AtomicU64::new(5_000));
    let shown = now.clone();
    let clock = Clock::given(move || UNIX_EPOCH + Duration::from_millis(shown.load(Ordering::Relaxed)));
    let memory = Memory::by(Settings::default(), clock);
    assert_eq!(append(&memory, "a", 1).await.unwrap(), Position::new(5_000, 0));
    now.store(4_000, Ordering::Relaxed);
    assert_eq!(append(&memory, "a", 1).await.unwrap(), Position::new(5_000, 1), "ids never go back");
    now.store(6_000, Ordering::Relaxed);
    assert_eq!(append(&memory, "a", 1).await.unwrap(), Position::new(6_000, 0));
}

#[tokio::test]
async fn the_noisy_channel_pays_for_room() {
    let memory = Memory::new(Settings { maxlen: 0, max_bytes: 100_000, max_streams: 10, ..Settings::default() });
    append(&memory, "quiet", 1_000).await.unwrap();
    for _ in 0..1_000 {
        append(&memory, "noisy", 1_000).await.unwrap();
        assert!(memory.store.bytes() <= 100_000);
    }
    assert_eq!(length(&memory, "quiet").await, 1);
    assert!((20..100).contains(&length(&memory, "noisy").await));
    assert!(memory.trimmed_for_room() >= 900);
}

#[tokio::test]
async fn refuses_what_can_never_fit() {
    let memory = Memory::new(Settings { maxlen: 0, max_bytes: 10_000, max_streams: 2, ..Settings::default() });
    let Err(BackplaneError::Refused { text: why, .. }) = append(&memory, "a", 20_000).await else { panic!("took it") };
    assert!(why.contains("10000"), "{why}");
    append(&memory, "a", 1).await.unwrap();
    append(&memory, "b", 1).await.unwrap();
    let Err(BackplaneError::Refused { text: why, .. }) = append(&memory, "c", 1).await else { panic!("took it") };
    assert!(why.contains("2 channels"), "{why}");
    assert!(memory.inspect(vec![channel("c")]).await.unwrap()[0].is_err());
    memory.delete_stream(&channel("a"));
    memory.unfollowed(&channel("a"));
    append(&memory, "c", 1).await.unwrap();
}

#[tokio::test]
async fn counts_its_bytes_down_to_nothing() {
    let memory = Memory::new(Settings::default());
    for name in ["a", "b", "c"] {
        for size in 0..100 {
            append(&memory, name, size).await.unwrap();
        }
        memory.trim(&channel(name), 50);
        let first = memory.inspect(vec![channel(name)]).await.unwrap().remove(0).unwrap().unwrap().first.unwrap();
        assert!(memory.delete_entry(&channel(name), first));
        assert!(memory.delete_stream(&channel(name)));
        memory.unfollowed(&channel(name));
    }
    assert_eq!(memory.store.bytes(), 0);
}

#[tokio::test]
async fn a_lost_link_answers_nothing_and_leaves_doubt() {
    let memory = Memory::new(Settings::default());
    append(&memory, "a", 1).await.unwrap();
    assert_eq!(length(&memory, "a").await, 1);
    let link = memory.link();
    memory.set_link(Link::Down);
    assert_eq!(*link.borrow(), Link::Down);
    assert!(matches!(memory.read(Vec::new()).await, Err(BackplaneError::Down { .. })));
    assert!(matches!(memory.inspect(Vec::new()).await, Err(BackplaneError::Down { .. })));
    assert!(matches!(memory.history(Vec::new()).await, Err(BackplaneError::Down { .. })));
    assert!(matches!(memory.append(vec![publication("a", 1)]).await, Err(BackplaneError::Down { .. })));
    memory.append_at(&channel("a"), Position::MAX, &publication("a", 1).fields).unwrap();
    assert!(memory.changes().take().channels.is_empty(), "nothing is reported over a lost link");
    memory.set_link(Link::Up);
    memory.changes().wait().await;
    assert!(memory.changes().take().doubt);
    assert_eq!(memory.facts().reconnects, 1);
    assert_eq!(length(&memory, "a").await, 2);
}

#[tokio::test]
async fn followed_without_a_read_it_reports_what_is_already_there() {
    let memory = Memory::new(Settings::default());
    let last = append(&memory, "a", 1).await.unwrap();
    memory.followed(&channel("a"), last);
    assert!(memory.changes().take().channels.is_empty(), "nothing after it");
    memory.followed(&channel("a"), Position::ZERO);
    assert!(memory.changes().take().channels.contains("a"));
    // What is gone cannot be read, so a report of it would be repeated for ever.
    memory.trim(&channel("a"), 0);
    memory.changes().take();
    memory.followed(&channel("a"), Position::ZERO);
    assert!(memory.changes().take().channels.is_empty());
}

#[tokio::test]
async fn a_stream_goes_when_its_time_is_over_and_its_bytes_and_names_with_it() {
    let now = Arc::new(AtomicU64::new(5_000));
    let shown = now.clone();
    let clock = Clock::given(move || UNIX_EPOCH + Duration::from_millis(shown.load(Ordering::Relaxed)));
    let memory = Memory::by(Settings { maxlen: 0, ..Settings::default() }, clock);
    let once = Some(Once { producer: "p".into(), key: "k".into() });
    let append = |ttl: Option<u64>| {
        let keeping = Keeping { once: once.clone(), maxlen: None, ttl: ttl.map(Duration::from_millis) };
        memory.append(vec![Publication { keeping, ..publication("a", 10) }])
    };
    let first = append(Some(1_000)).await.unwrap().remove(0).unwrap();
    now.store(5_900, Ordering::Relaxed);
    assert_eq!(append(Some(500)).await.unwrap().remove(0).unwrap(), first, "it says anew when the stream goes");
    assert_eq!(append(None).await.unwrap().remove(0).unwrap(), first, "and who says nothing changes nothing");
    now.store(6_399, Ordering::Relaxed);
    assert_eq!(length(&memory, "a").await, 1);
    memory.changes().take();
    now.store(6_400, Ordering::Relaxed);
    memory.inspect(vec![channel("b")]).await.unwrap().remove(0).unwrap();
    assert!(memory.changes().take().channels.contains("a"), "who follows it hears of that");
    assert_eq!(length(&memory, "a").await, 0);
    let again = append(None).await.unwrap().remove(0).unwrap();
    assert_ne!(again, first, "its names went with it");
    memory.delete_stream(&channel("a"));
    ["a", "b"].iter().for_each(|name| memory.unfollowed(&channel(name)));
    assert_eq!(memory.store.bytes(), 0);
}

#[tokio::test]
async fn names_are_within_the_bound_of_memory() {
    let memory = Memory::new(Settings { maxlen: 1, max_bytes: 100_000, max_streams: 10, ..Settings::default() });
    for n in 0..2_000 {
        let keeping =
            Keeping { once: Some(Once { producer: "p".into(), key: n.to_string().into() }), ..Keeping::default() };
        memory.append(vec![Publication { keeping, ..publication("a", 1) }]).await.unwrap().remove(0).unwrap();
        assert!(memory.store.bytes() <= 100_000 + 1_000);
    }
}
