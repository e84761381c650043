//! `QUERY /events` (RFC 10008): a subscription whose parameters come in a body, for sets of channels that no URL holds.

use super::Context;
use super::receiving::{Received, Receiving};
use crate::limits::client_of;
use crate::problem::{Code, Problem};
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method};
use std::net::IpAddr;

/// The method's name.
pub const NAME: &str = "QUERY";
/// What its body is, as `Accept-Query` says it (RFC 10008, section 3).
pub const FORM: &str = "application/x-www-form-urlencoded";
pub const ACCEPT_QUERY: HeaderName = HeaderName::from_static("accept-query");
/// Bytes of a body: 1,000 names of 64 bytes.
pub const MOST_BYTES: usize = 64 << 10;
/// Bytes of all bodies that are in memory at once.
pub const MOST_MEMORY: usize = 16 << 20;

/// Whether this is the method.
pub fn is(method: &Method) -> bool {
    method.as_str() == NAME
}

/// Receives the body of such a request.
pub async fn receive<'a, B>(
    headers: &HeaderMap,
    body: B,
    client: IpAddr,
    context: &'a Context,
) -> Result<Received<'a>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    check_kind(headers)?;
    let place = context.query_room.enter(client_of(client), None);
    Receiving::begin(body, MOST_BYTES, place)?.all().await
}

/// A form, as it is: what is no form is not guessed at (RFC 10008, section 2).
fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    let kinds: Vec<String> =
        headers.get_all(CONTENT_TYPE).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into()).collect();
    let is_form = |kind: &String| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM);
    if !matches!(&kinds[..], [kind] if is_form(kind)) {
        let given = if kinds.is_empty() {
            "none".to_owned()
        } else {
            format!("{:?}", crate::problem::shortened(&kinds.join(", ")))
        };
        let detail = format!("content-type: the body of a {NAME} here is {FORM}, not {given}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let coding =
        headers.get_all(CONTENT_ENCODING).iter().find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    match coding {
        Some(coding) => {
            let detail =
                format!("content-encoding: {:?}: bodies come as they are", String::from_utf8_lossy(coding.as_bytes()));
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_body_is_a_form_and_nothing_else() {
        let check = |given: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.extend(given.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
            check_kind(&headers).map_err(|problem| problem.detail)
        };
        for kind in [FORM, "application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded"] {
            assert_eq!(check(&[(CONTENT_TYPE, kind)]), Ok(()));
            assert_eq!(check(&[(CONTENT_TYPE, kind), (CONTENT_ENCODING, "identity")]), Ok(()));
        }
        for (given, part) in [
            (&[][..], "not none"),
            (&[(CONTENT_TYPE, "application/json")], "not \"application/json\""),
            (&[(CONTENT_TYPE, FORM), (CONTENT_TYPE, FORM)], "not \"application"),
            (&[(CONTENT_TYPE, FORM), (CONTENT_ENCODING, "gzip")], "content-encoding: \"gzip\""),
        ] {
            let detail = check(given).unwrap_err();
            assert!(detail.contains(part), "{detail}");
        }
    }
}
