//! Appending, reading, inspecting, history.

use super::bench::*;
use bytes::Bytes;
use fantail::backplane::{Ask, BackplaneError, Publication, StreamState, Toward};
use fantail::channel::Channel;
use fantail::position::Position;

pub async fn entries_come_back_as_they_were_appended(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let fields = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "2"), ("data", "ü\r\n")];
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(append(&*backplane, &a, owned(&fields)).await.unwrap());
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert!(ids[0].ms > 1_700_000_000_000, "by the clock: {}", ids[0]);
    let entries = read(&*backplane, &a, Position::ZERO, 100).await;
    assert_eq!(positions(&entries), ids);
    assert!(entries.iter().all(|e| e.fields == owned(&fields)), "{:?}", entries[0]);
    let past = span(&a, Position::ZERO, Position::MAX, 100, Toward::Newest);
    assert_eq!(history(&*backplane, past).await, entries);
}

pub async fn names_and_values_are_any_bytes(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let all: Bytes = (0..=255u8).collect::<Vec<_>>().into();
    let empty = Bytes::new();
    let fields = vec![
        (Bytes::from_static(b"data"), empty.clone()),
        (empty.clone(), empty.clone()),
        (all.clone(), all.clone()),
        (empty, all),
    ];
    let position = append(&*backplane, &a, fields.clone()).await.unwrap();
    let entries = read(&*backplane, &a, Position::ZERO, 10).await;
    assert_eq!((entries[0].position, &entries[0].fields), (position, &fields));
    let past = history(&*backplane, span(&a, position, position, 1, Toward::Oldest)).await;
    assert_eq!(past[0].fields, fields);
}

pub async fn a_value_of_one_mebibyte(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let big: Bytes = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let fields = vec![(Bytes::from_static(b"data"), big)];
    for _ in 0..3 {
        append(&*backplane, &a, fields.clone()).await.unwrap();
    }
    // An answer may be cut to keep it small, even to nothing, but then the stream is reported and goes on.
    let (mut seen, mut at) = (0, Position::ZERO);
    while seen < 3 {
        let entries = read(&*backplane, &a, at, 10).await;
        if entries.is_empty() {
            assert!(backplane.changes().take().channels.contains(&a), "{seen} of 3");
        }
        assert!(entries.iter().all(|e| e.fields == fields));
        seen += entries.len();
        at = entries.last().map_or(at, |entry| entry.position);
    }
    assert_eq!(seen, 3);
}

pub async fn reads_begin_after_a_position(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    for position in [id(1), Position::new(5, 3), Position::new(5, 4), id(9)] {
        assert!(bench.append_at(&a, position, &[("data", "x")]));
    }
    let cases = [
        (Position::ZERO, 10, vec![id(1), Position::new(5, 3), Position::new(5, 4), id(9)]),
        (Position::ZERO, 2, vec![id(1), Position::new(5, 3)]),
        (Position::ZERO, 0, vec![]),
        (id(1).before(), 1, vec![id(1)]),
        (id(1), 1, vec![Position::new(5, 3)]),
        (id(5), 10, vec![Position::new(5, 3), Position::new(5, 4), id(9)]),
        (Position::new(5, 3), 10, vec![Position::new(5, 4), id(9)]),
        (Position::new(5, u64::MAX), 10, vec![id(9)]),
        (id(9), 10, vec![]),
        (id(10), 10, vec![]),
        (Position::MAX, 10, vec![]),
    ];
    for (after, count, expected) in cases {
        assert_eq!(positions(&read(&*backplane, &a, after, count).await), expected, "{count} after {after}");
    }
}

pub async fn history_includes_both_bounds(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    fill(bench, &a, [2, 4, 6, 8]);
    let cases: [(Position, Position, &[u64]); 9] = [
        (Position::ZERO, Position::MAX, &[2, 4, 6, 8]),
        (id(2), id(8), &[2, 4, 6, 8]),
        (id(4), id(6), &[4, 6]),
        (id(4), id(4), &[4]),
        (id(3), id(7), &[4, 6]),
        (id(5), id(5), &[]),
        (id(9), Position::MAX, &[]),
        (Position::ZERO, id(1), &[]),
        (id(6), id(4), &[]),
    ];
    for (oldest, newest, expected) in cases {
        let expected: Vec<_> = expected.iter().copied().map(id).collect();
        for toward in [Toward::Newest, Toward::Oldest] {
            let entries = history(&*backplane, span(&a, oldest, newest, 10, toward)).await;
            assert_eq!(positions(&entries), expected, "{oldest} to {newest}, {toward:?}");
        }
    }
}

pub async fn history_from_either_end(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    fill(bench, &a, 1..=6);
    let cases: [(Toward, usize, &[u64]); 6] = [
        (Toward::Newest, 2, &[2, 3]),
        (Toward::Oldest, 2, &[4, 5]),
        (Toward::Oldest, 1, &[5]),
        (Toward::Oldest, 99, &[2, 3, 4, 5]),
        (Toward::Newest, 0, &[]),
        (Toward::Oldest, 0, &[]),
    ];
    for (toward, count, expected) in cases {
        let entries = history(&*backplane, span(&a, id(2), id(5), count, toward)).await;
        let expected: Vec<_> = expected.iter().copied().map(id).collect();
        assert_eq!(positions(&entries), expected, "{count} {toward:?}");
    }
}

pub async fn a_missing_stream(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("never"));
    assert_eq!(read(&*backplane, &a, Position::ZERO, 10).await, []);
    assert_eq!(inspect(&*backplane, &a).await, None);
    for toward in [Toward::Newest, Toward::Oldest] {
        assert_eq!(history(&*backplane, span(&a, Position::ZERO, Position::MAX, 10, toward)).await, []);
    }
}

pub async fn a_stream_trimmed_to_nothing(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    fill(bench, &a, 1..=3);
    assert_eq!(bench.trim(&a, 0), 3);
    let expected = StreamState {
        length: 0,
        last: id(3),
        first: None,
        added: Some(3),
        max_deleted: Some(Position::ZERO),
        finished: false,
    };
    assert_eq!(inspect(&*backplane, &a).await, Some(expected));
    assert_eq!(read(&*backplane, &a, Position::ZERO, 10).await, []);
    let next = append(&*backplane, &a, numbered(4)).await.unwrap();
    assert!(next > id(3));
}

pub async fn counters_follow_redis(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let state = |length, last, first, added, deleted| StreamState {
        length,
        last: id(last),
        first: Some(id(first)),
        added: Some(added),
        max_deleted: Some(id(deleted)),
        finished: false,
    };
    fill(bench, &a, 1..=5);
    assert_eq!(inspect(&*backplane, &a).await, Some(state(5, 5, 1, 5, 0)));
    assert!(!bench.append_at(&a, id(5), &[("data", "x")]), "an id must grow");
    bench.trim(&a, 4);
    assert_eq!(inspect(&*backplane, &a).await, Some(state(4, 5, 2, 5, 0)), "trimming is not deleting");
    assert!(bench.delete_entry(&a, id(4)));
    assert!(!bench.delete_entry(&a, id(4)));
    assert!(bench.delete_entry(&a, id(2)));
    assert_eq!(inspect(&*backplane, &a).await, Some(state(2, 5, 3, 5, 4)));
    assert!(bench.delete_entry(&a, id(5)));
    assert_eq!(inspect(&*backplane, &a).await, Some(state(1, 5, 3, 5, 5)), "the last id outlives its entry");
    assert!(!bench.set_last_id(&a, id(2)), "not below an entry");
    assert!(bench.set_last_id(&a, id(9)));
    assert_eq!(inspect(&*backplane, &a).await, Some(state(1, 9, 3, 5, 5)));
    assert!(bench.delete_stream(&a));
    assert_eq!(inspect(&*backplane, &a).await, None);
    fill(bench, &a, [2]);
    assert_eq!(inspect(&*backplane, &a).await, Some(state(1, 2, 2, 1, 0)), "a new life counts anew");
}

pub async fn a_finished_stream(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let finished = async || inspect(&*backplane, &a).await.unwrap().finished;
    let add = |n, fields: Fields| assert!(bench.append_at(&a, id(n), fields));
    add(1, &[("data", "x"), ("final", "0")]);
    assert!(!finished().await);
    add(2, &[("data", "x"), ("final", "1")]);
    assert!(finished().await);
    add(3, &[("final1", "1"), ("data", "final")]);
    assert!(!finished().await, "it went on");
    assert!(bench.delete_entry(&a, id(3)));
    assert!(!finished().await, "the newest entry is not the last id");
    add(4, &[("final", "1")]);
    assert!(finished().await);
    bench.trim(&a, 1);
    assert!(finished().await);
    bench.trim(&a, 0);
    assert!(!finished().await, "nobody can read it any more");
}

pub async fn answers_are_in_the_order_of_the_asks(bench: &dyn Bench) {
    let backplane = bench.backplane();
    let (a, b, c) = (channel("a"), channel("b"), channel("c"));
    fill(bench, &a, [1, 2]);
    fill(bench, &c, [3]);
    let ask = |channel: &Channel, after| Ask { channel: channel.clone(), after: id(after), count: 10 };
    let answers = backplane.read(vec![ask(&c, 0), ask(&b, 0), ask(&a, 1)]).await.unwrap();
    let found: Vec<_> = answers.into_iter().map(|a| positions(&a.unwrap())).collect();
    assert_eq!(found, [vec![id(3)], vec![], vec![id(2)]]);

    let states = backplane.inspect(vec![b.clone(), c.clone(), a.clone(), b.clone()]).await.unwrap();
    let lasts: Vec<_> = states.into_iter().map(|s| s.unwrap().map(|s| s.last)).collect();
    assert_eq!(lasts, [None, Some(id(3)), Some(id(2)), None]);

    let piece = |channel: &Channel, oldest, toward| span(channel, id(oldest), Position::MAX, 1, toward);
    let spans = vec![piece(&a, 0, Toward::Oldest), piece(&b, 0, Toward::Newest), piece(&a, 0, Toward::Newest)];
    let pieces = backplane.history(spans).await.unwrap();
    let found: Vec<_> = pieces.into_iter().map(|p| positions(&p.unwrap())).collect();
    assert_eq!(found, [vec![id(2)], vec![], vec![id(1)]]);

    let publish = |channel: &Channel| Publication::new(channel.clone(), numbered(0));
    let added = backplane.append(vec![publish(&a), publish(&b), publish(&a)]).await.unwrap();
    let added: Vec<_> = added.into_iter().map(Result::unwrap).collect();
    assert_eq!(positions(&read(&*backplane, &a, id(2), 10).await), [added[0], added[2]]);
    assert_eq!(positions(&read(&*backplane, &b, id(0), 10).await), [added[1]]);
}

pub async fn batches_of_any_size(bench: &dyn Bench) {
    let backplane = bench.backplane();
    assert!(backplane.read(vec![]).await.unwrap().is_empty());
    assert!(backplane.inspect(vec![]).await.unwrap().is_empty());
    assert!(backplane.history(vec![]).await.unwrap().is_empty());
    assert!(backplane.append(vec![]).await.unwrap().is_empty());

    let channels: Vec<_> = (0..2_500).map(|n| channel(&format!("user.{n}"))).collect();
    let publish = |(n, channel): (usize, &Channel)| Publication::new(channel.clone(), numbered(n as u64));
    // Every third stays missing.
    let present: Vec<_> = channels.iter().enumerate().filter(|(n, _)| n % 3 > 0).map(publish).collect();
    let added: Vec<_> = backplane.append(present).await.unwrap().into_iter().map(Result::unwrap).collect();
    let mut expected = added.iter();
    let expected: Vec<_> = (0..2_500).map(|n| (n % 3 > 0).then(|| *expected.next().unwrap())).collect();

    let ask = |channel: &Channel| Ask { channel: channel.clone(), after: Position::ZERO, count: 5 };
    let answers = backplane.read(channels.iter().map(ask).collect()).await.unwrap();
    let found: Vec<_> = answers.into_iter().map(|a| a.unwrap().first().map(|e| e.position)).collect();
    assert!(found == expected, "read");
    let answers = backplane.inspect(channels.clone()).await.unwrap();
    let found: Vec<_> = answers.into_iter().map(|a| a.unwrap().map(|s| s.last)).collect();
    assert!(found == expected, "inspect");
    let all = |channel: &Channel| span(channel, Position::ZERO, Position::MAX, 5, Toward::Oldest);
    let answers = backplane.history(channels.iter().map(all).collect()).await.unwrap();
    let found: Vec<_> = answers.into_iter().map(|a| a.unwrap().first().map(|e| e.position)).collect();
    assert!(found == expected, "history");
}

pub async fn a_refused_publication_concerns_itself_alone(bench: &dyn Bench) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    let publish = |fields| Publication::new(a.clone(), fields);
    let answers = backplane.append(vec![publish(numbered(1)), publish(vec![]), publish(numbered(3))]).await.unwrap();
    assert!(matches!(answers[1], Err(BackplaneError::Refused { .. })), "an entry without fields: {:?}", answers[1]);
    let entries = read(&*backplane, &a, Position::ZERO, 10).await;
    assert_eq!(positions(&entries), [answers[0].clone().unwrap(), answers[2].clone().unwrap()]);

    // No id can follow the greatest one.
    assert!(bench.append_at(&channel("full"), Position::MAX, &[("data", "x")]));
    let refused = append(&*backplane, &channel("full"), numbered(1)).await;
    assert!(matches!(refused, Err(BackplaneError::Refused { .. })), "{refused:?}");
}
