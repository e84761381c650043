//! Content coding: who gets a compressed event stream (RFC 9110, section 12.5.3).

use crate::config::Compress;
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, HeaderName, HeaderValue, VARY};

/// How a stream is coded, and what that depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    pub gzip: bool,
    /// For caches: the request's fields that decide.
    vary: Option<&'static str>,
}

impl Coding {
    /// Of a stream that is never compressed.
    pub const NONE: Coding = Coding { gzip: false, vary: None };

    /// What a request gets.
    ///
    /// `On` leaves out requests with cookies: where an attacker's text stands in one event with a secret, the event's size
    /// tells of the secret (the BREACH attack), and a cookie is what lets an attacker's page open a victim's stream.
    pub fn of(headers: &HeaderMap, compress: Compress) -> Coding {
        match compress {
            Compress::Off => Coding::NONE,
            Compress::On => Coding {
                gzip: !headers.contains_key(COOKIE) && accepts_gzip(headers),
                vary: Some("Accept-Encoding, Cookie"),
            },
            Compress::Always => Coding { gzip: accepts_gzip(headers), vary: Some("Accept-Encoding") },
        }
    }

    /// The coding of a stream that stays uncompressed, with its headers.
    pub fn plain(self) -> Coding {
        Coding { gzip: false, ..self }
    }

    fn headers(self) -> impl Iterator<Item = (HeaderName, &'static str)> {
        let coding = self.gzip.then_some((CONTENT_ENCODING, "gzip"));
        coding.into_iter().chain(self.vary.map(|vary| (VARY, vary)))
    }

    /// Says so in an answer of hyper's.
    pub fn apply(self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.append(name, HeaderValue::from_static(value));
        }
    }

    /// Appends the header lines to a head that is written by hand.
    pub fn write_lines(self, head: &mut Vec<u8>) {
        for (name, value) in self.headers() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
}

/// Whether `gzip` is among the codings that a client takes, by its own name or by `*`, with a weight above zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let weights = codings.flat_map(|value| value.split(',')).filter_map(weight);
    let mut accepted = None;
    for (coding, wanted) in weights {
        let own = coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip");
        if own {
            return wanted;
        }
        if coding == "*" {
            accepted = Some(wanted);
        }
    }
    accepted.unwrap_or(false)
}

/// One element, `coding;q=0.5`, and whether its weight is above zero. One that is no weight (RFC 9110, section 12.4.2) says
/// nothing for the coding: what is sent as it is, everybody understands.
fn weight(element: &str) -> Option<(&str, bool)> {
    let mut parts = element.split(';').map(str::trim);
    let coding = parts.next().filter(|coding| !coding.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((coding, quality.is_none_or(is_above_zero)))
}

/// `"0" [ "." 0*3DIGIT ] / "1" [ "." 0*3"0" ]`, above zero.
fn is_above_zero(weight: &str) -> bool {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let zero = decimals.bytes().all(|byte| byte == b'0');
    matches!((whole, zero), ("1", true) | ("0", false))
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
        Coding::of(&headers, compress).gzip
    }

    #[test]
    fn those_who_ask() {
        for accept in [
            "gzip",
            "GZIP",
            "x-gzip",
            "br, gzip;q=0.5",
            "gzip ; q=1.0",
            "gzip;q=1.",
            "gzip;q=0.001",
            "*",
            "identity, *;q=0.1",
        ] {
            assert!(wants(&[accept], false, Compress::On), "{accept}");
            assert!(!wants(&[accept], false, Compress::Off), "{accept}");
        }
        assert!(wants(&["br", "gzip"], false, Compress::On), "two header lines");
    }

    #[test]
    fn and_nobody_else() {
        for accept in [
            "",
            "br, zstd",
            "gzip;q=0",
            "gzip;q=0.000, *",
            "*;q=0",
            "gzip;q=none",
            "xgzip",
            ", ;",
            "gzip;q=inf",
            "gzip;q=nan",
            "gzip;q=1e3",
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=-1",
            "gzip;q=+1",
            "gzip;q=0.5000",
            "gzip;q=.5",
            "gzip;q=",
            "gzip;q=infinity, *",
            "*;q=inf",
        ] {
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
