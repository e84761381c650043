use super::*;
use crate::backplane::memory::{Memory, Settings};
use crate::backplane::{Link, Publication};
use bytes::Bytes;

fn channel() -> Channel {
    Channel::new("~control").unwrap()
}

fn memory() -> Arc<Memory> {
    Memory::new(Settings { maxlen: 0, ..Settings::default() })
}

async fn append(memory: &Memory, texts: std::ops::Range<usize>) {
    let publication = |n: usize| Publication::new(channel(), vec![(Bytes::from("name"), Bytes::from(n.to_string()))]);
    memory.append(texts.map(publication).collect()).await.unwrap();
}

/// Entries of all pages up to the end, and how often the stream was found to be another one.
async fn rest(reading: &mut Reading) -> (Vec<Entry>, usize) {
    let (mut all, mut anew) = (Vec::new(), 0);
    loop {
        match reading.next(crate::clock::Clock::default().unix_ms()).await.unwrap() {
            Page::Anew(_) => anew += 1,
            Page::Entries { entries, whole } => {
                all.extend(entries);
                if whole {
                    return (all, anew);
                }
            }
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_a_repetition() {
    let memory = memory();
    let mut reading = Reading::new(memory.clone(), channel());
    assert_eq!(rest(&mut reading).await, (vec![], 0));
    for (from, to) in [(0, PAGE - 1), (PAGE - 1, 2 * PAGE), (2 * PAGE, 2 * PAGE + 1), (2 * PAGE + 1, 5 * PAGE + 1)] {
        append(&memory, from..to).await;
        let (entries, anew) = rest(&mut reading).await;
        let names: Vec<String> = entries.iter().map(|e| String::from_utf8_lossy(&e.fields[0].1).into_owned()).collect();
        assert_eq!((names, anew), ((from..to).map(|n| n.to_string()).collect(), 0));
        assert_eq!(rest(&mut reading).await, (vec![], 0));
    }
    assert!(reading.told());
}

#[tokio::test]
async fn a_stream_that_is_another_one_is_read_again_without_what_is_known() {
    let memory = memory();
    let mut reading = Reading::new(memory.clone(), channel());
    append(&memory, 0..3).await;
    assert_eq!(rest(&mut reading).await.0.len(), 3);
    memory.trim(&channel(), 0);
    assert_eq!(rest(&mut reading).await, (vec![], 1));
    append(&memory, 3..5).await;
    assert_eq!(rest(&mut reading).await.0.len(), 2);
    memory.delete_stream(&channel());
    append(&memory, 5..6).await;
    let (entries, anew) = rest(&mut reading).await;
    assert_eq!((entries.len(), anew), (1, 1));
    let newest = entries[0].position;
    append(&memory, 6..7).await;
    assert_eq!(rest(&mut reading).await.0.len(), 1);
    // The newest is deleted, the one before it stays and is known.
    let last = memory.history(vec![span()]).await.unwrap().remove(0).unwrap().pop().unwrap().position;
    assert!(last > newest && memory.delete_entry(&channel(), last));
    assert_eq!(rest(&mut reading).await, (vec![], 1));
    assert_eq!(rest(&mut reading).await, (vec![], 0));
}

fn span() -> Span {
    let (oldest, newest) = (Position::ZERO, Position::MAX);
    Span { channel: channel(), oldest, newest, count: 1, toward: Toward::Oldest }
}

#[tokio::test]
async fn what_is_known_is_bounded_and_an_error_leaves_all_as_it_was() {
    let memory = memory();
    let mut reading = Reading::new(memory.clone(), channel());
    append(&memory, 0..MAX_SEEN + 50).await;
    assert_eq!(rest(&mut reading).await.0.len(), MAX_SEEN + 50);
    assert_eq!(reading.seen.len(), MAX_SEEN);
    memory.set_link(Link::Down);
    assert!(reading.next(crate::clock::Clock::default().unix_ms()).await.is_err());
    memory.set_link(Link::Up);
    append(&memory, 0..1).await;
    assert_eq!(rest(&mut reading).await.0.len(), 1);
}
