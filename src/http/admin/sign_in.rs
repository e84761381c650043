//! Signing in to the console by a form, which needs no script: a token of the file becomes a cookie of this node.
//!
//! The cookie is not the token, but what this process makes of it: it is worth nothing elsewhere, and ends with the process or
//! with its token. Pages of other sites cannot send it (`SameSite=Strict`), nor can scripts read it (`HttpOnly`).

use super::token::{AdminToken, COOKIE_NAME, Denied};
use crate::http::console::{Body, whole};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use hyper::{Method, Request, Response, StatusCode};
use std::net::IpAddr;
use std::time::Duration;

const PAGE: &str = include_str!("sign_in.html");
pub const SIGN_IN: &str = "/sign-in";
const SIGN_OUT: &str = "/sign-out";
/// A form with one token.
const MOST_BYTES: usize = 8 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a path is answered here.
pub fn is_served(path: &str) -> bool {
    matches!(path, SIGN_IN | SIGN_OUT)
}

/// Whether a browser asks for a page to show, so that it is led to the form and not asked by itself.
pub fn is_for_people<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    request.method() == Method::GET && request.uri().path() == "/" && accept.contains("text/html")
}

/// Whether a script of a page asks: a browser would show its own question in the middle of the page.
pub fn is_of_a_script<B>(request: &Request<B>) -> bool {
    request.headers().get("sec-fetch-mode").is_some_and(|mode| mode != "navigate")
}

/// Leads to the form.
pub fn lead_there() -> Response<Full<Bytes>> {
    see_other(SIGN_IN)
}

/// The form, what comes of it, and the way out.
pub async fn answer(request: Request<Incoming>, peer: IpAddr, token: &AdminToken) -> Response<Body> {
    let response = match (request.uri().path(), request.method()) {
        (SIGN_IN, &Method::GET | &Method::HEAD) => page(StatusCode::OK, ""),
        (SIGN_IN, &Method::POST) => take(request, peer, token).await,
        (_, &Method::POST) => {
            let mut response = see_other(SIGN_IN);
            set_cookie(&mut response, "", "; Max-Age=0");
            response
        }
        _ => page(StatusCode::METHOD_NOT_ALLOWED, "This address takes a form."),
    };
    whole(response)
}

async fn take(request: Request<Incoming>, peer: IpAddr, token: &AdminToken) -> Response<Full<Bytes>> {
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(request.into_body(), MOST_BYTES).collect()).await;
    let Ok(Ok(body)) = body else { return page(StatusCode::BAD_REQUEST, "The form did not arrive.") };
    let body = body.to_bytes();
    let shown = form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let shown = shown.map(|(_, token)| token.trim().to_owned()).unwrap_or_default();
    match token.sign_in(shown.as_bytes(), peer) {
        Ok(value) => {
            tracing::info!(address = %peer, "an operator signed in to the console");
            let mut response = see_other("/");
            set_cookie(&mut response, &value, "");
            response
        }
        Err(Denied::TooFast) => {
            let mut response = page(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens: try again in a second.");
            response.headers_mut().insert(RETRY_AFTER, 1.into());
            response
        }
        Err(_) => page(StatusCode::UNAUTHORIZED, "That is not a token of the file."),
    }
}

fn set_cookie(response: &mut Response<Full<Bytes>>, value: &str, more: &str) {
    let line = format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{more}");
    let mut line = HeaderValue::try_from(line).expect("hexadecimal digits");
    line.set_sensitive(true);
    response.headers_mut().insert(SET_COOKIE, line);
}

fn see_other(place: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(place));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The form, with a sentence of ours above it.
fn page(status: StatusCode, said: &str) -> Response<Full<Bytes>> {
    let nonce = crate::http::console::nonce();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let text = PAGE.replace("{nonce}", &nonce).replace("{said}", said);
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).expect("plain text"));
    response
}
