//! Round trips: whatever a producer writes comes out of an independent event-stream parser as what it meant, and
//! nothing else does.

use crate::support::event_stream::{Message, Parser};
use bytes::Bytes;
use fantail::backplane::Entry;
use fantail::channel::Channel;
use fantail::control_event::{Gap, GapReason};
use fantail::cursor::{self, Cursor, Form, Place};
use fantail::event::{Event, MAX_RETRY_MS, MAX_TYPE_LENGTH};
use fantail::frame::{Frame, Kind};
use fantail::position::Position;
use fantail::{publication, subscription};
use hyper::HeaderMap;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::time::Duration;

/// The shortest and the longest heartbeat.
const HEARTBEATS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// Bytes made of what could upset the format.
fn evil(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => select(vec![
            &b"\r"[..], b"\n", b"\r\n", b"\n\n", b"\r\r", b"\0", b"\xef\xbb\xbf", b"\xff", b"\xe2\x82", b"\xf0\x9f", b":", b" ",
            b": ", b"data: x", b"id: 9-9", b"event: x", b"retry: 1", b"0\r\n\r\n", b"fantail.gap", "\u{2028}".as_bytes(), "\u{85}".as_bytes(),
        ]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..8),
        1 => "[a-z{}\"\\\\]{0,12}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

fn position() -> impl Strategy<Value = Position> {
    let ms = prop_oneof![4 => 1_600_000_000_000..1_800_000_000_000u64, 1 => any::<u64>(), 1 => Just(0)];
    let seq = prop_oneof![4 => 0..3u64, 1 => any::<u64>()];
    (ms, seq).prop_map(|(ms, seq)| Position::new(ms, seq))
}

fn entry() -> impl Strategy<Value = Entry> {
    let optional = |name: &'static str, value: BoxedStrategy<Vec<u8>>| {
        proptest::option::of(value).prop_map(move |value| value.map(|v| (Bytes::from(name), Bytes::from(v))))
    };
    let retry = prop_oneof![any::<u64>().prop_map(|n| n.to_string().into_bytes()), evil(2)].boxed();
    (
        position(),
        optional("event", evil(30).boxed()),
        optional("retry", retry),
        optional("data", evil(30).boxed()),
        vec(("(a|b|data|retry|\u{fffd}|\")?", evil(3)), 0..4),
    )
        .prop_map(|(position, event, retry, data, others)| {
            let others = others.into_iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value)));
            let fields = [event, retry, data].into_iter().flatten().chain(others).collect();
            Entry { position, fields }
        })
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![3 => "[a-z]{1,6}\\.[0-9]{1,4}", 1 => "[A-Za-z0-9_.:~@-]{1,200}"]
        .prop_map(|name| Channel::new(&name).unwrap())
}

fn field<'a>(entry: &'a Entry, name: &str) -> Option<&'a [u8]> {
    entry.fields.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, v)| v.as_ref())
}

/// What a browser must see of an entry's data: every kind of line end as LF.
fn expected_data(entry: &Entry) -> String {
    let data = match field(entry, "data") {
        Some(data) => String::from_utf8_lossy(data).into_owned(),
        None => {
            let text = |b: &Bytes| serde_json::Value::from(String::from_utf8_lossy(b).into_owned()).to_string();
            let mut names: Vec<String> = Vec::new();
            entry.fields.iter().map(|(n, _)| text(n)).for_each(|name| {
                if !names.contains(&name) {
                    names.push(name);
                }
            });
            let member = |name: &String| {
                let values: Vec<_> =
                    entry.fields.iter().filter(|(n, _)| text(n) == *name).map(|(_, v)| text(v)).collect();
                match values.len() {
                    1 => format!("{name}:{}", values[0]),
                    _ => format!("{name}:[{}]", values.join(",")),
                }
            };
            format!("{{{}}}", names.iter().map(member).collect::<Vec<_>>().join(","))
        }
    };
    data.replace("\r\n", "\n").replace('\r', "\n")
}

fn expected(entry: &Entry, id: &str) -> Message {
    let kind = field(entry, "event").filter(|kind| !kind.is_empty()).map_or("message".into(), |kind| {
        let mut end = kind.len().min(MAX_TYPE_LENGTH);
        while end < kind.len() && end > MAX_TYPE_LENGTH - 4 && kind[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        let kind = String::from_utf8_lossy(&kind[..end]).replace(['\r', '\n', '\0'], " ");
        // The cluster's own types are not for producers.
        if kind.starts_with("fantail.") { format!("_{kind}") } else { kind }
    });
    Message { id: id.into(), event: kind, data: expected_data(entry) }
}

fn expected_retry(entry: &Entry) -> Option<u64> {
    let is_ours = |name: &Bytes| ["event", "retry", "final"].iter().any(|n| n.as_bytes() == name);
    if field(entry, "data").is_none() && !entry.fields.iter().all(|(name, _)| is_ours(name)) {
        return None;
    }
    let text = std::str::from_utf8(field(entry, "retry")?).ok()?;
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().unwrap_or(u64::MAX).clamp(500, MAX_RETRY_MS))
}

fn frame(entry: &Entry) -> Frame {
    Frame::new(entry.position, Event::from_entry(entry))
}

/// Takes chunks apart (RFC 9112, section 7.1); the coding must use up every byte.
fn unchunked(mut coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !coded.is_empty() {
        let line_end = coded.windows(2).position(|pair| pair == b"\r\n").expect("a size line");
        let size = usize::from_str_radix(std::str::from_utf8(&coded[..line_end]).unwrap(), 16).unwrap();
        let (data, behind) = coded[line_end + 2..].split_at(size);
        assert!(size > 0, "a chunk of size 0 ends the response");
        plain.extend_from_slice(data);
        coded = behind.strip_prefix(b"\r\n").expect("the end of the chunk");
    }
    plain
}

/// Feeds a stream in pieces that end anywhere.
fn parse_in_pieces(stream: &[u8], cuts: &[Index]) -> (Vec<Message>, Parser) {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([stream.len()]).collect();
    ends.sort_unstable();
    let (mut parser, mut messages, mut start) = (Parser::new(), Vec::new(), 0);
    for end in ends {
        messages.extend(parser.feed(&stream[start..end]));
        start = end;
    }
    (messages, parser)
}

fn gap() -> Frame {
    let gap = Gap {
        channel: "a".into(),
        reason: GapReason::Trimmed,
        resume_from: Some(Position::new(1, 0)),
        continues_at: None,
        lost: Some(3),
    };
    Frame::control(Position::ZERO, gap.block().as_bytes())
}

fn written(form: Form, places: &[(Channel, Position)]) -> String {
    let mut out = b"before".to_vec();
    let places = places.iter().map(|(channel, at)| Place { channel, hash: cursor::name_hash(channel), at: *at });
    cursor::write_cursor(&mut out, form, places);
    String::from_utf8(out).unwrap().split_off("before".len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_of_chunks_arrives_as_it_was_meant(entries in vec(entry(), 1..6), cuts in vec(any::<Index>(), 0..12)) {
        let mut wire = Vec::new();
        for entry in &entries {
            wire.extend_from_slice(frame(entry).chunk());
            fantail::frame::chunked(&mut wire, b":\n\n");
            wire.extend_from_slice(gap().chunk());
        }
        let (messages, parser) = parse_in_pieces(&unchunked(&wire), &cuts);
        let mut due = Vec::new();
        for entry in &entries {
            let id = entry.position.to_string();
            due.push(expected(entry, &id));
            let data = r#"{"channel":"a","reason":"trimmed","resume_from":"1-0","continues_at":null,"lost":3}"#;
            due.push(Message { id, event: "fantail.gap".into(), data: data.into() });
        }
        prop_assert_eq!(messages, due);
        prop_assert_eq!(parser.comments(), entries.len());
        prop_assert_eq!(parser.blocks(), 3 * entries.len());
        prop_assert_eq!(parser.retry(), entries.iter().rev().find_map(expected_retry));
        prop_assert_eq!(parser.last_event_id(), entries.last().unwrap().position.to_string());
    }

    #[test]
    fn every_layout_of_a_frame_says_the_same(entry in entry(), channel in channel(), cuts in vec(any::<Index>(), 0..4)) {
        let frame = frame(&entry);
        prop_assert_eq!(unchunked(frame.chunk()), frame.block());
        prop_assert_eq!(parse_in_pieces(frame.block(), &cuts).0, [expected(&entry, &entry.position.to_string())]);
        let behind_cursor = [b"id: a=1-0,b=2-0\n", frame.rest()].concat();
        let due = expected(&entry, "a=1-0,b=2-0");
        prop_assert_eq!(parse_in_pieces(&behind_cursor, &cuts).0, [due.clone()]);
        prop_assert_eq!(frame.kind, Some(Kind::of(due.event.as_bytes())));
        let behind_cursor = [b"id: x\n", frame.enveloped(&channel)].concat();
        let (messages, parser) = parse_in_pieces(&behind_cursor, &cuts);
        prop_assert_eq!(messages.len(), 1);
        prop_assert_eq!((&messages[0].event[..], &messages[0].id[..]), ("message", "x"));
        let json: serde_json::Value = serde_json::from_str(&messages[0].data).unwrap();
        let id = entry.position.to_string();
        prop_assert_eq!(json, serde_json::json!({"channel": channel.as_str(), "id": id, "event": due.event, "data": due.data}));
        prop_assert_eq!(parser.retry(), expected_retry(&entry));
    }

    #[test]
    fn what_is_published_arrives(data in evil(30), event in evil(4), retry in proptest::option::of(0..=MAX_RETRY_MS), last: bool) {
        let limits = publication::Limits { max_event_bytes: 1 << 20, max_batch_lines: 10, bounds: publication::Bounds::ANY };
        let mut query = form_urlencoded::Serializer::new(String::new());
        let event = String::from_utf8_lossy(&event).into_owned();
        query.append_pair("event", &event).append_pair("final", if last { "1" } else { "0" });
        if let Some(retry) = retry {
            query.append_pair("retry", &retry.to_string());
        }
        let data = Bytes::from(data);
        let result = publication::parse_single("a", &query.finish(), &HeaderMap::new(), data.clone(), &limits);
        let refused = event.contains(['\r', '\n', '\0']) || event.starts_with("fantail.");
        prop_assert_eq!(result.is_err(), refused || std::str::from_utf8(&data).is_err());
        let member = |name: &str, value: serde_json::Value| (name.to_owned(), value);
        let line = serde_json::Value::Object([
            member("channel", "a".into()), member("data", String::from_utf8_lossy(&data).into()), member("event", event.into()),
            member("retry", retry.into()), member("final", last.into()),
        ].into_iter().collect());
        let batch = publication::parse_batch(line.to_string().as_bytes(), &limits);
        prop_assert_eq!(batch.is_err(), refused);
        if let (Ok(single), Ok(batch)) = (result, batch) {
            let entry = |p: &fantail::backplane::Publication| Entry { position: Position::MAX, fields: p.fields.clone() };
            let (one, other) = (entry(&single), entry(&batch[0].1));
            let (of_one, of_other) = (frame(&one), frame(&other));
            prop_assert_eq!(of_one.chunk(), of_other.chunk());
            prop_assert_eq!(of_one.last, last);
            let (messages, parser) = parse_in_pieces(of_one.block(), &[]);
            prop_assert_eq!(messages, [expected(&one, &Position::MAX.to_string())]);
            prop_assert_eq!(parser.retry(), retry.map(|ms| ms.max(500)));
        }
    }

    #[test]
    fn cursors_find_their_positions_for_any_set(
        channels in btree_set(channel(), 1..120),
        positions in vec(position(), 120),
        others in vec(channel(), 0..5),
    ) {
        let places: Vec<_> = channels.iter().cloned().zip(positions).collect();
        let form = Form::of(channels.iter().map(cursor::name_hash));
        let text = written(form, &places);
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        if form == Form::Compact {
            prop_assert!(text.len() <= (11 + 24 * places.len()).div_ceil(3) * 4);
        }
        let cursor = Cursor::parse(&text).expect("our own");
        for (channel, at) in &places {
            prop_assert_eq!(cursor.position_of(channel, false), Some(*at));
            prop_assert_eq!(cursor.position_of(channel, true), Some(*at));
        }
        for other in others.iter().filter(|o| channels.iter().all(|c| cursor::name_hash(c) != cursor::name_hash(o))) {
            prop_assert_eq!(cursor.position_of(other, true), None);
        }
        // The way of an id through an EventSource and back, by header and by parameter.
        let (messages, parser) = parse_in_pieces(format!("id: {text}\n\n").as_bytes(), &[]);
        prop_assert!(messages.is_empty());
        let limits = subscription::Limits { max_channels: 120, max_tail: 0, heartbeat: HEARTBEATS };
        let header = parser.last_event_id().as_bytes();
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("lastEventId", parser.last_event_id()).finish();
        for (query, header) in [("", Some(header)), (&query, None)] {
            let texts = subscription::Texts { path_channel: Some("x"), query, form: None, last_event_id: header };
            let parsed = subscription::Subscription::parse(&texts, &limits, 0).unwrap();
            prop_assert_eq!(parsed.resume, subscription::Resume::Cursors(vec![cursor.clone()]));
        }
    }

    #[test]
    fn a_single_position_is_a_cursor(at in position(), channel in channel()) {
        let mut text = Vec::new();
        cursor::write_position(&mut text, at);
        let cursor = Cursor::parse(std::str::from_utf8(&text).unwrap()).unwrap();
        prop_assert_eq!(&cursor, &Cursor::Single(at));
        prop_assert_eq!((cursor.position_of(&channel, true), cursor.position_of(&channel, false)), (Some(at), None));
    }

    #[test]
    fn a_damaged_cursor_is_refused_or_read_but_never_a_panic(
        channels in btree_set(channel(), 1..20), at in position(), hit in any::<Index>(), byte in any::<char>(), cut in any::<Index>(),
    ) {
        let places: Vec<_> = channels.iter().cloned().map(|c| (c, at)).collect();
        let text = written(Form::of(channels.iter().map(cursor::name_hash)), &places);
        let mut damaged: Vec<char> = text.chars().collect();
        let hit = hit.index(damaged.len());
        damaged[hit] = byte;
        damaged.truncate(cut.index(damaged.len()) + 1);
        let _ = Cursor::parse(&damaged.into_iter().collect::<String>());
    }

    #[test]
    fn nothing_that_a_client_sends_is_a_panic(query in evil(20), header in evil(4), text in ".*") {
        let limits = subscription::Limits { max_channels: 5, max_tail: 10, heartbeat: HEARTBEATS };
        for name in ["channels", "since", "tail", "events", "where", "envelope", "lastEventId", ""] {
            let query = format!("{name}={}", String::from_utf8_lossy(&query));
            let of_path = subscription::Texts { path_channel: Some("a"), last_event_id: Some(&header), ..Default::default() };
            let in_body = subscription::Texts { form: Some(query.as_bytes()), ..of_path };
            let _ = subscription::Subscription::parse(&subscription::Texts { query: &query, ..of_path }, &limits, 5);
            let _ = subscription::Subscription::parse(&in_body, &limits, 5);
            let query = format!("channels=a&{name}={text}");
            let _ = subscription::Subscription::parse(&subscription::Texts { query: &query, ..Default::default() }, &limits, 5);
        }
        let _ = Cursor::parse(&text);
        let limits = publication::Limits { max_event_bytes: 50, max_batch_lines: 3, bounds: publication::Bounds::ANY };
        let _ = publication::parse_batch(&query, &limits);
        let _ = publication::parse_batch(text.as_bytes(), &limits);
        let _ = publication::parse_single(&text, &text, &HeaderMap::new(), Bytes::from(query), &limits);
    }

    #[test]
    fn the_parser_takes_any_bytes_in_any_pieces(stream in evil(60), cuts in vec(any::<Index>(), 0..12)) {
        let (messages, pieces) = parse_in_pieces(&stream, &cuts);
        let mut whole = Parser::new();
        prop_assert_eq!(messages, whole.feed(&stream));
        prop_assert_eq!(pieces.last_event_id(), whole.last_event_id());
    }
}

/// 1 MiB of each kind of trouble.
#[test]
fn a_megabyte_of_anything() {
    for unit in ["x", "\r", "\n", "\r\n", "\0", "\u{feff}", "€\n", "data: \n\n"] {
        let size = 1 << 20;
        let data = Bytes::from(unit.repeat(size / unit.len()));
        let entry = Entry { position: Position::MAX, fields: vec![("data".into(), data)] };
        let frame = frame(&entry);
        let due = [expected(&entry, &Position::MAX.to_string())];
        assert!(parse_in_pieces(&unchunked(frame.chunk()), &[]).0 == due, "{unit:?}");
        let envelope = parse_in_pieces(frame.enveloped(&Channel::new("a").unwrap()), &[]).0;
        let json: serde_json::Value = serde_json::from_str(&envelope[0].data).unwrap();
        assert!(json["data"].as_str() == Some(&due[0].data), "{unit:?}");
    }
    let invalid = Entry { position: Position::ZERO, fields: vec![("data".into(), vec![0xff; 1 << 20].into())] };
    assert_eq!(parse_in_pieces(frame(&invalid).block(), &[]).0[0].data.chars().count(), 1 << 20);
}
