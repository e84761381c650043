//! Problems: every error that a client can get, with a stable code, as problem+json (RFC 9457). Pure.
//!
//! Owns the codes and their statuses, not the decisions to refuse; `http/reject` makes responses of them.

use crate::control_event::Gap;
use hyper::StatusCode;

/// What went wrong, in one word that programs can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No channel name, or one that is not allowed.
    BadChannel,
    /// A query parameter or header with a value that means nothing.
    BadParameter,
    /// A body that is not what the endpoint takes.
    BadBody,
    TooManyChannels,
    Unauthorized,
    /// A token that cannot be verified, or whose claims mean nothing here.
    BadToken,
    TokenExpired,
    /// The token or its subject is kept out.
    TokenRevoked,
    Forbidden,
    /// A page of another site, with this browser's cookies.
    CrossSite,
    /// A channel of the cluster's own, `~…`.
    ReservedChannel,
    /// Publishing over HTTP is switched off.
    PublishOff,
    NotFound,
    MethodNotAllowed,
    /// A body of another kind than the endpoint takes.
    UnsupportedMediaType,
    /// With `control=end`: what follows the client's position cannot be delivered any more.
    HistoryGone,
    /// A transfer coding of the body that nobody here undoes.
    UnknownCoding,
    /// The body did not arrive in time.
    BodyTimeout,
    BodyTooLarge,
    /// This client has too many subscribers.
    TooManyConnections,
    /// This client's subscribers have too many channels.
    TooManySubscriptions,
    /// This client subscribes too fast.
    SubscribeRate,
    /// This client publishes too fast.
    PublishRate,
    /// This channel has too many subscribers on this node.
    ChannelFull,
    /// The node has no room.
    NodeFull,
    /// The node is being shut down.
    Draining,
    /// Who decides what a client may do does not answer.
    AuthDown,
    BackplaneDown,
    /// The backplane would not take it.
    BackplaneRefused,
    /// The backplane is too old for it.
    NotSupported,
}

impl Code {
    /// Every code, for tables of metrics and documentation.
    pub const ALL: [Code; 30] = [
        Code::BadChannel,
        Code::BadParameter,
        Code::BadBody,
        Code::TooManyChannels,
        Code::Unauthorized,
        Code::BadToken,
        Code::TokenExpired,
        Code::TokenRevoked,
        Code::Forbidden,
        Code::CrossSite,
        Code::ReservedChannel,
        Code::PublishOff,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::UnsupportedMediaType,
        Code::HistoryGone,
        Code::UnknownCoding,
        Code::BodyTimeout,
        Code::BodyTooLarge,
        Code::TooManyConnections,
        Code::TooManySubscriptions,
        Code::SubscribeRate,
        Code::PublishRate,
        Code::ChannelFull,
        Code::NodeFull,
        Code::Draining,
        Code::AuthDown,
        Code::BackplaneDown,
        Code::BackplaneRefused,
        Code::NotSupported,
    ];

    /// The `code` member, the HTTP status, the title, and the seconds after which to try again.
    const fn row(self) -> (&'static str, StatusCode, &'static str, Option<u32>) {
        match self {
            Code::BadChannel => ("bad_channel", StatusCode::BAD_REQUEST, "Not a channel name", None),
            Code::BadParameter => ("bad_parameter", StatusCode::BAD_REQUEST, "Not a value of this parameter", None),
            Code::BadBody => ("bad_body", StatusCode::BAD_REQUEST, "Not a body that can be published", None),
            Code::TooManyChannels => ("too_many_channels", StatusCode::BAD_REQUEST, "Too many channels", None),
            Code::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "Not authenticated", None),
            Code::BadToken => ("bad_token", StatusCode::UNAUTHORIZED, "Not a valid token", None),
            Code::TokenExpired => ("token_expired", StatusCode::UNAUTHORIZED, "The token has expired", None),
            Code::TokenRevoked => ("token_revoked", StatusCode::UNAUTHORIZED, "The token has been revoked", None),
            Code::CrossSite => ("cross_site", StatusCode::FORBIDDEN, "Not from another site's page", None),
            Code::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Not allowed", None),
            Code::ReservedChannel => {
                ("reserved_channel", StatusCode::FORBIDDEN, "A channel of the cluster's own", None)
            }
            Code::PublishOff => ("publish_off", StatusCode::FORBIDDEN, "Publishing over HTTP is off", None),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "No such page", None),
            Code::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Not this method", None),
            Code::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not a body of this kind", None)
            }
            Code::HistoryGone => ("history_gone", StatusCode::GONE, "Events cannot be delivered any more", None),
            Code::UnknownCoding => ("unknown_coding", StatusCode::NOT_IMPLEMENTED, "Not a coding of bodies here", None),
            Code::BodyTimeout => ("body_timeout", StatusCode::REQUEST_TIMEOUT, "The body came too slowly", None),
            Code::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "Too large", None),
            Code::TooManyConnections => {
                ("too_many_connections", StatusCode::TOO_MANY_REQUESTS, "Too many connections", Some(10))
            }
            Code::TooManySubscriptions => {
                ("too_many_subscriptions", StatusCode::TOO_MANY_REQUESTS, "Too many channels at once", Some(10))
            }
            Code::SubscribeRate => ("subscribe_rate", StatusCode::TOO_MANY_REQUESTS, "Subscribing too fast", Some(1)),
            Code::AuthDown => ("auth_down", StatusCode::SERVICE_UNAVAILABLE, "Nobody decides who may do this", Some(5)),
            Code::PublishRate => ("publish_rate", StatusCode::TOO_MANY_REQUESTS, "Publishing too fast", Some(1)),
            Code::ChannelFull => ("channel_full", StatusCode::SERVICE_UNAVAILABLE, "The channel is full", Some(10)),
            Code::NodeFull => ("node_full", StatusCode::SERVICE_UNAVAILABLE, "The node is full", Some(5)),
            Code::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE, "The node is shutting down", Some(1)),
            Code::BackplaneDown => {
                ("backplane_down", StatusCode::SERVICE_UNAVAILABLE, "The backplane does not answer", Some(1))
            }
            Code::BackplaneRefused => ("backplane_refused", StatusCode::BAD_GATEWAY, "The backplane refused", None),
            Code::NotSupported => ("not_supported", StatusCode::NOT_IMPLEMENTED, "Not with this backplane", None),
        }
    }

    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    pub const fn status(self) -> StatusCode {
        self.row().1
    }
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Problem {
    pub code: Code,
    /// What this client did wrong, with the offending name or value.
    pub detail: String,
    /// Seconds for `Retry-After`; 429 and 503 always have one.
    pub retry_after: Option<u32>,
    /// Methods for `Allow`, which RFC 9110 asks for with a 405.
    pub allow: Option<&'static str>,
    /// What was lost, with a [`Code::HistoryGone`]; the answer has its members.
    pub gap: Option<Box<Gap>>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), retry_after: code.row().3, allow: None, gap: None }
    }

    /// A path that takes only these methods, such as `GET, HEAD, OPTIONS`.
    pub fn method_not_allowed(method: &hyper::Method, allow: &'static str) -> Problem {
        let detail = format!("this path takes {allow}, not {method}");
        Problem { allow: Some(allow), ..Problem::new(Code::MethodNotAllowed, detail) }
    }

    /// What a client came for is gone in part.
    pub fn history_gone(gap: Gap) -> Problem {
        let detail = format!("events of {:?} cannot be delivered: {}", gap.channel, gap.reason.label());
        Problem { gap: Some(Box::new(gap)), ..Problem::new(Code::HistoryGone, detail) }
    }

    /// A parameter whose value means nothing; the value is quoted, shortened.
    pub fn bad_parameter(name: &str, value: &str, why: impl std::fmt::Display) -> Problem {
        Problem::new(Code::BadParameter, format!("{name}={:?}: {why}", shortened(value)))
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        let (code, status, title, _) = self.code.row();
        let mut json = serde_json::json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": self.detail,
        });
        let gap = self.gap.as_ref().map(|gap| serde_json::to_value(gap).expect("plain fields"));
        if let (Some(serde_json::Value::Object(gap)), Some(json)) = (gap, json.as_object_mut()) {
            json.extend(gap);
        }
        json
    }
}

/// The beginning of a text that a client sent, for messages of bounded length.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_and_refusals_for_now_say_when_to_come_back() {
        let names: HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let problem = Problem::new(code, "x");
            assert_eq!(problem.retry_after.is_some(), matches!(code.status().as_u16(), 429 | 503), "{code:?}");
        }
    }

    #[test]
    fn a_detail_quotes_a_long_value_shortened() {
        let json = Problem::bad_parameter("tail", &"9".repeat(300), "too long").json();
        assert_eq!((&json["code"], &json["status"]), (&"bad_parameter".into(), &400.into()));
        assert!(json["detail"].as_str().unwrap().len() < 200);
    }
}
