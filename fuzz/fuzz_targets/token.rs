//! Any head is searched for a token without harm: what is found is what stood there, and a refusal quotes none.
//! Any text is taken for a signed token, and any bytes for keys.
#![no_main]

use fantail::auth::keys::{KeySet, Origin};
use fantail::auth::token::{MAX_BYTES, Source, find};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(bool, &[u8])>, &str)| {
    let (lines, query) = input;
    let mut headers = HeaderMap::new();
    for (cookie, value) in &lines {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(if *cookie { COOKIE } else { AUTHORIZATION }, value);
        }
    }
    match find(&headers, query, Some("sid")) {
        Ok(Some((token, source))) => {
            assert!(token.as_str().len() <= MAX_BYTES);
            assert_eq!(format!("{token:?}"), "Token(…)");
            // A cookie of another name, or of two values, is nobody's token.
            if source == Source::Cookie {
                let values = cookies(&headers);
                assert!(!values.is_empty() && values.iter().all(|value| value == token.as_str()), "{values:?}");
            }
        }
        Ok(None) => assert!(cookies(&headers).iter().all(String::is_empty)),
        Err(problem) => {
            assert!(problem.detail.len() < 200);
            assert_eq!(problem.into_response().status(), 401);
        }
    }
    for (_, bytes) in &lines {
        for read in [KeySet::from_file(bytes, None), KeySet::from_jwks(bytes, Origin::Server, None)] {
            match read {
                Ok(set) => assert!(set.count() > 0),
                Err(why) => assert!(!why.to_string().is_empty()),
            }
        }
    }
});

/// The values of the cookie, read once more: by its name, spaces around and quotes within left out.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines: Vec<&str> = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut values = Vec::new();
    for pair in lines.join(";").split(';') {
        let Some(at) = pair.find('=') else { continue };
        if pair[..at].trim() == "sid" {
            let value = pair[at + 1..].trim();
            let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
            values.push(if quoted { value[1..value.len() - 1].to_owned() } else { value.to_owned() });
        }
    }
    values
}
