//! What no real server is asked for: faults, copies that lag, and bytes that come torn.

use super::wire::Decoder;
use super::*;
use bytes::Bytes;

const NOW: u64 = 1_700_000_000_000;

fn words(text: &str) -> Vec<Bytes> {
    text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// Runs commands, each its words with spaces between; what is said then, byte for byte.
fn run(server: &mut Server, id: ConnectionId, commands: &[&str]) -> String {
    for command in commands {
        server.execute(id, words(command), NOW);
    }
    said(server, id)
}

fn said(server: &mut Server, id: ConnectionId) -> String {
    let mut bytes = Vec::new();
    server.output(id).iter().for_each(|outgoing| outgoing.encode(&mut bytes));
    String::from_utf8(bytes).expect("text").replace("\r\n", " ").trim_end().to_owned()
}

#[test]
fn a_command_is_the_same_wherever_it_is_torn() {
    let bytes = b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\nb\r\r\n*0\r\n\r\nHELLO 3\r\n*1\r\n$0\r\n\r\n";
    let wanted = [vec!["ECHO", "a\r\nb\r"], vec!["HELLO", "3"], vec![""]];
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let (mut decoder, mut commands) = (Decoder::default(), Vec::new());
            for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                decoder.push(piece);
                while let Some(command) = decoder.next_command().expect("commands") {
                    commands.push(command);
                }
            }
            assert_eq!(commands, wanted, "torn at {first} and {second}");
        }
    }
    for (bytes, error) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
    ] {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        assert_eq!(decoder.next_command().expect_err("no command").0, format!("ERR Protocol error: {error}"));
    }
}

#[test]
fn pushes_are_held_and_lost() {
    let mut server = Server::new(Version::V8_2);
    let (reader, writer) = (server.connect(), server.connect());
    run(&mut server, reader, &["HELLO 3", "CLIENT TRACKING ON", "GET a"]);
    server.set_pushes(reader, Pushes::Held);
    run(&mut server, writer, &["SET a 1"]);
    assert_eq!(said(&mut server, reader), "");
    assert_eq!(run(&mut server, reader, &["GET a"]), "$1 1", "replies come all the same");
    server.set_pushes(reader, Pushes::Sent);
    assert_eq!(said(&mut server, reader), ">2 $10 invalidate *1 $1 a");
    server.set_pushes(reader, Pushes::Lost);
    run(&mut server, writer, &["SET a 1"]);
    server.set_pushes(reader, Pushes::Sent);
    assert_eq!(said(&mut server, reader), "");
    run(&mut server, reader, &["GET a"]);
    server.forget_readers();
    assert!(server.evict(0, b"a") && !server.evict(0, b"a"));
    assert_eq!(said(&mut server, reader), "");
    run(&mut server, reader, &["GET a"]);
    run(&mut server, writer, &["SET a 1"]);
    assert!(said(&mut server, reader).ends_with("a"));
}

#[test]
fn what_is_over_ends_in_its_time() {
    let mut server = Server::new(Version::V7_0);
    let (waits, other) = (server.connect(), server.connect());
    assert_eq!(server.next_deadline(), None);
    run(&mut server, waits, &["XREAD BLOCK 500 STREAMS a $", "PING"]);
    run(&mut server, other, &["SET b 1 PX 400"]);
    assert_eq!(server.next_deadline(), Some(NOW + 401));
    server.tick(NOW + 400);
    assert_eq!(run(&mut server, other, &["GET b"]), "$1 1");
    server.tick(NOW + 401);
    assert_eq!(run(&mut server, other, &["GET b"]), "$-1");
    assert_eq!(server.next_deadline(), Some(NOW + 500));
    assert!(server.is_waiting(waits));
    server.tick(NOW + 500);
    assert_eq!(said(&mut server, waits), "*-1 +PONG");
    assert_eq!(server.next_deadline(), None);
}

#[test]
fn a_copy_that_lags_comes_to_the_same() {
    let mut server = Server::new(Version::V8_2);
    let id = server.connect();
    run(&mut server, id, &["XADD a * f before"]);
    let mut copy = server.clone();
    copy.set_role(Role::Replica { host: "primary".to_owned(), port: 6379 });
    server.keep_log();
    run(&mut server, id, &["XADD a * f 1", "MULTI", "SELECT 1", "XADD b MAXLEN ~ 1 * f 2", "HSET h f v", "EXEC"]);
    run(&mut server, id, &["PEXPIRE h 10", "GET h", "RENAME nothing h"]);
    server.tick(NOW + 100);
    let log = server.take_log();
    assert_eq!(log.iter().map(|written| written.commands.len()).collect::<Vec<_>>(), [1, 2, 1, 1], "{log:?}");
    let look = |server: &mut Server| {
        let id = server.connect();
        let commands = ["XINFO STREAM a", "XRANGE a - +", "SELECT 1", "XRANGE b - +", "HGETALL h", "DBSIZE"];
        run(server, id, &commands)
    };
    assert_ne!(look(&mut copy), look(&mut server));
    let refused = copy.connect();
    assert!(run(&mut copy, refused, &["SET a 1"]).starts_with("-READONLY "));
    log.iter().for_each(|written| copy.apply(written));
    assert_eq!(look(&mut copy), look(&mut server));
    copy.set_role(Role::Primary);
    assert_eq!(run(&mut copy, refused, &["SET c 1"]), "+OK");
    server.replace_data(&copy);
    assert_eq!(look(&mut copy), look(&mut server));
}

#[test]
fn what_is_refused_says_why() {
    let mut server = Server::new(Version::V7_0);
    let id = server.connect();
    for (refusal, refused, taken) in [
        (Refusal::OutOfMemory, "SET a 1", "DEL a"),
        (Refusal::Misconfigured, "PING", "GET a"),
        (Refusal::NoReplicas, "DEL a", "PING"),
        (Refusal::ReadOnly, "DEL a", "XREAD STREAMS a 0"),
        (Refusal::MasterDown, "GET a", "INFO"),
        (Refusal::Loading, "PING", "CLIENT ID"),
        (Refusal::Busy, "CLIENT ID", "HELLO 2"),
    ] {
        server.set_refusal(refusal, true);
        assert_eq!(run(&mut server, id, &[refused]), format!("-{}", refusal.text()));
        assert!(!run(&mut server, id, &[taken]).starts_with('-'), "{refusal:?} {taken}");
        server.set_refusal(refusal, false);
        assert!(!run(&mut server, id, &[refused]).starts_with('-'), "{refusal:?} is over");
    }
    assert_eq!(server.unknown().count(), 0);
}

#[test]
fn who_has_no_password_is_not_served() {
    let mut server = Server::new(Version::V7_0);
    server.set_password("default", "secret");
    let id = server.connect();
    assert_eq!(run(&mut server, id, &["GET a"]), "-NOAUTH Authentication required.");
    assert!(run(&mut server, id, &["AUTH wrong"]).starts_with("-WRONGPASS "));
    assert!(run(&mut server, id, &["HELLO 3"]).starts_with("-NOAUTH HELLO "));
    assert!(run(&mut server, id, &["HELLO 3 AUTH default secret"]).starts_with("%7 "));
    assert_eq!(run(&mut server, id, &["GET a"]), "_");
}

#[test]
fn a_connection_that_is_ended_runs_nothing_more() {
    let mut server = Server::new(Version::V7_0);
    let (id, other) = (server.connect(), server.connect());
    server.execute(id, words("XREAD BLOCK 0 STREAMS a $"), NOW);
    server.execute(id, words("SET b 1"), NOW);
    assert_eq!(run(&mut server, other, &["CLIENT KILL TYPE normal"]), ":1");
    assert!(server.is_closing(id) && !server.is_closing(other));
    server.execute(id, words("SET b 1"), NOW);
    assert_eq!(run(&mut server, other, &["EXISTS b", "QUIT", "SET b 1"]), ":0 +OK");
    assert!(server.is_closing(other));
}
