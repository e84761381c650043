//! Every refusal: its status, its code, and that it says nothing about which channels exist.

use super::{bearer, node};
use crate::support::jwt::{Folder, Pair, SECRET, hs256, now, signed, subscriber, token};
use crate::support::node::Node;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

fn refused(node: &Node, token: &str, status: u16, code: &str, part: &str) {
    let (name, value) = bearer(token);
    let answer = node.ask("GET", "/events/a", &[(name, &value)], "");
    let detail = answer.problem(status, code);
    assert!(detail.contains(part), "{detail} has no {part:?}");
    let challenge = answer.head.header("www-authenticate");
    assert_eq!(challenge, (status == 401).then_some("Bearer error=\"invalid_token\""), "{detail}");
    assert_eq!(answer.head.header("cache-control"), Some("no-store"));
}

/// The node still takes good ones.
fn takes_good_ones(node: &Node) {
    drop(node.subscribe(&format!("/events/a?token={}", subscriber(&["a"]))));
}

#[test]
fn tokens_that_are_none_or_are_tampered_with() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let good = subscriber(&["a"]);
    let [header, claims, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let other_claims = URL_SAFE_NO_PAD.encode(json!({"exp": now() + 60, "fantail": {"subscribe": ["**"]}}).to_string());
    let long = format!("{good}{}", "x".repeat(9000));
    for broken in [
        "x",
        "..",
        "a.b.c",
        &format!("{header}.{claims}"),
        &format!("{header}.{claims}."),
        &format!("{header}.{claims}.{signature}.{signature}"),
        &format!("{header}.{claims}.{}", &signature[..20]),
        &format!("{header}.{other_claims}.{signature}"),
        &format!("{header}.{claims}.{signature}="),
        &format!("{header}.{claims} .{signature}"),
        &long,
    ] {
        refused(&node, broken, 401, "bad_token", "the token is refused");
    }
    takes_good_ones(&node);
}

#[test]
fn an_algorithm_is_the_keys_never_the_tokens() {
    let folder = Folder::new();
    let rsa = Pair::rsa();
    let pem = rsa.pem();
    let on_secret = node(&folder, &[]);
    let on_public = Node::start(&["--auth", "jwt", "--jwt-key", &folder.write("public.pem", &pem)]);
    let claims = json!({"exp": now() + 600, "fantail": {"subscribe": ["a"]}});
    for algorithm in ["none", "None", "NONE", "", "hs256", "HS1", "RSA-OAEP"] {
        let unsigned = token(&json!({"alg": algorithm}), &claims, |_| Vec::new());
        refused(&on_secret, &unsigned, 401, "bad_token", "algorithm");
        refused(&on_public, &unsigned, 401, "bad_token", "algorithm");
        let signed = token(&json!({"alg": algorithm}), &claims, |message| hs256(SECRET, message));
        refused(&on_secret, &signed, 401, "bad_token", "algorithm");
    }
    // The public key, which everybody knows, as a shared secret.
    let der = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let trimmed = pem.trim_end();
    for secret in [pem.as_bytes(), trimmed.as_bytes(), der.as_bytes()] {
        let forged = token(&json!({"alg": "HS256"}), &claims, |message| hs256(secret, message));
        refused(&on_public, &forged, 401, "bad_token", "no key of this node verifies");
    }
    // A key that the token brings along, and one that it says where to find.
    let mut own = Pair::p256().jwk();
    own["alg"] = "ES256".into();
    let mine = Pair::p256();
    for header in [
        json!({"alg": "ES256", "jwk": mine.jwk()}),
        json!({"alg": "ES256", "jwk": own}),
        json!({"alg": "ES256", "jku": "http://127.0.0.1:1/keys"}),
        json!({"alg": "ES256", "x5u": "http://127.0.0.1:1/keys"}),
        json!({"alg": "HS256", "kid": "../../../dev/null"}),
    ] {
        let forged = token(&header, &claims, |message| mine.sign("ES256", message));
        refused(&on_public, &forged, 401, "bad_token", "");
        refused(&on_secret, &forged, 401, "bad_token", "");
    }
    // The right key, another algorithm of its own.
    for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        refused(&on_public, &rsa.token(algorithm, None), 401, "bad_token", "no key of this node verifies");
    }
    let critical = token(&json!({"alg": "HS256", "crit": ["exp"]}), &claims, |message| hs256(SECRET, message));
    refused(&on_secret, &critical, 401, "bad_token", "critical");
    drop(on_public.subscribe(&format!("/events/a?token={}", rsa.token("RS256", None))));
    takes_good_ones(&on_secret);
}

#[test]
fn claims_that_are_missing_wrong_or_out_of_time() {
    let folder = Folder::new();
    let node = node(&folder, &["--jwt-issuer", "me,you", "--jwt-audience", "events", "--jwt-leeway", "0s"]);
    let with = |changes: Value| {
        let grants = json!({"subscribe": ["a"]});
        let mut claims = json!({"iss": "me", "aud": ["events", "x"], "exp": now() + 600, "fantail": grants});
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        token(&json!({"alg": "HS256"}), &claims, |message| hs256(SECRET, message))
    };
    for (changes, code, part) in [
        (json!({"exp": now() - 10}), "token_expired", "expired"),
        (json!({"exp": null}), "bad_token", "no claim exp"),
        (json!({"exp": "soon"}), "bad_token", "exp"),
        (json!({"exp": {}}), "bad_token", "exp"),
        (json!({"nbf": now() + 600}), "bad_token", "not valid yet"),
        (json!({"nbf": "x"}), "bad_token", "nbf"),
        (json!({"iss": "them"}), "bad_token", "issuer"),
        (json!({"iss": null}), "bad_token", "no claim iss"),
        (json!({"iss": 1}), "bad_token", "iss"),
        (json!({"aud": "other"}), "bad_token", "audience"),
        (json!({"aud": null}), "bad_token", "no claim aud"),
        (json!({"sub": ["a"]}), "bad_token", "its claims cannot be read"),
        (json!({"sub": "x".repeat(300)}), "bad_token", "claim sub is longer"),
        (json!({"fantail": {"subscribe": ["a*"]}}), "bad_token", "claim fantail.subscribe: pattern \"a*\""),
        (json!({"fantail": {"limits": []}}), "bad_token", "claim fantail.limits"),
    ] {
        refused(&node, &with(changes), 401, code, part);
    }
    for good in [json!({}), json!({"iss": "you", "aud": "events"}), json!({"nbf": now() - 1}), json!({"x": [1]})] {
        drop(node.subscribe(&format!("/events/a?token={}", with(good))));
    }
    let (name, value) = bearer(&with(json!({"fantail": {}})));
    node.ask("GET", "/events/a", &[(name, &value)], "").problem(403, "forbidden");
    node.metric_becomes("fantail_auth_total{outcome=\"token_expired\"}", 1.0);
}

#[test]
fn an_audience_needs_somebody_who_is_it() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    refused(&node, &signed(json!({"aud": "events", "fantail": {"subscribe": ["a"]}})), 401, "bad_token", "audience");
}

#[test]
fn a_refusal_does_not_tell_which_channels_exist() {
    let folder = Folder::new();
    let node = node(&folder, &["--max-channel-subscribers", "1"]);
    let all = subscriber(&["**"]);
    let (name, value) = bearer(&signed(json!({"fantail": {"subscribe": ["**"], "publish": ["**"]}})));
    assert_eq!(node.ask("POST", "/events/full", &[(name, &value)], "1").head.status, 201);
    assert_eq!(node.ask("POST", "/events/done?final=1", &[(name, &value)], "1").head.status, 201);
    let _one = node.subscribe(&format!("/events/full?token={all}"));
    let (nothing, expired) = (subscriber(&["other"]), signed(json!({"exp": now() - 600})));
    for method in ["GET", "HEAD", "POST"] {
        for token in ["", &nothing, &expired, "x.y.z"] {
            let (name, value) = bearer(token);
            let mut seen = Vec::new();
            for channel in ["full", "none", "done"] {
                let headers = [(name, value.as_str()), ("Last-Event-ID", "1-0")];
                let headers = if token.is_empty() { &headers[1..] } else { &headers[..] };
                let answer = node.ask(method, &format!("/events/{channel}?since=earliest"), headers, "x");
                let mut head = answer.head.clone();
                head.headers.retain(|(name, _)| name != "date");
                assert!(matches!(head.status, 401 | 403), "{method} {channel} {head:?}");
                seen.push((format!("{head:?}"), answer.text().replace(channel, "")));
            }
            assert!(seen.windows(2).all(|two| two[0] == two[1]), "{method}: {seen:?}");
        }
    }
}

#[test]
fn nobody_reads_or_writes_the_clusters_own_channels() {
    let folder = Folder::new();
    let node = node(&folder, &["--public", "**"]);
    let (name, value) =
        bearer(&signed(json!({"fantail": {"subscribe": ["**", "~control"], "publish": ["**", "~control"]}})));
    let auth = [(name, value.as_str())];
    for target in ["/events/~control", "/events?channels=a,~control", "/events/%7Econtrol"] {
        node.ask("GET", target, &auth, "").problem(403, "reserved_channel");
        node.get(target).problem(403, "reserved_channel");
    }
    node.ask("POST", "/events/~control", &auth, "x").problem(403, "reserved_channel");
    let line = "{\"channel\":\"~control\",\"data\":\"x\"}\n";
    node.ask("POST", "/events", &auth, line).problem(403, "reserved_channel");
}
