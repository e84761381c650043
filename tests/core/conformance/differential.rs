//! The in-process backplane against redis-server: the same random history must leave the same stream on both.

use super::bench::*;
use crate::support::redis::{Redis, Reply};
use fantail::backplane::{Ask, Backplane, StreamState, Toward};
use fantail::channel::Channel;
use fantail::position::Position;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
enum Step {
    Append { at: Position, last: bool },
    Trim(u64),
    Delete(Position),
    DeleteStream,
    SetLast(Position),
    Read { after: Position, count: usize },
    History { oldest: Position, newest: Position, count: usize, toward: Toward },
}

/// Few enough that steps meet each other.
fn position() -> impl Strategy<Value = Position> {
    (0u64..12, prop_oneof![3 => Just(0u64), 1 => 0u64..3, 1 => Just(u64::MAX)])
        .prop_map(|(ms, seq)| Position::new(ms, seq))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (position(), any::<bool>()).prop_map(|(at, last)| Step::Append { at, last }),
        2 => (0u64..6).prop_map(Step::Trim),
        2 => position().prop_map(Step::Delete),
        1 => Just(Step::DeleteStream),
        1 => position().prop_map(Step::SetLast),
        2 => (position(), 1usize..5).prop_map(|(after, count)| Step::Read { after, count }),
        2 => (position(), position(), 1usize..5, any::<bool>()).prop_map(|(oldest, newest, count, forward)| {
            let toward = if forward { Toward::Newest } else { Toward::Oldest };
            Step::History { oldest, newest, count, toward }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_redis_does(steps in prop::collection::vec(step(), 1..40)) {
        static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start);
        static CASES: AtomicU64 = AtomicU64::new(0);
        let channel = channel(&format!("case.{}", CASES.fetch_add(1, Ordering::Relaxed)));
        let memory = MemoryBench::new();
        for step in steps {
            let ours = apply(&memory, &channel, &step).unwrap_or_else(|| answer(&*memory.backplane(), &channel, &step));
            let theirs = apply(&*REDIS, &channel, &step).unwrap_or_else(|| redis_answer(&REDIS, &channel, &step));
            prop_assert_eq!(ours, theirs, "{:?}", step);
            let state = inspect(&*memory.backplane(), &channel).now_or_never().expect("an answer at once");
            prop_assert_eq!(state, redis_state(&REDIS, &channel), "after {:?}", step);
        }
    }
}

/// Does a step that changes the stream; what it said, as a text. `None` for a step that reads.
fn apply(operator: &dyn Operator, channel: &Channel, step: &Step) -> Option<String> {
    Some(match step {
        Step::Append { at, last: true } => {
            operator.append_at(channel, *at, &[("data", "x"), ("final", "1")]).to_string()
        }
        Step::Append { at, last: false } => operator.append_at(channel, *at, &[("data", "x")]).to_string(),
        Step::Trim(maxlen) => operator.trim(channel, *maxlen).to_string(),
        Step::Delete(position) => operator.delete_entry(channel, *position).to_string(),
        Step::DeleteStream => operator.delete_stream(channel).to_string(),
        Step::SetLast(last) => operator.set_last_id(channel, *last).to_string(),
        Step::Read { .. } | Step::History { .. } => return None,
    })
}

/// The positions that a reading step finds.
fn answer(backplane: &dyn Backplane, channel: &Channel, step: &Step) -> String {
    let answers = match step {
        Step::Read { after, count } => {
            backplane.read(vec![Ask { channel: channel.clone(), after: *after, count: *count }])
        }
        Step::History { oldest, newest, count, toward } => {
            backplane.history(vec![span(channel, *oldest, *newest, *count, *toward)])
        }
        other => unreachable!("{other:?} reads nothing"),
    };
    let entries = answers.now_or_never().expect("an answer at once").unwrap().remove(0).unwrap();
    format!("{:?}", positions(&entries))
}

fn redis_answer(redis: &Redis, channel: &Channel, step: &Step) -> String {
    let key = key(channel);
    let reply = match step {
        Step::Read { after, count } => {
            let reply = redis.command(&["XREAD", "COUNT", &count.to_string(), "STREAMS", &key, &after.to_string()]);
            if reply == Reply::Nil { Reply::List(vec![]) } else { reply.list()[0].list()[1].clone() }
        }
        Step::History { oldest, newest, count, toward } => {
            let (oldest, newest, count) = (oldest.to_string(), newest.to_string(), count.to_string());
            match toward {
                Toward::Newest => redis.command(&["XRANGE", &key, &oldest, &newest, "COUNT", &count]),
                Toward::Oldest => redis.command(&["XREVRANGE", &key, &newest, &oldest, "COUNT", &count]),
            }
        }
        other => unreachable!("{other:?} reads nothing"),
    };
    let mut found: Vec<_> = reply.list().iter().map(entry_position).collect();
    found.sort();
    format!("{found:?}")
}

fn entry_position(entry: &Reply) -> Position {
    entry.list()[0].text().parse().unwrap()
}

fn redis_state(redis: &Redis, channel: &Channel) -> Option<StreamState> {
    let reply = redis.command(&["XINFO", "STREAM", &key(channel)]);
    if reply == Reply::Error("ERR no such key".into()) {
        return None;
    }
    let field = |name: &str| {
        let pairs = reply.list().chunks(2);
        pairs.into_iter().find(|pair| pair[0].text() == name).map(|pair| pair[1].clone()).expect("a field of XINFO")
    };
    let position = |name: &str| -> Position { field(name).text().parse().unwrap() };
    let entry = |name: &str| Some(field(name)).filter(|entry| *entry != Reply::Nil);
    let last = position("last-generated-id");
    let is_final = |newest: Reply| {
        entry_position(&newest) == last && newest.list()[1].list().iter().any(|field| field.text() == "final")
    };
    Some(StreamState {
        length: field("length").number() as u64,
        last,
        first: entry("first-entry").map(|e| entry_position(&e)),
        added: Some(field("entries-added").number() as u64),
        max_deleted: Some(position("max-deleted-entry-id")),
        finished: entry("last-entry").is_some_and(is_final),
    })
}
