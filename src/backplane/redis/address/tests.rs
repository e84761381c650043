use super::*;
use crate::backplane::redis::access::Files;
use crate::backplane::redis::credential::Credential;

fn host(name: &str, port: u16) -> Host {
    Host { name: name.into(), port }
}

fn known(text: &'static str) -> Option<Credential> {
    Some(Credential::new(text).unwrap())
}

fn password(url: &str) -> Option<String> {
    Some(Address::parse(url).unwrap().access.password.as_ref()?.text()?.to_owned())
}

#[test]
fn every_form_is_shown_without_credentials() {
    for (text, shown) in [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
        ("valkey://v/", "redis://v:6379/0"),
        ("redis://u:p%40s@h:1/2", "redis://h:1/2"),
        ("redis://u@h", "redis://h:6379/0"),
        ("redis://h?db=4", "redis://h:6379/4"),
        ("rediss://u:secret@h/1?ca=/ca.pem&cert=/c.pem&key=/k.pem", "rediss://h:6379/1"),
        ("unix:/run/my%20redis.sock?db=4&password=secret", "unix:/run/my redis.sock?db=4"),
        ("unix:///run/r.sock", "unix:/run/r.sock?db=0"),
        ("redis-sentinel://a,b:5,[::1]/main?db=2", "redis-sentinel://a:26379,b:5,[::1]:26379/main?db=2"),
        ("redis+sentinel://:secret@a/main/3", "redis-sentinel://a:26379/main?db=3"),
        ("redis-cluster://u:secret@a,b:7001", "redis-cluster://a:6379,b:7001"),
        ("rediss-cluster://a?ca=/ca.pem", "rediss-cluster://a:6379"),
    ] {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), shown, "{text}");
        assert!(!format!("{address:?} {:?}", address.access).contains("secret"));
    }
}

#[test]
fn credentials_and_files_are_read() {
    let address = Address::parse("redis://u:p%40s%2F@h").unwrap();
    assert_eq!((&address.access.username, &address.access.password), (&known("u"), &known("p@s/")));
    assert!(address.access.tls.is_none());
    let address = Address::parse("redis-sentinel://:p@a/m?sentinel_user=su&sentinel_password=sp").unwrap();
    assert_eq!(address.place, Place::Sentinel(vec![host("a", 26_379)], "m".into()));
    assert_eq!(address.access.sentinel_password, known("sp"));
    let address = Address::parse("rediss://h?ca=/my%20ca.pem").unwrap();
    assert_eq!(address.access.tls.clone().unwrap().ca.unwrap().to_str(), Some("/my ca.pem"));
    assert_eq!(password("unix:/r?user=u&password=p").as_deref(), Some("p"));
}

#[test]
fn every_byte_of_a_password_arrives() {
    let all: Vec<u8> = (1..=u8::MAX).filter(|byte| !b"\r\n".contains(byte)).collect();
    let encoded: String = all.iter().map(|byte| format!("%{byte:02X}")).collect();
    for text in [format!("redis://{encoded}:{encoded}@h"), format!("unix:/r?user={encoded}&password={encoded}")] {
        let access = Address::parse(&text).unwrap().access;
        for credential in [&access.username, &access.password] {
            assert_eq!(credential.as_ref().unwrap().bytes(), &all, "{text}");
        }
    }
    let sentinel = format!("redis-sentinel://h/m?sentinel_user=u&sentinel_password={encoded}");
    assert_eq!(Address::parse(&sentinel).unwrap().access.sentinel_password.as_ref().unwrap().bytes(), &all);
    // As they are, where they cut nothing in pieces.
    let plain = "a \t+&=;:'\"`$@%zz\\{}é";
    assert_eq!(password(&format!("redis://u:{plain}@h")).as_deref(), Some(plain));
    assert_eq!(password("unix:/r?password=a+b=/@?c").as_deref(), Some("a+b=/@?c"));
}

#[test]
fn what_would_end_a_command_is_refused_by_name() {
    for (text, error) in [
        ("redis://u:a%0Ab@h", "its password has a line feed (LF) in it, which is not allowed"),
        ("redis://u:a\nb@h", "its password has a line feed (LF) in it, which is not allowed"),
        ("redis://u%0d:p@h", "its user has a carriage return (CR) in it, which is not allowed"),
        ("redis-cluster://:%00@h", "its password has a NUL in it, which is not allowed"),
        ("unix:/r?password=%0A", "its password has a line feed (LF) in it, which is not allowed"),
        (
            "redis-sentinel://h/m?sentinel_password=%0A",
            "its sentinel_password has a line feed (LF) in it, which is not allowed",
        ),
        ("redis-sentinel://h/m%0AFLUSHALL", "its path has a line feed (LF) in it, which is not allowed"),
        ("redis://h%0Ax", "its host has a line feed (LF) in it, which is not allowed"),
        ("redis://h\rx", "its host has a carriage return (CR) in it, which is not allowed"),
    ] {
        assert_eq!(Address::parse(text).unwrap_err().to_string(), error, "{text:?}");
    }
    assert!(Address::parse(" redis://u:p@h \r\n").is_ok(), "what stands around it");
}

#[test]
fn errors_say_which_part_is_wrong() {
    for (text, error) in [
        ("127.0.0.1", format!("there is no scheme; use {FORMS}")),
        ("localhost:6379", format!("its scheme is unknown; use {FORMS}")),
        ("redis://", "there is no host".into()),
        ("redis:h", "there is no host".into()),
        ("redis://h:99999", "host 1 cannot be read: invalid port number".into()),
        ("redis-cluster://a,b c", "host 2 cannot be read: invalid domain character".into()),
        ("redis://h/-1", "what follows the host is no database number (0 to 255)".into()),
        ("redis://h/256", "what follows the host is no database number (0 to 255)".into()),
        ("redis://h?db=x", "its parameter db is no database number (0 to 255)".into()),
        (
            "redis://h?db=1&x=1",
            "parameter 2 is unknown; there are db, ca, cert, key, read, replica and replica_lag".into(),
        ),
        ("redis://a,b", "one host only; several are for redis-sentinel:// and redis-cluster://".into()),
        (
            "redis://h?ca=/x",
            "redis://: ca, cert and key are for TLS: rediss://, rediss-sentinel:// or rediss-cluster://".into(),
        ),
        ("rediss://h?cert=/x", "rediss://h:6379/0: cert and key belong together".into()),
        ("redis-sentinel://h", "the name of the primary is missing: redis-sentinel://host,host/NAME".into()),
        ("redis-cluster://h/1", "a cluster has no databases but 0".into()),
        ("redis-cluster://a,", "there is no host".into()),
    ] {
        let whole = Address::parse(text).and_then(|address| address.completed(&Access::default()));
        assert_eq!(whole.unwrap_err().to_string(), error, "{text}");
    }
    for text in ["unix:run/r.sock", "unix://host/r.sock", "unix:/", "unix:"] {
        assert_eq!(Address::parse(text).err(), Some(AddressError::NoPath));
    }
}

#[test]
fn what_cuts_a_password_in_pieces_is_to_be_encoded() {
    for text in [
        "redis://:sec#ret@h",
        "redis://:sec/ret@h",
        "redis://:sec?ret@h",
        "redis://u:12/34@h",
        "redis://u:12?34@h",
        "redis-sentinel://u:12/34@h/m",
        "redis-cluster://u:12?34@h",
        "redis://12#34@h",
        "unix:/run/r.sock?password=sec#ret",
    ] {
        let error = Address::parse(text).unwrap_err().to_string();
        assert!(error.contains("# is written %23, / is %2F, ? is %3F and @ is %40"), "{text}: {error}");
    }
    assert_eq!(password("redis://:s%23%2f%3f%40@h").as_deref(), Some("s#/?@"));
}

#[test]
fn what_the_url_leaves_out_comes_from_elsewhere() {
    let files = Files { ca: Some("/ca".into()), cert: Some("/cert".into()), key: Some("/key".into()) };
    let more = Access {
        username: known("more"),
        sentinel_username: known("s"),
        password_file: Some("/password".into()),
        tls: Some(files.clone()),
        ..Access::default()
    };
    let address = Address::parse("rediss-sentinel://u:p@h/m?ca=/own").unwrap().completed(&more).unwrap();
    assert_eq!((&address.access.username, &address.access.sentinel_username), (&known("u"), &known("s")));
    assert_eq!(address.access.password_file.as_deref(), Some(std::path::Path::new("/password")));
    assert_eq!(address.access.tls, Some(Files { ca: Some("/own".into()), ..files }));
    let plain = Address::parse("redis://h").unwrap().completed(&more).unwrap_err();
    assert!(plain.to_string().starts_with("redis://h:6379/0: ca, cert and key are for TLS"), "{plain}");
}

#[test]
fn nothing_that_cannot_be_read_is_repeated() {
    for text in [
        "redis://u:secret@h:x",
        "rediss://u:se@secret@h:y",
        "redis://u:secret@h/x",
        "redis://u:secret@",
        "redis://:secret",
        "redis://h/secret",
        "redis-sentinel://h?sentinel_password=secret",
        "host:6380,password=secret,ssl=True",
        "tcp://h?auth=secret",
        "secret://h",
        "secret",
        "redis://h?password=x@secret&bogus=1",
        "redis://h?secret",
        "redis://h?db=secret",
        "redis-sentinel://h/m/secret",
        "redis://h:secret",
        "redis://h,secret",
    ] {
        let error = Address::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn hosts_can_be_sockets_of_a_folder() {
    let more = Access { sockets: Some("/run/hosts".into()), ..Access::default() };
    let address = Address::parse("redis-cluster://a,[::1]:7001").unwrap().completed(&more).unwrap();
    for known in [host("a", 6379), host("::1", 7001)] {
        let endpoint = address.endpoint(&known);
        assert_eq!(endpoint.to_string(), format!("unix:/run/hosts/{known}"));
        assert_eq!(endpoint.host(), Some(known));
    }
}

#[test]
fn replicas_are_read_where_it_says_so() {
    let read = |text: &str| Address::parse(text).map(|address| address.replicas);
    let seconds = |lag| Duration::from_secs(lag);
    assert_eq!(read("redis-sentinel://a/m"), Ok(None));
    assert_eq!(read("redis-sentinel://a/m?read=primary"), Ok(None));
    let near = Ok(Some(ReplicaRead { hosts: Vec::new(), lag: seconds(2) }));
    assert_eq!(
        (read("redis-sentinel://a/m?read=replica"), read("redis-cluster://a?read=replica")),
        (near.clone(), near)
    );
    let named = ReplicaRead { hosts: vec![host("r", 1), host("::1", 6379)], lag: seconds(5) };
    assert_eq!(read("redis://a?read=replica&replica=r:1&replica=[::1]&replica_lag=5s"), Ok(Some(named)));
    for (text, error) in [
        (
            "redis://a?read=replica",
            "read=replica of a redis:// address needs its replicas: &replica=HOST:PORT for each",
        ),
        ("redis://a?read=all", "its parameter read is neither replica nor primary"),
        ("redis://a?replica=r:1", "its parameters replica and replica_lag are for read=replica"),
        ("redis-cluster://a?replica_lag=1s", "its parameters replica and replica_lag are for read=replica"),
        (
            "redis-cluster://a?read=replica&replica=r",
            "parameter 2 is unknown; there are db, ca, cert, key, read and replica_lag",
        ),
        (
            "redis://a?read=replica&replica=r&replica=u:secret@h",
            "its parameter replica 2 is no host: replica=HOST:PORT",
        ),
        ("redis://a?read=replica&replica=r&replica_lag=1h", "its parameter replica_lag is no time from 100ms to 1m"),
        ("unix:/r?read=replica", "parameter 1 is unknown; there are db, user and password"),
    ] {
        let found = read(text).unwrap_err().to_string();
        assert!(found.starts_with(error), "{text}: {found}");
    }
    let many: String = (0..17).map(|n| format!("&replica=r{n}")).collect();
    assert!(read(&format!("redis://a?read=replica{many}")).unwrap_err().to_string().contains("at most 16"));
}
