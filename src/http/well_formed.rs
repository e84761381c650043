//! What HTTP demands of a request beyond what hyper checks: that it names its host once and properly, and that its body
//! has no coding that nobody here undoes.

use crate::problem::{Code, Problem};
use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Version};
use std::net::Ipv6Addr;

/// Checks a request, and leaves the host that counts in its `Host` header: an authority in the target, which is HTTP/2's
/// `:authority` too, wins (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1).
///
/// # Errors
/// 400 where there is no host, more than one `Host`, or none that is valid (RFC 9112, section 3.2); 501 for a transfer coding
/// other than `chunked` (section 6.1).
pub fn check<B>(request: &mut Request<B>) -> Result<(), Problem> {
    check_codings(request)?;
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Problem::new(Code::BadParameter, "Host: there is more than one"));
    }
    if let Some(host) = first {
        check_host(host.as_bytes())?;
    }
    let is_named = first.is_some();
    match request.uri().authority().map(|authority| authority.as_str().to_owned()) {
        // hyper has no host for HTTP/1.1 without the header, whatever the target says.
        _ if !is_named && request.version() == Version::HTTP_11 => Err(missing()),
        None if !is_named && request.version() == Version::HTTP_2 => Err(missing()),
        None => Ok(()),
        Some(authority) => {
            check_host(authority.as_bytes())?;
            if let Ok(authority) = HeaderValue::from_str(&authority) {
                request.headers_mut().insert(HOST, authority);
            }
            Ok(())
        }
    }
}

fn missing() -> Problem {
    Problem::new(Code::BadParameter, "Host: there is none")
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2), without a user.
fn check_host(host: &[u8]) -> Result<(), Problem> {
    let wrong = || Problem::bad_parameter("Host", &String::from_utf8_lossy(host), "not a host");
    let text = std::str::from_utf8(host).map_err(|_| wrong())?;
    let (name, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let (address, rest) = literal.split_once(']').ok_or_else(wrong)?;
            address.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            ("", rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_fits =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    match port_fits && is_name(name.as_bytes()) {
        true => Ok(()),
        false => Err(wrong()),
    }
}

/// `reg-name` (RFC 3986, section 3.2.2).
fn is_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        }
    }
}

fn check_codings<B>(request: &Request<B>) -> Result<(), Problem> {
    let lines = request.headers().get_all(TRANSFER_ENCODING).iter();
    let lines: Vec<_> = lines.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = lines.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|coding| !coding.is_empty());
    let mut chunked = false;
    for coding in codings {
        if !coding.eq_ignore_ascii_case("chunked") {
            let detail = format!("transfer-encoding {coding:?}: only chunked is undone here");
            return Err(Problem::new(Code::UnknownCoding, detail));
        }
        if std::mem::replace(&mut chunked, true) {
            return Err(Problem::new(Code::BadParameter, "transfer-encoding: chunked comes twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(target: &str, version: Version, hosts: &[&str]) -> Result<Option<String>, u16> {
        let mut request = Request::get(target).version(version).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        check(&mut request).map_err(|problem| problem.status().as_u16())?;
        Ok(request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_target_names_the_host_or_else_the_header() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        let own = |host: &str| Ok(Some(host.to_owned()));
        assert_eq!(seen("/events", one, &["node:1"]), own("node:1"));
        assert_eq!(seen("http://node:1/events", one, &["other"]), own("node:1"));
        assert_eq!(seen("https://node:1/events", two, &["other"]), own("node:1"));
        assert_eq!(seen("https://node:1/events", two, &[]), own("node:1"));
        assert_eq!(seen("/events", two, &["node"]), own("node"));
        assert_eq!(seen("/events", Version::HTTP_10, &[]), Ok(None));
    }

    #[test]
    fn none_two_and_invalid_ones_are_refused() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(seen("/events", version, &[]), Err(400), "{version:?}");
        }
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(seen("/events", version, &["a", "a"]), Err(400), "{version:?}");
            for bad in [
                "a b", "a b@/c", "u@a", "a/", "a?b", "a#", "a:b", "a:1:2", "[::1", "[x]", "[::1]x", "%", "%g0", "a\\b",
                "ä",
            ] {
                assert_eq!(seen("/events", version, &[bad]), Err(400), "{version:?} {bad}");
            }
        }
        assert_eq!(seen("http://a/events", Version::HTTP_11, &[]), Err(400), "the header is demanded all the same");
        assert_eq!(seen("http://u@a/events", Version::HTTP_11, &["a"]), Err(400));
    }

    #[test]
    fn what_names_a_host() {
        for good in [
            "a",
            "A.b.",
            "a_b",
            "127.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:443",
            "a:",
            "a%2Db",
            "xn--bcher-kva.example",
            "",
        ] {
            assert!(seen("/events", Version::HTTP_11, &[good]).is_ok(), "{good}");
        }
    }
}
