//! HPACK beside another implementation of it, and beside the examples of RFC 7541, appendix C.

use super::*;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use loona_hpack::{Decoder as Other, Encoder as OtherEncoder};
use proptest::prelude::*;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Lines, ErrorCode> {
    let mut lines = Lines::new();
    decoder.decode(block, |name, value| lines.push((name.to_vec(), value.to_vec())))?;
    Ok(lines)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

fn lines(expected: &[(&str, &str)]) -> Lines {
    expected.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

#[test]
fn the_examples_of_the_standard() {
    let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
    let second = [&first[..], &[("cache-control", "no-cache")]].concat();
    let third = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let packed = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, packed] {
        let mut decoder = Decoder::default();
        for (block, (expected, bytes)) in blocks.iter().zip([(&first[..], 57), (&second[..], 110), (&third[..], 164)]) {
            assert_eq!(decode(&mut decoder, &hex(block)).expect(block), lines(expected));
            assert_eq!(decoder.table_bytes(), bytes);
        }
    }
}

#[test]
fn what_is_wrong_is_refused() {
    for (block, why) in [
        ("80", "number 0"),
        ("be", "a line that is not there"),
        ("ff ff ff ff ff 0f", "a number that is too long"),
        ("40", "no name"),
        ("40 01", "no byte of the name"),
        ("40 01 61 05 61", "too few bytes"),
        ("3f e2 1f", "a table of 4,097 bytes"),
        ("82 20", "a size behind a line"),
        ("00 01 61 81 18", "a code filled up with zeroes"),
        ("00 01 61 82 1f ff", "filled up with a whole byte"),
        ("00 01 61 84 ff ff ff ff", "the end itself"),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &hex(block)), Err(ErrorCode::Compression), "{why}");
    }
    // A small number in more bytes than any here needs.
    let long = [&[0, 0x7f, 0x80, 0x80, 0x80, 0x80, 0][..], &[b'a'; 127], &[1, b'b']].concat();
    assert_eq!(decode(&mut Decoder::default(), &long), Err(ErrorCode::Compression));
    assert_eq!(decode(&mut Decoder::default(), &hex("3f e1 1f 20")), Ok(vec![]), "4,096 bytes, then none");
}

#[test]
fn a_table_holds_what_it_may_and_gives_all_back() {
    let mut decoder = Decoder::default();
    for number in 0..1_000 {
        let block = [&[0x40, 4][..], format!("{number:04}").as_bytes(), &[0]].concat();
        decode(&mut decoder, &block).expect("a line");
        assert!(decoder.table_bytes() <= 4096 && decoder.lines.len() <= 4096 / 36);
    }
    assert_eq!(decode(&mut decoder, &[0xbe]).expect("the newest"), lines(&[("0999", "")]));
    // A line that is larger than the table empties it (section 4.4).
    let large = [&[0x40, 1, b'a', 0x7f, 0x81, 0x1f][..], &[b'x'; 4096]].concat();
    decode(&mut decoder, &large).expect("a line");
    assert_eq!((decoder.table_bytes(), decoder.lines.capacity()), (0, 0));
}

#[test]
fn every_byte_has_its_code() {
    let all: Vec<u8> = (0..=255).collect();
    for text in [&all[..], &all[..1], b"", b"www.example.com"] {
        // Section 6.2.2, with a value that the other implementation packs.
        let mut decoder = Decoder::default();
        let block = OtherEncoder::new().encode([(&b"x"[..], text)]);
        assert_eq!(decode(&mut decoder, &block).expect("a line"), vec![(b"x".to_vec(), text.to_vec())]);
    }
}

proptest! {
    #[test]
    fn what_another_encodes_is_read(heads in prop::collection::vec(prop::collection::vec(("[a-z-]{1,20}", prop::collection::vec(any::<u8>(), 0..200)), 0..8), 1..6)) {
        let (mut encoder, mut decoder) = (OtherEncoder::new(), Decoder::default());
        for head in heads {
            let expected: Lines = head.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            let block = encoder.encode(expected.iter().map(|(name, value)| (&name[..], &value[..])));
            prop_assert_eq!(decode(&mut decoder, &block), Ok(expected));
        }
    }

    #[test]
    fn what_is_encoded_is_read_by_another(status in 100_u16..999, lines in prop::collection::vec(("[a-z][a-z0-9-]{0,30}", "[ -~]{0,300}"), 0..8)) {
        let mut headers = HeaderMap::new();
        let mut expected = vec![(b":status".to_vec(), status.to_string().into_bytes())];
        for (name, value) in &lines {
            headers.append(HeaderName::try_from(name).expect("a name"), HeaderValue::from_str(value).expect("a value"));
        }
        expected.extend(headers.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())));
        let block = encode::head(hyper::StatusCode::from_u16(status).expect("a status"), &headers);
        prop_assert_eq!(Other::new().decode(&block), Ok(expected.clone()));
        prop_assert_eq!(decode(&mut Decoder::default(), &block), Ok(expected));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::default();
        let ours = decode(&mut decoder, &bytes);
        prop_assert!(decoder.table_bytes() <= 4096);
        // The other one allows what it should not: sizes between lines, and numbers of five bytes.
        if let Ok(ours) = ours && let Ok(others) = Other::new().decode(&bytes) {
            prop_assert_eq!(ours, others);
        }
    }
}
