//! Whatever a client sends behind its handshake: records are told apart as they pass, what is opened is what was sealed, and
//! nothing else is; no input panics.
#![no_main]

use fantail::records::{Edge, MOST_RECORD, Opened, RECORD_BYTES, Session, record_length};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const APPLICATION_DATA: u8 = 23;

/// Bytes that nobody sealed.
fn foreign(data: &[u8]) {
    let mut edge = Edge::default();
    let mut at = 0;
    while let Ok(Some(length)) = record_length(&data[at..]) {
        assert!(length <= MOST_RECORD);
        let whole = data.len() - at >= length;
        edge.pass(&data[at..data.len().min(at + length)]);
        assert_eq!(edge.is_between_records(), whole);
        if !whole {
            return;
        }
        let (mut session, _) = Session::of_known_secrets();
        assert!(session.open(&mut data[at..at + length].to_vec()).is_err(), "nobody sealed it");
        at += length;
    }
}

/// Records of a client that says whatever it likes under its keys.
fn sealed(u: &mut Unstructured) -> Result<()> {
    let (mut session, mut client) = Session::of_known_secrets();
    while !u.is_empty() {
        let kind = *u.choose(&[20, 21, 22, 22, 22, 23, 23, 0, 255])?;
        let content = match u.int_in_range(0..=3)? {
            0 => vec![24, 0, 0, 1, u.int_in_range(0..=2)?],
            1 => vec![u.int_in_range(1..=2)?, u.arbitrary()?],
            2 => vec![u.arbitrary()?; u.int_in_range(RECORD_BYTES - 2..=RECORD_BYTES)?],
            _ => u.arbitrary::<Vec<u8>>()?,
        };
        let mut record = Vec::new();
        client.seal_as(kind, &content, &mut record);
        if u.ratio(1, 20)? {
            let at = u.choose_index(record.len())?;
            record[at] ^= 1 << u.int_in_range(0..=7)?;
            // A version says nothing, and is sealed all the same.
            assert!(record_length(&record) != Ok(Some(record.len())) || session.open(&mut record).is_err());
            return Ok(());
        }
        assert_eq!(record_length(&record), Ok(Some(record.len())));
        match session.open(&mut record) {
            Ok(Opened::Data(data)) if kind == APPLICATION_DATA => assert_eq!(data, content),
            // Without a kind, the last byte that is not zero is one.
            Ok(Opened::Data(_)) => assert_eq!(kind, 0),
            // It may have come in pieces.
            Ok(Opened::Nothing) if session.has_updated() => client.update_silently(),
            Ok(Opened::Nothing) => {}
            Ok(Opened::End) | Err(_) => return Ok(()),
        }
        // What it asks for is answered: other keys, before the next bytes.
        let (mut answer, mut read) = (Vec::new(), Vec::new());
        session.seal(&[b"event"], &mut answer);
        while let Ok(Some(length)) = record_length(&answer) {
            let mut record: Vec<u8> = answer.drain(..length).collect();
            if let Opened::Data(data) = client.open(&mut record).expect("a good record") {
                read.extend_from_slice(data);
            }
        }
        assert_eq!(read, b"event");
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    foreign(data);
    let _ = sealed(&mut Unstructured::new(data));
});
