use super::*;

#[test]
fn what_the_server_said_and_what_fred_said() {
    for refused in [
        "ERR no such key",
        "WRONGTYPE Operation …",
        "NOPERM …",
        "OOM command …",
        "READONLY You …",
        "Unsupported operation: xinfo",
        "unknown command",
        "no",
    ] {
        assert!(matches!(reply(refused.into()), BackplaneError::Refused { .. }), "{refused}");
    }
    for down in ["LOADING Redis is loading", "MASTERDOWN Link", "NOAUTH Authentication", "Missing response.", ""] {
        assert!(matches!(reply(down.into()), BackplaneError::Down { .. }), "{down}");
    }
    for kind in [ErrorKind::Timeout, ErrorKind::IO, ErrorKind::Canceled, ErrorKind::Protocol, ErrorKind::Tls] {
        assert!(matches!(judge(&Error::new(kind, "ERR said")), BackplaneError::Down { .. }));
    }
}

#[test]
fn each_reply_has_its_kind() {
    for (said, kind) in [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Refusal::WrongType),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", Refusal::ForbiddenKey),
        ("NOPERM this user has no permissions to run the 'xread' command", Refusal::Forbidden),
        ("EXECABORT Transaction discarded because of: NOPERM this user has no permissions", Refusal::Forbidden),
        ("ERR unknown command 'XINFO'", Refusal::UnknownCommand),
        ("ERR unknown subcommand 'tracking'", Refusal::UnknownCommand),
        ("ERR unknown command `SENTINEL`", Refusal::NoSentinel),
        ("ERR This instance has cluster support disabled", Refusal::NoCluster),
        ("ERR syntax error", Refusal::BadArguments),
        ("ERR no such key", Refusal::NoSuchKey),
        ("CROSSSLOT Keys in request don't hash to the same slot", Refusal::CrossSlot),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Refusal::TryAgain),
        ("CLUSTERDOWN Hash slot not served", Refusal::ClusterDown),
        ("READONLY You can't write against a read only replica.", Refusal::ReadOnly),
        ("MISCONF Redis is configured to save RDB snapshots", Refusal::DiskFull),
        ("OOM command not allowed when used memory > 'maxmemory'.", Refusal::OutOfMemory),
        ("NOREPLICAS Not enough good replicas to write.", Refusal::NoReplicas),
        ("ERR max number of clients reached", Refusal::NoRoom),
        ("ERR what?", Refusal::Plain),
        ("Unsupported operation: xinfo", Refusal::Other),
    ] {
        assert_eq!(reply(said.into()).refusal(), Some(&kind), "{said}");
    }
}

#[test]
fn each_failure_of_a_connection_has_its_kind() {
    let of = |kind, said: &str| judge(&Error::new(kind, said.to_owned())).outage();
    for (said, outage) in [
        ("invalid peer certificate: UnknownIssuer", Outage::Untrusted),
        ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", Outage::AuthorityAsServer),
        ("invalid peer certificate: NotValidForName", Outage::WrongName),
        ("received fatal alert: HandshakeFailure", Outage::WantsCertificate),
        ("received corrupt message of type InvalidContentType", Outage::NoTls),
        ("Connection reset by peer (os error 104)", Outage::HungUp),
        ("Request timed out.", Outage::TimedOut),
        ("Connection refused (os error 111)", Outage::Other),
    ] {
        assert_eq!(of(ErrorKind::IO, said), outage, "{said}");
    }
    assert_eq!(of(ErrorKind::Auth, "WRONGPASS invalid username-password pair"), Outage::WrongPassword);
    assert_eq!(broken(&io::Error::new(io::ErrorKind::TimedOut, "waited")).outage(), Outage::NoAnswer);
    assert_eq!(broken(&io::Error::from_raw_os_error(104)).outage(), Outage::HungUp);
}

#[test]
fn what_a_failure_says_of_resp3() {
    let of = |error| resp3(&Unopened::at("HELLO 3", error));
    assert_eq!(of(BackplaneError::refused("what?")), Resp3::Refused);
    assert_eq!(of(down(Outage::HungUp, "the connection was closed")), Resp3::Doubtful);
    assert_eq!(of(reply("NOAUTH who?".into())), Resp3::NotConcerned);
    assert_eq!(resp3(&down(Outage::HungUp, "the connection was closed").into()), Resp3::NotConcerned);
}

#[test]
fn redirections() {
    let asked = Host { name: "me".into(), port: 1 };
    let host = |name: &str| Host { name: name.into(), port: 7001 };
    let redirect = |said: &str| redirect(reply(said.into()).refusal()?, &asked);
    assert_eq!(redirect("MOVED 3999 127.0.0.1:7001"), Some(Redirect::Moved(host("127.0.0.1"))));
    assert_eq!(redirect("MOVED 3999 :7001"), Some(Redirect::Moved(host("me"))));
    assert_eq!(redirect("ASK 3999 ::1:7001"), Some(Redirect::Ask(host("::1"))));
    assert_eq!(redirect("CLUSTERDOWN Hash slot not served"), Some(Redirect::Later));
    for odd in ["", "MOVED", "MOVED 1", "MOVED 1 h", "MOVED 1 h:x", "ASK 1 h:99999", "ERR MOVED 1 h:1"] {
        assert_eq!(redirect(odd), None, "{odd}");
    }
}

#[test]
fn repeated_arguments_are_cut_off() {
    let said = "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `secret`, ";
    let error = reply(said.into());
    assert_eq!(error.text(), "ERR unknown command `HELLO`");
    assert!(error.refusal().is_some_and(Refusal::is_for_good));
}

#[test]
fn an_error_of_the_system_is_told_without_its_wrapping() {
    let text = |said: &str| judge(&Error::new(ErrorKind::IO, said.to_owned())).text().to_owned();
    let said = r#"Custom { kind: Uncategorized, error: "failed to lookup address information" }"#;
    assert_eq!(text(said), "failed to lookup address information");
    let said = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
    assert_eq!(text(said), "Connection refused");
}

#[test]
fn of_several_reasons_the_one_that_can_be_mended_counts() {
    let host = Host { name: "h".into(), port: 1 };
    let mut failures = Failures::default();
    failures.add(&host, &down(Outage::NoConnection, "late"));
    failures.add(&host, &reply("NOAUTH who?".into()));
    assert_eq!(failures.into_error("none: "), down(Outage::NoPassword, "none: h:1: late; h:1: NOAUTH who?"));
    let mut failures = Failures::default();
    failures.add(&host, &down(Outage::NoConnection, "late"));
    failures.add(&host, &down(Outage::HungUp, "gone"));
    assert_eq!(failures.into_error("").outage(), Outage::NoConnection);
}
