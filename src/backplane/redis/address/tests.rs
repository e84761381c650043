use super::*;

fn host(name: &str, port: u16) -> Host {
    Host { name: name.into(), port }
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
    assert_eq!((address.access.username.as_deref(), address.access.password.as_deref()), (Some("u"), Some("p@s/")));
    assert!(address.access.tls.is_none());
    let address = Address::parse("redis-sentinel://:p@a/m?sentinel_user=su&sentinel_password=sp").unwrap();
    assert_eq!(address.place, Place::Sentinel(vec![host("a", 26_379)], "m".into()));
    assert_eq!(address.access.sentinel_password.as_deref(), Some("sp"));
    let address = Address::parse("rediss://h?ca=/my%20ca.pem").unwrap();
    assert_eq!(address.access.tls.clone().unwrap().ca.unwrap().to_str(), Some("/my ca.pem"));
    assert_eq!(Address::parse("unix:/r?user=u&password=p").unwrap().access.password.as_deref(), Some("p"));
}

#[test]
fn clear_errors_that_name_the_input() {
    for (text, error) in [
        ("localhost:6379", format!("localhost:6379: unknown scheme \"localhost\"; use {FORMS}")),
        ("127.0.0.1", "127.0.0.1: no URL: relative URL without a base".into()),
        ("redis://", "redis://: there is no host".into()),
        ("redis://h:99999", "redis://h:99999: no URL: invalid port number".into()),
        ("redis://h/-1", "redis://h/-1: \"-1\" is no database number (0 to 255)".into()),
        ("redis://h/256", "redis://h/256: \"256\" is no database number (0 to 255)".into()),
        ("redis://h?x=1", "redis://h?x=1: unknown parameter \"x\"".into()),
        ("redis://a,b", "redis://a,b: one host only; several are for redis-sentinel:// and redis-cluster://".into()),
        (
            "redis://h?ca=/x",
            "redis://h?ca=/x: ca, cert and key are for TLS: rediss://, rediss-sentinel:// or rediss-cluster://".into(),
        ),
        ("rediss://h?cert=/x", "rediss://h:6379/0: cert and key belong together".into()),
        (
            "redis-sentinel://h",
            "redis-sentinel://h: the name of the primary is missing: redis-sentinel://host,host/NAME".into(),
        ),
        ("redis-cluster://h/1", "redis-cluster://h/1: a cluster has no databases but 0".into()),
        ("redis-cluster://a,", "redis-cluster://a,: there is no host".into()),
    ] {
        let whole = Address::parse(text).and_then(|address| address.completed(&Access::default()));
        assert_eq!(whole.unwrap_err().to_string(), error);
    }
    for text in ["unix:run/r.sock", "unix://host/r.sock", "unix:/", "unix:"] {
        assert_eq!(Address::parse(text).err(), Some(AddressError::NoPath(text.into())));
    }
}

#[test]
fn what_the_url_leaves_out_comes_from_elsewhere() {
    let files = Files { ca: Some("/ca".into()), cert: Some("/cert".into()), key: Some("/key".into()) };
    let more = Access {
        username: Some("more".into()),
        sentinel_username: Some("s".into()),
        password_file: Some("/password".into()),
        tls: Some(files.clone()),
        ..Access::default()
    };
    let address = Address::parse("rediss-sentinel://u:p@h/m?ca=/own").unwrap().completed(&more).unwrap();
    assert_eq!(
        (address.access.username.as_deref(), address.access.sentinel_username.as_deref()),
        (Some("u"), Some("s"))
    );
    assert_eq!(address.access.password_file.as_deref(), Some(std::path::Path::new("/password")));
    assert_eq!(address.access.tls, Some(Files { ca: Some("/own".into()), ..files }));
    let plain = Address::parse("redis://h").unwrap().completed(&more).unwrap_err();
    assert!(plain.to_string().starts_with("redis://h:6379/0: ca, cert and key are for TLS"), "{plain}");
}

#[test]
fn credentials_are_never_shown_in_errors() {
    for text in [
        "redis://u:secret@h:x",
        "rediss://u:se@secret@h:y",
        "redis://u:secret@h/x",
        "redis://u:secret@",
        "redis-sentinel://h?sentinel_password=secret",
    ] {
        let error = Address::parse(text).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
