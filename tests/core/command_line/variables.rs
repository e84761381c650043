//! Variables of the environment that no command knows.

use super::{assert_usage_error, fantail, text};
use crate::support::node::Node;

#[test]
fn a_misspelt_one_is_refused_and_named_without_its_value() {
    for command in [&["serve"][..], &["check"], &["tail", "a"], &["top"], &["publish", "a", "x"]] {
        let output = fantail(command).env("FANTAIL_HEARTBEET", "a-secret").output().expect("the binary");
        assert_usage_error(&output, "fantail: unknown variable FANTAIL_HEARTBEET; is FANTAIL_HEARTBEAT meant?");
    }
}

#[test]
fn one_that_is_like_none_is_told_in_the_log_and_fails_the_check() {
    let variables =
        [("FANTAIL_SOMETHING_ELSE", "a-secret"), ("FANTAIL_URL", "http://n"), ("FANTAIL_PORT", "tcp://10.0.0.1:80")];
    let node = Node::with(&[], &variables);
    node.logs(&["WARN", "no command knows", "FANTAIL_SOMETHING_ELSE"]);
    assert!(!node.log().contains("a-secret") && !node.log().contains("FANTAIL_URL"), "{}", node.log());
    let output = fantail(&["check"]).envs(variables).output().expect("the binary");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL  environment: no command knows the variable FANTAIL_SOMETHING_ELSE\n"), "{said}");
    assert!(!said.contains("a-secret") && !said.contains("FANTAIL_PORT") && !said.contains("FANTAIL_URL"), "{said}");
}

#[test]
fn an_empty_one_counts_as_unset() {
    let variables = [("FANTAIL_LISTEN", ""), ("FANTAIL_SOMETHING_ELSE", "")];
    let output = fantail(&["check"]).envs(variables).output().expect("the binary");
    assert!(output.status.success() && !text(&output.stdout).contains("environment"), "{}", text(&output.stdout));
}

#[test]
fn the_check_names_a_setting_without_effect() {
    let output = fantail(&["check", "--replay-limit", "5"]).output().expect("the binary");
    let said = text(&output.stdout);
    assert!(
        output.status.success() && said.contains("warn  settings: --replay-limit has no effect any more"),
        "{said}"
    );
}

#[test]
fn what_kubernetes_puts_beside_a_service_is_no_setting() {
    let variables = [
        ("FANTAIL_SERVICE_HOST", "10.0.0.1"),
        ("FANTAIL_SERVICE_PORT", "80"),
        ("FANTAIL_SERVICE_PORT_HTTP", "80"),
        ("FANTAIL_PORT", "tcp://10.0.0.1:80"),
        ("FANTAIL_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("FANTAIL_PORT_80_TCP_PROTO", "tcp"),
        ("FANTAIL_PORT_80_TCP_PORT", "80"),
        ("FANTAIL_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("FANTAIL_ADMIN_SERVICE_HOST", "10.0.0.2"),
        ("FANTAIL_ADMIN_PORT_9090_UDP", "udp://10.0.0.2:9090"),
    ];
    let output = fantail(&["check"]).envs(variables).output().expect("the binary");
    assert!(output.status.success() && !text(&output.stdout).contains("environment"), "{}", text(&output.stdout));
}
