//! Content coding: who gets a compressed event stream (RFC 9110, section 12.5.3).

use crate::config::Compress;
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, HeaderValue, VARY};

/// Whether a request's stream is to be compressed.
///
/// `On` leaves out requests with cookies: where an attacker's text stands in one event with a secret, the event's size
/// tells of the secret (the BREACH attack), and a cookie is what lets an attacker's page open a victim's stream.
pub fn wants_gzip(headers: &HeaderMap, compress: Compress) -> bool {
    match compress {
        Compress::Off => false,
        Compress::On => !headers.contains_key(COOKIE) && accepts_gzip(headers),
        Compress::Always => accepts_gzip(headers),
    }
}

/// Says in an answer of hyper's that its body is compressed.
pub fn say_gzip(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Whether `gzip` is among the codings that a client takes, by its own name or by `*`, with a weight above zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let weights = codings.flat_map(|value| value.split(',')).filter_map(weight);
    let mut accepted = None;
    for (coding, weight) in weights {
        let own = coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip");
        if own {
            return weight > 0.0;
        }
        if coding == "*" {
            accepted = Some(weight > 0.0);
        }
    }
    accepted.unwrap_or(false)
}

/// One element, `coding;q=0.5`; a weight that cannot be read is none.
fn weight(element: &str) -> Option<(&str, f32)> {
    let mut parts = element.split(';').map(str::trim);
    let coding = parts.next().filter(|coding| !coding.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((coding, quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &[&'static str], cookie: bool, compress: Compress) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        if cookie {
            headers.insert(COOKIE, HeaderValue::from_static("a=b"));
        }
        wants_gzip(&headers, compress)
    }

    #[test]
    fn those_who_ask() {
        for accept in ["gzip", "GZIP", "x-gzip", "br, gzip;q=0.5", "gzip ; q=1.0", "*", "identity, *;q=0.1"] {
            assert!(wants(&[accept], false, Compress::On), "{accept}");
            assert!(!wants(&[accept], false, Compress::Off), "{accept}");
        }
        assert!(wants(&["br", "gzip"], false, Compress::On), "two header lines");
    }

    #[test]
    fn and_nobody_else() {
        for accept in ["", "br, zstd", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "gzip;q=none", "xgzip", ", ;"] {
            assert!(!wants(&[accept], false, Compress::On), "{accept}");
        }
        assert!(!wants(&[], false, Compress::Always));
    }

    #[test]
    fn cookies_only_where_switched_on() {
        assert!(!wants(&["gzip"], true, Compress::On));
        assert!(wants(&["gzip"], true, Compress::Always));
    }
}
