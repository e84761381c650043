use super::*;
use proptest::prelude::*;

const ALL: Taken = Taken::Entries { most: 1 << 20, total: 1 << 20, witness: None };
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads one reply that comes in pieces of `step` bytes.
fn read(bytes: &[u8], step: usize, taken: Taken) -> io::Result<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut from = pieces(bytes, step);
        let mut input = Input::new(&mut from, PATIENCE);
        input.reply(taken).await
    })
}

/// A reader of some bytes, which gives at most `step` of them at once.
fn pieces(bytes: &[u8], step: usize) -> Pieces {
    Pieces { bytes: bytes.to_vec(), at: 0, step }
}

struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let end = (self.at + self.step.min(into.remaining())).min(self.bytes.len());
        into.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        std::task::Poll::Ready(Ok(()))
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}

fn entry(id: &str, value: &[u8]) -> Vec<u8> {
    array(&[string(id.as_bytes()), array(&[string(b"data"), string(value)])])
}

fn b(text: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text))
}

fn a(items: Vec<Value>) -> Value {
    Value::Array(items)
}

#[test]
fn every_kind_of_value_in_pieces_of_every_size() {
    let long = vec![b'x'; 3 * SMALL];
    let bytes = array(&[
        string(b"a"),
        b":-7\r\n".to_vec(),
        b"$-1\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
        array(&[]),
        string(&long),
        b"+OK\r\n".to_vec(),
    ]);
    for step in [1, 2, 3, 7, 100, 100_000] {
        let Ok(Reply::Whole(value)) = read(&bytes, step, ALL) else { panic!("not whole") };
        let expected = a(vec![b(b"a"), Value::Integer(-7), Value::Null, Value::Null, a(vec![]), b(&long), b(b"OK")]);
        assert_eq!(value, expected, "in pieces of {step}");
    }
    assert!(matches!(read(b"-ERR no\r\n", 1, ALL), Ok(Reply::Error(why)) if why.text() == "ERR no"));
}

#[test]
fn what_precedes_a_large_entry_counts_and_its_own_id_is_known() {
    let large = vec![b'\n'; 5_000];
    let bytes =
        array(&[array(&[string(b"k"), array(&[entry("1-0", b"x"), entry("2-0", &large), entry("3-0", b"y")])])]);
    let taken = Taken::Entries { most: 4_000, total: 1 << 20, witness: None };
    let Ok(Reply::Cut(value, Cut::Large(cost), _)) = read(&bytes, 1_000, taken) else { panic!("not cut") };
    assert_eq!(cost, 4 + 5_000 + 2 * OVERHEAD);
    let first = a(vec![b(b"1-0"), a(vec![b(b"data"), b(b"x")])]);
    let second = a(vec![b(b"2-0"), Value::Integer(cost as i64)]);
    assert_eq!(value, a(vec![a(vec![b(b"k"), a(vec![first, second])])]));
}

#[test]
fn many_small_fields_are_as_large_as_what_they_take() {
    let fields: Vec<Vec<u8>> = (0..2_000).map(|_| string(b"a")).collect();
    let bytes = array(&[array(&[string(b"1-0"), array(&fields)])]);
    let taken = Taken::Entries { most: 100 * OVERHEAD, total: 1 << 20, witness: None };
    assert!(matches!(read(&bytes, 1_000, taken), Ok(Reply::Cut(_, Cut::Large(_), _))));
}

#[test]
fn a_full_reply_ends_behind_a_whole_entry() {
    let entries =
        |count: usize| array(&(1..=count).map(|n| entry(&format!("{n}-0"), &[b'x'; 900])).collect::<Vec<_>>());
    let taken = Taken::Entries { most: 1 << 20, total: 1_500, witness: None };
    let Ok(Reply::Cut(Value::Array(read_in), Cut::Full, _)) = read(&entries(5), 100, taken) else { panic!("not cut") };
    assert_eq!(read_in.len(), 2);
    assert!(read_in.iter().all(|entry| matches!(entry, Value::Array(pair) if pair.len() == 2)));
    assert!(matches!(read(&entries(2), 100, taken), Ok(Reply::Whole(_))), "nothing was left");
}

#[test]
fn a_skimmed_reply_is_whole_but_for_long_strings() {
    let long = vec![b'x'; SKIMMED + 1];
    let bytes = array(&[string(b"length"), b":1\r\n".to_vec(), string(b"last-entry"), entry("1-0", &long)]);
    let Ok(Reply::Whole(value)) = read(&bytes, 10_000, Taken::Skimmed) else { panic!("not whole") };
    let last = a(vec![b(b"1-0"), a(vec![b(b"data"), b(b"")])]);
    assert_eq!(value, a(vec![b(b"length"), Value::Integer(1), b(b"last-entry"), last]));
    let longer = vec![b'x'; SKIPPED + 1];
    let bytes = array(&[string(b"length"), b":1\r\n".to_vec(), string(b"last-entry"), entry("1-0", &longer)]);
    assert!(matches!(read(&bytes, 10_000, Taken::Skimmed), Ok(Reply::Cut(_, Cut::Large(_), _))));
}

#[test]
fn a_long_string_has_memory_that_is_exactly_its_own() {
    let long = vec![b'x'; 100_001];
    let Ok(Reply::Whole(Value::Bytes(bytes))) = read(&string(&long), 7_777, ALL) else { panic!("not whole") };
    assert_eq!(Vec::from(bytes).capacity(), long.len());
}

#[test]
fn what_was_not_read_on_is_passed_over() {
    let large = vec![b'x'; 5_000];
    let inner = array(&[string(b"k"), array(&[entry("1-0", b"x"), entry("2-0", &large), entry("3-0", b"y")])]);
    let first = array(&[inner, array(&[string(b"l"), array(&[entry("1-0", b"x")])])]);
    let bytes = [first, b"-ERR no\r\n".to_vec(), array(&[string(&large)]), b"+PONG\r\n".to_vec()].concat();
    for (taken, step) in [(4_000, 1), (4_000, 999), (20_000, 100)] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut input = Input::new(pieces(&bytes, step), PATIENCE);
            let taken = Taken::Entries { most: taken, total: 100, witness: None };
            let Ok(Reply::Cut(_, _, rest)) = input.reply(taken).await else { panic!("not cut") };
            assert!(input.pass(rest, 2, 10_100).await.unwrap());
            assert!(matches!(input.reply(ALL).await, Ok(Reply::Whole(pong)) if pong == b(b"PONG")));
            let mut input = Input::new(pieces(&bytes, step), PATIENCE);
            let Ok(Reply::Cut(_, _, rest)) = input.reply(taken).await else { panic!("not cut") };
            assert!(!input.pass(rest, 2, 9_000).await.unwrap(), "too much");
        });
    }
}

#[test]
fn of_the_witness_only_its_presence_is_read() {
    let large = vec![b'x'; SKIMMED + 1];
    let bytes = array(&[array(&[string(b"k"), array(&[entry("1-0", &large), entry("2-0", &large)])])]);
    let taken = Taken::Entries { most: 100_000, total: 200_000, witness: Some(Position::new(1, 0)) };
    let Ok(Reply::Whole(value)) = read(&bytes, 10_000, taken) else { panic!("not whole") };
    let first = a(vec![b(b"1-0"), a(vec![b(b"data"), b(b"")])]);
    let second = a(vec![b(b"2-0"), a(vec![b(b"data"), b(&large)])]);
    assert_eq!(value, a(vec![a(vec![b(b"k"), a(vec![first, second])])]));
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b':'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..200), step in 1usize..50) {
        let _ = read(&bytes, step, ALL);
        let _ = read(&bytes, step, Taken::Skimmed);
    }
}
