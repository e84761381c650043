//! `/`: what answers here, for whoever comes without a path. Pure.

use crate::problem::Problem;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response};
use serde_json::json;

pub const PATH: &str = "/";
/// Its methods.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// One JSON object. It names neither version nor channels, for anybody may ask. CORS headers are for the caller to add.
pub fn answer(method: &Method) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Problem::method_not_allowed(method, ALLOW).into_response();
    }
    let about = json!({
        "service": "fantail",
        "about": "Server-Sent Events from Redis Streams: subscribe with an EventSource",
        "subscribe": "/events/{channel}",
        "subscribe_to_several": "/events?channels={channel},{channel}",
        "history": "/history/{channel}",
    });
    let mut response = Response::new(Full::from(format!("{about}\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
