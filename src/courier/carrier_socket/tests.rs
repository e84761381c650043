//! A carrier's socket under TLS, whose client has the keys of a known session.

use super::*;
use crate::records::MOST_RECORD;
use prometheus::IntGauge;
use std::net::{TcpListener, TcpStream as Client};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const APPLICATION_DATA: u8 = 23;

struct Pair {
    client: Client,
    session: Session,
    socket: CarrierSocket,
}

fn pair() -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = Client::connect(listener.local_addr().expect("bound")).expect("a listener");
    client.set_nodelay(true).expect("an option");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    let (server, _) = listener.accept().expect("a client");
    server.set_nonblocking(true).expect("an option");
    let (ours, session) = Session::of_known_secrets();
    let ledger = Ledger::new(1 << 20, IntGauge::new("g", "g").expect("a name"));
    Pair { client, session, socket: CarrierSocket::new(server, Some(ours), &ledger) }
}

impl Pair {
    /// What comes next: bytes, an end or an error.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; MOST_RECORD];
        let begun = Instant::now();
        loop {
            match self.socket.read(&mut buffer) {
                Ok(n) => return Ok(buffer[..n].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
            assert!(begun.elapsed() < PATIENCE, "it has not come");
        }
    }

    /// Reads until so many bytes have come.
    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < bytes {
            let come = self.next().expect("bytes");
            assert!(!come.is_empty(), "no end yet");
            read.extend(come);
        }
        read
    }
}

#[test]
fn what_a_client_says_is_the_same_however_its_records_are_cut() {
    for cut in [1, 4, 5, 6, 700, 16_500, 50_000] {
        let mut pair = pair();
        let content: Vec<u8> = (0..60_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut sealed = Vec::new();
        let (mut at, mut length) = (0, 1);
        while at < content.len() {
            let end = content.len().min(at + length);
            pair.session.seal(&[&content[at..end]], &mut sealed);
            // As large as they may be, and small ones.
            (at, length) = (end, if length == 1 { 16 << 10 } else { length / 2 });
        }
        let mut read = Vec::new();
        for (number, piece) in sealed.chunks(cut).enumerate() {
            pair.client.write_all(piece).expect("room");
            if number % 3 == 0 {
                let mut buffer = vec![0; MOST_RECORD];
                if let Ok(n) = pair.socket.read(&mut buffer) {
                    read.extend_from_slice(&buffer[..n]);
                }
            }
        }
        let rest = pair.read(content.len() - read.len());
        read.extend(rest);
        assert!(read == content, "in pieces of {cut}");
        let CarrierSocket::Tls(sealed) = &pair.socket else { panic!("it is under TLS") };
        assert_eq!(sealed.partial.capacity(), 0, "nothing is kept of records that are whole");
    }
}

#[test]
fn a_frame_in_two_pieces_is_one_record_or_two_where_it_is_long() {
    for (length, records) in [(0, 1), (200, 1), ((16 << 10) - 9, 1), ((16 << 10) - 8, 2), (16 << 10, 2)] {
        let mut pair = pair();
        let piece = vec![7; length];
        assert_eq!(pair.socket.write_frame(b"nine more", &piece).expect("room"), 9 + length);
        let mut content = Vec::new();
        for _ in 0..records {
            let mut header = [0; HEADER_BYTES];
            pair.client.read_exact(&mut header).expect("a record");
            let mut record = header.to_vec();
            record.resize(record_length(&header).expect("one of ours").expect("whole"), 0);
            pair.client.read_exact(&mut record[HEADER_BYTES..]).expect("a record");
            let Ok(Opened::Data(bytes)) = pair.session.open(&mut record) else { panic!("data") };
            content.extend_from_slice(bytes);
        }
        assert!(content == [&b"nine more"[..], &piece].concat(), "{length}");
    }
}

#[test]
fn records_without_a_byte_end_a_connection_when_nothing_else_comes() {
    let mut pair = pair();
    let mut sealed = Vec::new();
    for _ in 0..3 {
        (0..MOST_EMPTY).for_each(|_| pair.session.seal_as(APPLICATION_DATA, &[], &mut sealed));
        pair.session.seal(&[b"x"], &mut sealed);
    }
    pair.client.write_all(&sealed).expect("room");
    assert_eq!(pair.read(3), b"xxx");
    sealed.clear();
    (0..=MOST_EMPTY).for_each(|_| pair.session.seal_as(APPLICATION_DATA, &[], &mut sealed));
    pair.client.write_all(&sealed).expect("room");
    assert_eq!(pair.next().expect_err("too many").kind(), ErrorKind::InvalidData);
}

#[test]
fn an_end_is_one_with_and_without_a_word() {
    let mut told = pair();
    let mut sealed = Vec::new();
    told.session.close_notify(&mut sealed);
    told.client.write_all(&sealed).expect("room");
    assert!(told.next().expect("an end").is_empty());

    let mut amid = pair();
    amid.client.write_all(&[23, 3, 3]).expect("room");
    drop(amid.client);
    let mut buffer = vec![0; MOST_RECORD];
    let begun = Instant::now();
    loop {
        match amid.socket.read(&mut buffer) {
            Ok(n) => break assert_eq!(n, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(begun.elapsed() < PATIENCE, "its end has not come");
    }
}
