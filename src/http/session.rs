//! `/session`: a page that has a token makes it the browser's cookie, for EventSource cannot send headers.
//!
//! Only with `--token-cookie`. Nothing is kept on the node: the cookie is the token, and ends with it.

use super::Context;
use super::paths;
use super::rates::{take_rate, take_subject_rate};
use super::settings::SessionCookie;
use crate::auth::renewal::Renewal;
use crate::auth::{Grant, sessions, token};
use crate::limits::client_of;
use crate::problem::{Code, Problem};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;

/// Its methods.
pub const ALLOW: &str = "POST, DELETE, OPTIONS";
/// Name and value of a cookie together; browsers drop what is larger (draft-ietf-httpbis-rfc6265bis, section 5.6).
const MOST_BYTES: usize = 4096;

/// Whether this node answers here.
pub fn is_served(path: &str, context: &Context) -> bool {
    path == paths::SESSION && context.settings.session.is_some()
}

/// Answers `POST`, which sets the cookie, and `DELETE`, which clears it. `direct` is who the connection is from, `client`
/// who that speaks for. CORS headers are for the caller to add.
pub async fn answer<B>(
    request: &Request<B>,
    direct: IpAddr,
    client: IpAddr,
    context: &Arc<Context>,
) -> Response<Full<Bytes>> {
    let Some(cookie) = &context.settings.session else { return Response::default() };
    let headers = request.headers();
    let secure = cookie.secure || context.proxies.says_https(direct, headers);
    let line = match *request.method() {
        Method::POST => open(headers, cookie, secure, client, context).await,
        Method::DELETE => may_set(headers, context).map(|()| Line { cookie, value: "", seconds: 0 }.text(secure)),
        ref method => Err(Problem::method_not_allowed(method, ALLOW)),
    };
    let line = line.and_then(|line| {
        let mut value = HeaderValue::try_from(line).map_err(|_| token::bad("a cookie cannot carry it"))?;
        value.set_sensitive(true);
        Ok(value)
    });
    match line {
        Ok(line) => {
            let mut answer = Response::default();
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer.headers_mut().insert(SET_COOKIE, line);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
        Err(problem) => {
            context.refused(&problem, client);
            problem.into_response()
        }
    }
}

/// The cookie of a token that this node takes.
async fn open(
    headers: &HeaderMap,
    cookie: &SessionCookie,
    secure: bool,
    client: IpAddr,
    context: &Context,
) -> Result<String, Problem> {
    take_rate(&context.subscribe_rate, client_of(client), "an address")?;
    may_set(headers, context)?;
    let token = token::of_header(headers)?;
    let value = token.as_ref().map_or("", |token| token.as_str());
    if cookie.name.len() + value.len() > MOST_BYTES {
        let room = MOST_BYTES.saturating_sub(cookie.name.len());
        let detail = format!("authorization: a cookie of this name has room for a token of {room} bytes");
        return Err(Problem::new(Code::BadParameter, detail));
    }
    let grant = context.auth.authorize_session(token.as_ref()).await?;
    take_subject_rate(&grant, context)?;
    extend(&grant, context).await;
    let left_ms = grant.expires_ms.unwrap_or_default().saturating_sub(context.clock.unix_ms());
    Ok(Line { cookie, value, seconds: left_ms.div_ceil(1000) }.text(secure))
}

/// Lets the open streams of the subject go on, on whatever node they are. Those that do not hear of it come back.
async fn extend(grant: &Grant, context: &Context) {
    let Some(renewal) = Renewal::of(grant) else { return };
    if let Err(error) = sessions::tell(&*context.hub.backplane, &renewal).await
        && let Some(suppressed) = context.log_throttle.turn("renewal")
    {
        let why = error.to_string();
        tracing::warn!(why, suppressed, "a renewal was not told: open streams end with their old tokens");
    }
}

/// Whether the page that asks may set a cookie: of what may publish, as `--cors-origin *` lists nobody where cookies are.
fn may_set(headers: &HeaderMap, context: &Context) -> Result<(), Problem> {
    if !context.cors.admits(headers) {
        let detail = "--cors-origin does not name the origin of the page that sent this";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    context.auth.refuse_cross_site(headers)
}

/// What is said of a cookie (RFC 6265, section 4.1).
struct Line<'a> {
    cookie: &'a SessionCookie,
    value: &'a str,
    /// How long it is kept; zero: it is forgotten.
    seconds: u64,
}

impl Line<'_> {
    fn text(&self, secure: bool) -> String {
        let Line { cookie, value, seconds } = self;
        let secure = if secure { "; Secure" } else { "" };
        format!("{}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}", cookie.name)
    }
}
