//! What the application answered. Pure.
//!
//! Any 2xx grants what was asked. With `Content-Type: application/json` an object may say more: `subject`, `expires`
//! (Unix seconds), `channels` (patterns that narrow the grant), `where` (conditions on the fields of events), `token` (an
//! id that can be revoked), `limits`.

use crate::auth::grant::{Action, Grant, Question, Quota};
use crate::auth::metrics::Asked;
use crate::auth::pattern::{Pattern, PatternError, Patterns};
use crate::channel::Channel;
use crate::condition::{ConditionError, Conditions};
use crate::problem::{Code, Problem};
use bytes::Bytes;
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use std::sync::Arc;

/// Longest subject and token id, as of claims.
const MAX_NAME: usize = 256;

/// Why an answer decides nothing.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("it answers {0}")]
    Status(u16),
    #[error("its JSON is no object")]
    NoObject,
    #[error("its JSON means nothing: {0}")]
    Meaningless(#[from] serde_json::Error),
    #[error("its subject or token is longer than {MAX_NAME} bytes")]
    TooLong,
    #[error("its channels: {0}")]
    Channels(#[from] PatternError),
    #[error("its where: {0}")]
    Conditions(#[from] ConditionError),
}

/// An answer that means something.
#[derive(Clone, Debug)]
pub enum Answer {
    Granted(Arc<Terms>),
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
}

/// What a grant says beside yes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    subject: Option<String>,
    token: Option<String>,
    expires: Option<u64>,
    channels: Option<Vec<String>>,
    #[serde(rename = "where")]
    conditions: Option<String>,
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    channels: Option<u32>,
    connections: Option<u32>,
}

impl Answer {
    /// `Err` where it decides nothing: then nothing is granted.
    pub fn read(answer: &Response<Bytes>) -> Result<Answer, AnswerError> {
        match answer.status().as_u16() {
            200..=299 => Ok(Answer::Granted(Arc::new(terms(answer)?))),
            401 => Ok(Answer::Unauthorized),
            403 => Ok(Answer::Forbidden),
            status => Err(AnswerError::Status(status)),
        }
    }

    /// How it is counted.
    pub fn outcome(&self) -> Asked {
        match self {
            Answer::Granted(_) => Asked::Granted,
            Answer::Unauthorized => Asked::Unauthorized,
            Answer::Forbidden => Asked::Forbidden,
        }
    }

    /// Whether it is a grant whose time has passed.
    pub fn is_over(&self, now_ms: u64) -> bool {
        let expires = match self {
            Answer::Granted(terms) => terms.expires,
            _ => None,
        };
        expires.is_some_and(|seconds| seconds.saturating_mul(1000) <= now_ms)
    }

    /// The grant for the question that was answered.
    pub fn grant(&self, question: &Question<'_>) -> Result<Grant, Problem> {
        let terms = match self {
            Answer::Granted(terms) => terms,
            Answer::Unauthorized => {
                return Err(Problem::new(Code::Unauthorized, "the application does not know this client"));
            }
            Answer::Forbidden => return Err(Problem::new(Code::Forbidden, "the application does not allow this")),
        };
        let subject: Option<Arc<str>> = terms.subject.as_deref().map(Into::into);
        let covered = match &terms.channels {
            None => Patterns::parse(question.channels.iter().map(Channel::as_str), None),
            Some(texts) => Patterns::parse(texts.iter().map(String::as_str), subject.as_deref()),
        };
        // Checked when it was read.
        let covered = covered.map_err(|e| Problem::new(Code::AuthDown, e.to_string()))?;
        let conditions = terms.conditions.as_deref().map(Conditions::parse).transpose();
        let conditions = conditions.map_err(|e| Problem::new(Code::AuthDown, e.to_string()))?;
        let channels = match (&covered, terms.channels.is_some()) {
            (Patterns::These(patterns), true) => patterns.iter().filter_map(Pattern::channel).collect(),
            _ => Vec::new(),
        };
        let (subscribe, publish) = match question.action {
            Action::Subscribe => (covered, Patterns::nothing()),
            Action::Publish => (Patterns::nothing(), covered),
        };
        Ok(Grant {
            subject,
            token_id: terms.token.as_deref().map(Into::into),
            expires_ms: terms.expires.map(|seconds| seconds.saturating_mul(1000)),
            subscribe,
            publish,
            channels,
            conditions,
            quota: Quota { channels: terms.limits.channels, connections: terms.limits.connections, by: None },
            seen: 0,
        })
    }
}

fn terms(answer: &Response<Bytes>) -> Result<Terms, AnswerError> {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if !is_json || answer.body().is_empty() {
        return Ok(Terms::default());
    }
    // serde would take a list for an object without members.
    if !answer.body().trim_ascii_start().starts_with(b"{") {
        return Err(AnswerError::NoObject);
    }
    // A member that is not known may be a narrowing that was misspelt, so it is no grant.
    let terms: Terms = serde_json::from_slice(answer.body())?;
    for name in terms.subject.iter().chain(&terms.token) {
        if name.len() > MAX_NAME {
            return Err(AnswerError::TooLong);
        }
    }
    let patterns = terms.channels.iter().flatten().map(String::as_str);
    Patterns::parse(patterns, terms.subject.as_deref())?;
    terms.conditions.as_deref().map(Conditions::parse).transpose()?;
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{HeaderMap, Method, Uri};

    fn read(status: u16, kind: &str, body: &'static str) -> Result<Answer, AnswerError> {
        let answer = Response::builder().status(status).header(CONTENT_TYPE, kind).body(Bytes::from(body));
        Answer::read(&answer.unwrap())
    }

    fn granted(body: &'static str, channel: &str) -> Result<Grant, Problem> {
        let channels = [Channel::new(channel).unwrap()];
        let question = Question {
            method: &Method::GET,
            uri: &Uri::from_static("/events"),
            headers: &HeaderMap::new(),
            client: [127, 0, 0, 1].into(),
            action: Action::Subscribe,
            channels: &channels,
        };
        let grant = read(200, "application/json; charset=utf-8", body).unwrap().grant(&question)?;
        grant.check(Action::Subscribe, &channels).map(|()| grant)
    }

    #[test]
    fn yes_covers_what_was_asked_and_json_narrows_it() {
        let grant = granted("{}", "a.b").unwrap();
        assert!(grant.subject.is_none() && !grant.subscribe.cover(&Channel::new("a").unwrap()));
        let body = r#"{"subject":"s","token":"t","expires":5,"channels":["u.{sub}.*"],"limits":{"connections":3}}"#;
        let grant = granted(body, "u.s.1").unwrap();
        assert_eq!((grant.subject.as_deref(), grant.token_id.as_deref()), (Some("s"), Some("t")));
        assert_eq!((grant.expires_ms, grant.quota.connections), (Some(5000), Some(3)));
        assert_eq!(granted(body, "u.x.1").unwrap_err().code, Code::Forbidden);
        assert_eq!(granted(r#"{"channels":[]}"#, "a").unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn a_grant_is_over_at_its_time() {
        let answer = read(200, "application/json", r#"{"expires":5}"#).unwrap();
        assert!(!answer.is_over(4_999) && answer.is_over(5_000));
        assert!(!read(200, "", "").unwrap().is_over(u64::MAX) && !Answer::Forbidden.is_over(u64::MAX));
    }

    #[test]
    fn what_means_nothing_grants_nothing() {
        for body in ["{", "[]", "1", r#"{"channel":["a"]}"#, r#"{"channels":["a*"]}"#, r#"{"expires":"soon"}"#, "null"]
        {
            assert!(read(200, "application/json", body).is_err(), "{body}");
        }
        for status in [100, 300, 302, 400, 404, 429, 500, 503] {
            assert!(read(status, "text/plain", "").is_err(), "{status}");
        }
        assert!(matches!(read(401, "", ""), Ok(Answer::Unauthorized)));
        assert!(matches!(read(403, "", ""), Ok(Answer::Forbidden)));
        assert!(matches!(read(204, "text/html", "{"), Ok(Answer::Granted(_))));
    }
}
