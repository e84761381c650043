//! What a verified token says: the claims that make a grant. Pure.

use super::grant::{Grant, Quota};
use super::pattern::{PatternError, Patterns};
use crate::channel::Channel;
use crate::condition::{ConditionError, Conditions};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Which claims are read. A name is that of a claim, or else a path through nested ones: `fantail.subscribe`.
#[derive(Clone, Debug)]
pub struct Names {
    pub subject: String,
    pub subscribe: String,
    pub publish: String,
    pub channels: String,
    pub conditions: String,
    pub limits: String,
}

/// Longest subject and token id, in bytes: each connection keeps them.
const MAX_NAME: usize = 256;

/// A claim that means nothing; each names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("claim {0} is longer than {MAX_NAME} bytes")]
    TooLong(String),
    #[error("claim {0} is no text")]
    NoText(String),
    #[error("claim {0} is neither a list nor a text")]
    NoList(String),
    #[error("claim {0} has something in it that is no text")]
    NotAllText(String),
    #[error("claim {name}: {why}")]
    Pattern {
        name: String,
        #[source]
        why: PatternError,
    },
    #[error("claim {0} names a pattern where it must name a channel")]
    NoChannel(String),
    #[error("claim {name}: {why}")]
    Condition {
        name: String,
        #[source]
        why: ConditionError,
    },
    #[error("claim {0} is no object")]
    NoObject(String),
    #[error("claim {name}: {member} is no whole number")]
    NoNumber { name: String, member: &'static str },
}

/// Makes a grant of a token's claims.
pub fn grant(claims: &Map<String, Value>, names: &Names) -> Result<Grant, ClaimError> {
    let subject = text(claims, &names.subject)?;
    let token_id = text(claims, "jti")?;
    let patterns = |name: &str| patterns(claims, name, subject.as_deref());
    let (subscribe, publish) = (patterns(&names.subscribe)?, patterns(&names.publish)?);
    let channels = channels(claims, &names.channels, subject.as_deref())?;
    let conditions = conditions(claims, &names.conditions)?;
    let quota = quota(claims, &names.limits)?;
    Ok(Grant { subject, token_id, expires_ms: None, subscribe, publish, channels, conditions, quota, seen: 0 })
}

/// Names of channels, in which `{sub}` is the subject; one that it cannot stand in is left out.
fn channels(claims: &Map<String, Value>, name: &str, subject: Option<&str>) -> Result<Vec<Channel>, ClaimError> {
    match patterns(claims, name, subject)? {
        Patterns::These(patterns) => {
            let no_name = || ClaimError::NoChannel(name.to_owned());
            patterns.iter().map(|pattern| pattern.channel().ok_or_else(no_name)).collect()
        }
        Patterns::Everything => Ok(Vec::new()),
    }
}

/// A text of conditions; a claim of any other kind would be a restriction that is overlooked.
fn conditions(claims: &Map<String, Value>, name: &str) -> Result<Option<Conditions>, ClaimError> {
    match claim(claims, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let conditions = Conditions::parse(text);
            conditions.map(Some).map_err(|why| ClaimError::Condition { name: name.to_owned(), why })
        }
        Some(_) => Err(ClaimError::NoText(name.to_owned())),
    }
}

/// A claim by name or by path.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut labels = name.split('.');
    let mut value = claims.get(labels.next()?)?;
    for label in labels {
        value = value.as_object()?.get(label)?;
    }
    Some(value)
}

fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<Arc<str>>, ClaimError> {
    match claim(claims, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_NAME => Ok(Some(text.as_str().into())),
        Some(Value::String(_)) => Err(ClaimError::TooLong(name.to_owned())),
        // Some issuers number their users.
        Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string().into())),
        Some(_) => Err(ClaimError::NoText(name.to_owned())),
    }
}

/// A list of patterns, or one text of patterns with spaces between them.
fn patterns(claims: &Map<String, Value>, name: &str, subject: Option<&str>) -> Result<Patterns, ClaimError> {
    let bad = |why| ClaimError::Pattern { name: name.to_owned(), why };
    match claim(claims, name) {
        None | Some(Value::Null) => Ok(Patterns::nothing()),
        Some(Value::String(text)) => Patterns::parse(text.split_ascii_whitespace(), subject).map_err(bad),
        Some(Value::Array(list)) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            let texts = texts.ok_or_else(|| ClaimError::NotAllText(name.to_owned()))?;
            Patterns::parse(texts, subject).map_err(bad)
        }
        Some(_) => Err(ClaimError::NoList(name.to_owned())),
    }
}

fn quota(claims: &Map<String, Value>, name: &str) -> Result<Quota, ClaimError> {
    let limits = match claim(claims, name) {
        None | Some(Value::Null) => return Ok(Quota::default()),
        Some(Value::Object(limits)) => limits,
        Some(_) => return Err(ClaimError::NoObject(name.to_owned())),
    };
    let number = |member: &'static str| match limits.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(ClaimError::NoNumber { name: name.to_owned(), member }),
        },
    };
    Ok(Quota { channels: number("channels")?, connections: number("connections")?, by: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(claims: Value) -> Result<Grant, ClaimError> {
        let names = Names {
            subject: "sub".into(),
            subscribe: "fantail.subscribe".into(),
            publish: "fantail.publish".into(),
            channels: "fantail.channels".into(),
            conditions: "fantail.where".into(),
            limits: "fantail.limits".into(),
        };
        grant(claims.as_object().unwrap(), &names)
    }

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        for claims in [
            json!({"sub": "a", "fantail": {"subscribe": ["x.*", "u.{sub}"], "publish": "p q"}}),
            json!({"sub": "a", "fantail.subscribe": ["x.*", "u.{sub}"], "fantail.publish": "p q"}),
        ] {
            let grant = read(claims).unwrap();
            for name in ["x.1", "u.a"] {
                assert!(grant.subscribe.cover(&channel(name)) && !grant.publish.cover(&channel(name)), "{name}");
            }
            assert!(grant.publish.cover(&channel("q")) && !grant.subscribe.cover(&channel("u.b")));
        }
    }

    #[test]
    fn without_claims_nothing_is_granted() {
        for claims in [json!({}), json!({"fantail": {}}), json!({"fantail": {"subscribe": []}}), json!({"fantail": 1})]
        {
            let grant = read(claims).unwrap();
            assert_eq!((&grant.subscribe, &grant.publish), (&Patterns::nothing(), &Patterns::nothing()));
            assert_eq!(grant.quota, Quota::default());
        }
    }

    #[test]
    fn a_claim_that_means_nothing_is_named() {
        for (claims, part) in [
            (json!({"sub": ["a"]}), "claim sub is no text"),
            (json!({"sub": "x".repeat(257)}), "claim sub is longer"),
            (json!({"jti": {}}), "claim jti"),
            (json!({"fantail": {"subscribe": ["a", 1]}}), "claim fantail.subscribe has something"),
            (json!({"fantail": {"subscribe": {"a": 1}}}), "claim fantail.subscribe is neither"),
            (json!({"fantail": {"publish": ["a*"]}}), "claim fantail.publish: pattern \"a*\""),
            (json!({"fantail": {"channels": ["a.*"]}}), "claim fantail.channels names a pattern"),
            (json!({"fantail": {"where": ["a=1"]}}), "claim fantail.where is no text"),
            (json!({"fantail": {"where": "a"}}), "claim fantail.where: condition 1 has no operator"),
            (json!({"fantail": {"limits": {"channels": -1}}}), "claim fantail.limits: channels"),
            (json!({"fantail": {"limits": 5}}), "claim fantail.limits is no object"),
        ] {
            let error = read(claims).unwrap_err().to_string();
            assert!(error.starts_with(part), "{error}");
        }
    }

    #[test]
    fn quotas_and_numbered_subjects() {
        let grant = read(json!({"sub": 42, "jti": "t", "fantail": {"limits": {"channels": 2}}})).unwrap();
        assert_eq!((grant.subject.as_deref(), grant.token_id.as_deref()), (Some("42"), Some("t")));
        assert_eq!(grant.quota, Quota { channels: Some(2), connections: None, by: None });
    }
}
