//! Any head is searched for a token without harm; a refusal quotes none; a token never stays in what is written down.
//! Any text is taken for a signed token, and any bytes for keys.
#![no_main]

use fantail::auth::keys::{KeySet, Origin};
use fantail::auth::token::{MAX_BYTES, find, without_token};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(bool, &[u8])>, &str, &str)| {
    let (lines, query, target) = input;
    let mut headers = HeaderMap::new();
    for (cookie, value) in &lines {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(if *cookie { COOKIE } else { AUTHORIZATION }, value);
        }
    }
    match find(&headers, query, Some("sid")) {
        Ok(Some((token, _))) => {
            assert!(token.as_str().len() <= MAX_BYTES);
            assert_eq!(format!("{token:?}"), "Token(…)");
        }
        Ok(None) => {}
        Err(problem) => {
            assert!(problem.detail.len() < 200);
            assert_eq!(problem.into_response().status(), 401);
        }
    }
    let clean = without_token(target);
    if let Some((_, query)) = clean.split_once('?') {
        assert!(form_urlencoded::parse(query.as_bytes()).all(|(name, _)| name != "token"), "{clean}");
    }
    assert!(clean.len() <= target.len());
    for (_, bytes) in &lines {
        for read in [KeySet::from_file(bytes, None), KeySet::from_jwks(bytes, Origin::Server, None)] {
            match read {
                Ok(set) => assert!(!set.is_empty()),
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
});
