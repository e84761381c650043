use super::*;

/// Public keys of RFC 7517, appendix A.1, and of RFC 8037, appendix A.2.
const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const EC_X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const EC_Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn rsa(more: &str) -> String {
    format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"{more}}}"#)
}

fn ec(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"{more}}}"#)
}

fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn read(text: &str, algorithm: Option<Algorithm>) -> Result<String, String> {
    KeySet::from_file(text.as_bytes(), algorithm).map(|set| set.algorithms()).map_err(|error| error.to_string())
}

#[test]
fn a_key_has_one_algorithm() {
    let is = |name: &str| Ok(name.to_owned());
    assert_eq!(read(&rsa(""), None), is("RS256"));
    assert_eq!(read(&rsa(r#","alg":"PS512""#), Some(Algorithm::RS384)), is("PS512"));
    assert_eq!(read(&rsa(""), Some(Algorithm::RS384)), is("RS384"));
    assert_eq!(read(&ec(""), None), is("ES256"));
    assert_eq!(read(&ec(""), Some(Algorithm::RS384)), is("ES256"), "that is said of keys that it fits");
    assert_eq!(read(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED_X}"}}"#), None), is("EdDSA"));
    assert_eq!(read(&set(&[rsa(""), ec("")]), None), is("ES256, RS256"));
    assert_eq!(read(&"s".repeat(32), None), is("HS256"));
    assert_eq!(read(&format!("{}\r\n", "s".repeat(64)), Some(Algorithm::HS512)), is("HS512"));
}

#[test]
fn keys_that_are_not_for_signatures_are_left_out() {
    let others = [
        rsa(r#","use":"enc""#),
        rsa(r#","alg":"RSA-OAEP""#),
        rsa(r#","key_ops":["encrypt"]"#),
        r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(),
        r#"{"kty":"new"}"#.to_owned(),
        "1".to_owned(),
    ];
    for other in &others {
        assert_eq!(read(&set(&[other.clone(), ec("")]), None), Ok("ES256".into()), "{other}");
        assert!(read(&set(std::slice::from_ref(other)), None).unwrap_err().starts_with("there is no key"), "{other}");
    }
}

#[test]
fn what_cannot_be_a_key_is_said() {
    let secret = format!(r#"{{"kty":"oct","k":"{}"}}"#, "A".repeat(64));
    let small = rsa("").replace(RSA_N, &RSA_N[..200]);
    for (text, algorithm, part) in [
        ("", None, "0 bytes; HS256 needs 32"),
        (&"s".repeat(31), None, "31 bytes"),
        (&"s".repeat(32), Some(Algorithm::HS384), "HS384 needs 48"),
        (&"s".repeat(32), Some(Algorithm::RS256), "not RS256"),
        ("{", None, "no JSON"),
        ("{}", None, "neither \"keys\""),
        (r#"{"keys":[]}"#, None, "there is no key"),
        (&set(&[secret.clone(), rsa("")]), None, "mixes shared secrets with public keys"),
        (&small, None, "an RSA key of"),
        (&ec(r#","alg":"RS256","kid":"k""#), None, "key \"k\": it is a key for ES256"),
        (&ec("").replace("P-256", "P-384"), None, "its coordinates are not of its curve"),
        (&set(&vec![ec(""); MAX_KEYS + 1]), None, "101 keys"),
        ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", None, "private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n", None, "private key"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", None, "certificate"),
        ("-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n", None, "DH PARAMETERS"),
        ("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n", None, "no public key of"),
    ] {
        let error = read(text, algorithm).unwrap_err();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("ssss"), "a secret is not quoted");
    }
    let error = KeySet::from_jwks(set(&[secret]).as_bytes(), Origin::Server, None).unwrap_err().to_string();
    assert!(error.contains("shared secret"), "{error}");
}

#[test]
fn a_key_that_cannot_be_used_is_skipped_and_said() {
    let small = rsa(r#","kid":"small""#).replace(RSA_N, &RSA_N[..200]);
    let secret = format!(r#"{{"kty":"oct","kid":"secret","k":"{}"}}"#, "A".repeat(64));
    for (bad, part) in [
        (small, "key \"small\": an RSA key of"),
        (ec(r#","alg":"RS256","kid":"k""#), "key \"k\": it is a key for ES256"),
        (ec("").replace("P-256", "P-384"), "key \"without kid\": its coordinates"),
        (ec(r#","kid":"n""#).replace(EC_X, "=="), "key \"n\": "),
        (r#"{"kty":"RSA","kid":"half","e":"AQAB"}"#.to_owned(), "key \"half\": it lacks members"),
        (secret, "key \"secret\": it is a shared secret"),
    ] {
        for keys in [[bad.clone(), ec("")], [ec(""), bad.clone()]] {
            let read = KeySet::from_jwks(set(&keys).as_bytes(), Origin::Server, None).unwrap();
            assert_eq!((read.count(), read.skipped().len()), (1, 1), "{bad}");
            assert!(read.skipped()[0].starts_with(part), "{:?}", read.skipped());
            assert!(!read.skipped()[0].contains("AAAA"), "a secret is not quoted");
        }
        let error = KeySet::from_jwks(set(&[bad]).as_bytes(), Origin::Server, None).unwrap_err().to_string();
        assert!(error.starts_with("there is no key in it") && error.contains(part), "{error}");
    }
    let all = KeySet::from_jwks(set(&vec![ec(""); MAX_KEYS]).as_bytes(), Origin::Server, None).unwrap();
    assert_eq!(all.candidates(None, Algorithm::ES256).count(), MAX_KEYS);
    let error = KeySet::merge(vec![all.clone(), all]).unwrap_err().to_string();
    assert!(error.contains("200 keys"), "of all files together: {error}");
}

#[test]
fn candidates_are_of_the_algorithm_and_the_id() {
    let text = set(&[ec(r#","kid":"a""#), ec(r#","kid":"b""#), rsa(r#","kid":"a""#)]);
    let set = KeySet::from_file(text.as_bytes(), None).unwrap();
    let count = |kid, algorithm| set.candidates(kid, algorithm).count();
    assert_eq!((count(Some("a"), Algorithm::ES256), count(None, Algorithm::ES256)), (1, 2));
    assert_eq!((count(Some("b"), Algorithm::RS256), count(Some("c"), Algorithm::ES256)), (0, 0));
    assert!(set.knows(Some("a")) && set.knows(None) && !set.knows(Some("c")));
    let secret = KeySet::from_file(&[b's'; 32], None).unwrap();
    assert!(secret.knows(Some("anything")) && secret.candidates(Some("x"), Algorithm::HS256).count() == 1);
    assert_eq!(secret.candidates(None, Algorithm::HS384).count(), 0);
    assert!(KeySet::merge(vec![secret, set]).is_err());
}
