//! Users and passwords of Redis: any byte arrives as it is, three are refused before anything is sent, and nothing that
//! cannot be read is repeated.

use crate::support::program;
use crate::support::redis::{Redis, Reply};
use crate::support::topology::Cluster;
use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStringExt;
use std::process::Output;

/// Sends one command with arguments of any bytes.
fn command(server: &Redis, words: &[&[u8]]) -> Reply {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend([format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
    }
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).expect("a server");
    socket.write_all(&bytes).expect("the server takes it");
    Reply::read(&mut BufReader::new(socket)).expect("a reply")
}

/// Lets a user in with this password alone.
fn admit(server: &Redis, password: &[u8]) {
    let secret = [b">", password].concat();
    let words: [&[u8]; 9] = [b"ACL", b"SETUSER", b"u", b"reset", b"on", &secret, b"~*", b"&*", b"+@all"];
    assert!(matches!(command(server, &words), Reply::Text(_)));
}

fn passwords() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (1..=u8::MAX).filter(|byte| !b"\r\n".contains(byte)).collect();
    [
        &b"with space"[..],
        b"'",
        b"\"",
        b"\"open",
        b"tab\there",
        b"\\x00",
        b"#/?@%",
        "wörter".as_bytes(),
        b"\xff\xfe",
        &all,
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

fn encoded(password: &[u8]) -> String {
    password.iter().map(|byte| format!("%{byte:02x}")).collect()
}

fn fantail(arguments: &[&str], variables: &[(&str, &[u8])]) -> Output {
    let mut command = program::fantail();
    command.args(arguments);
    command.envs(variables.iter().map(|(name, value)| (name, OsString::from_vec(value.to_vec()))));
    command.output().expect("the binary")
}

fn works(arguments: &[&str], variables: &[(&str, &[u8])]) {
    let output = fantail(&[&["check"], arguments].concat(), variables);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
}

/// A file of a test's own.
fn file(name: &str, text: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("fantail-{name}-{}", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn every_byte_of_a_password_works_in_url_file_and_variable() {
    let server = Redis::start();
    let url = |login: &str| format!("redis://{login}@127.0.0.1:{}/3", server.port());
    for password in passwords() {
        admit(&server, &password);
        works(&["--redis", &url(&format!("u:{}", encoded(&password)))], &[]);
        let file = file("password", &[&password[..], b"\n"].concat());
        works(&["--redis", &url("u"), "--redis-password-file", &file, "--follow", "block"], &[]);
        works(&["--redis", &url("u")], &[("FANTAIL_REDIS_PASSWORD", &password)]);
    }
    let socket = server.socket().display().to_string();
    let password = passwords().pop().expect("one of all bytes");
    works(&["--redis", &format!("unix:{socket}?user=u&password={}", encoded(&password))], &[]);
}

#[test]
fn every_byte_of_a_password_works_at_sentinels_and_in_a_cluster() {
    let server = Redis::start();
    let sentinel = Redis::start_sentinel(server.port(), 1);
    let cluster = Cluster::start();
    for password in passwords() {
        for server in [&server, &sentinel].into_iter().chain(&cluster.servers) {
            admit(server, &password);
        }
        let text = encoded(&password);
        let url = format!("redis-cluster://u:{text}@127.0.0.1:{}", cluster.servers[0].port());
        works(&["--redis", &url], &[]);
        let at = format!("127.0.0.1:{}/main", sentinel.port());
        let url = format!("redis-sentinel://u:{text}@{at}?sentinel_user=u&sentinel_password={text}");
        works(&["--redis", &url], &[]);
        let both = [("FANTAIL_REDIS_PASSWORD", &password[..]), ("FANTAIL_REDIS_SENTINEL_PASSWORD", &password)];
        works(&["--redis", &format!("redis-sentinel://u@{at}"), "--redis-sentinel-username", "u"], &both);
    }
}

/// Arguments, variables, and what the message begins with.
type Try<'a> = (Vec<&'a str>, Vec<(&'a str, &'a [u8])>, &'a str);

#[test]
fn what_would_end_a_command_is_refused_by_name_before_anything_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let at = listener.local_addr().expect("bound");
    let plain = format!("redis://u@{at}");
    for (byte, name) in [(b'\n', "a line feed (LF)"), (b'\r', "a carriage return (CR)"), (0, "a NUL")] {
        let password = [b"sec", &[byte][..], b"ret\r\nFLUSHALL\r\nx"].concat();
        let text = encoded(&password);
        let file = file("ends", &password);
        let urls = [
            format!("redis://u:{text}@{at}"),
            format!("redis-cluster://{text}:p@{at}"),
            format!("redis-sentinel://u:p@{at}/main?sentinel_password={text}"),
            format!("redis-sentinel://u:p@{at}/{text}"),
        ];
        let mut tries: Vec<Try> = urls.iter().map(|url| (vec!["--redis", url], vec![], "--redis: its ")).collect();
        let with_file = vec!["--redis", &plain, "--redis-password-file", &file];
        tries.push((with_file, vec![], "--redis-password-file "));
        if byte != 0 {
            tries.push((
                vec!["--redis", &plain],
                vec![("FANTAIL_REDIS_PASSWORD", &password)],
                "FANTAIL_REDIS_PASSWORD: ",
            ));
            tries.push((
                vec!["--redis", &plain, "--redis-password-file", &file],
                vec![("FANTAIL_REDIS_USERNAME", &password)],
                "FANTAIL_REDIS_USERNAME",
            ));
        }
        for (arguments, variables, flag) in tries {
            let output = fantail(&[&["check"][..], &arguments].concat(), &variables);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!output.status.success() && said.contains(flag) && said.contains(name), "{arguments:?}: {said}");
        }
    }
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn a_value_that_cannot_be_read_is_not_repeated() {
    for url in [
        "host:6380,password=S3cret,ssl=True",
        "tcp://h?auth=S3cret",
        "redis://:S3cret",
        "redis://:S3cret@h:port",
        "redis://h/S3cret",
        "redis://h?password=x@S3cret&bogus=1",
        "redis://u:S3#cret@h",
        "S3cret",
    ] {
        for command in ["serve", "check", "publish", "revoke"] {
            let more: &[&str] = match command {
                "publish" => &["a", "x"],
                "revoke" => &["subject", "x"],
                _ => &[],
            };
            let arguments = [&[command][..], more].concat();
            let output = fantail(&arguments, &[("FANTAIL_REDIS", url.as_bytes())]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(
                said.starts_with("fantail: FANTAIL_REDIS: ") && !said.contains("S3") && !said.contains("cret"),
                "{said}"
            );
        }
    }
    for (flag, url) in [
        ("--forward-url", "https://u:S3cret@h/auth"),
        ("--jwt-jwks-url", "https://u:S3cret@h/keys"),
        ("--public-url", "https://u:S3cret@h"),
        ("--otlp-endpoint", "https://u:S3cret@h"),
        ("--redis", "redis://h?auth=S3cret"),
    ] {
        let output = fantail(&[flag, url], &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(&format!("fantail: {flag}: ")) && !said.contains("S3cret"), "{said}");
    }
    for argument in ["redis://:S3cret@h", "h,password=S3cret"] {
        let said = String::from_utf8_lossy(&fantail(&["serve", argument], &[]).stderr).into_owned();
        assert!(!said.contains("S3cret"), "{said}");
    }
}

#[test]
fn a_password_that_cuts_the_url_in_pieces_is_told_how_to_write_it() {
    for url in ["redis://:a#b@h", "redis://:a/b@h", "redis://u:1?b@h", "redis-sentinel://u:1/b@h/m"] {
        let said = String::from_utf8_lossy(&fantail(&["--redis", url], &[]).stderr).into_owned();
        assert!(said.contains("in a user or a password # is written %23, / is %2F, ? is %3F"), "{said}");
    }
}
