//! Grants: what one request may do, and for how long. Pure.

use super::pattern::{Patterns, text_covers};
use crate::channel::Channel;
use crate::condition::Conditions;
use crate::problem::{Code, Problem};
use hyper::{HeaderMap, Method, Uri};
use std::net::IpAddr;
use std::sync::Arc;

/// What somebody wants to do with channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Subscribe,
    Publish,
}

/// A request, as far as authorization looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// The client's address, behind trusted proxies.
    pub client: IpAddr,
    pub action: Action,
    /// What is asked for; empty where a body will say it, and then the grant is [checked](Grant::check) by the caller.
    pub channels: &'a [Channel],
}

/// What a request may do. Made once per request; a subscriber keeps only the [`Identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, where that is known.
    pub subject: Option<Arc<str>>,
    /// The token's `jti`.
    pub token_id: Option<Arc<str>>,
    /// When the stream ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    pub subscribe: Patterns,
    pub publish: Patterns,
    /// What it subscribes to where a request names no channel.
    pub channels: Vec<Channel>,
    /// What the fields of events must be that it may see; `None`: anything.
    pub conditions: Option<Conditions>,
    pub quota: Quota,
    /// How many revocations had been read when it was made.
    pub seen: u64,
}

/// Limits that belong to a grant, not to the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Channels of one connection.
    pub channels: Option<u32>,
    /// Connections of its [holder](Grant::holder) on one node.
    pub connections: Option<u32>,
    /// Names the holder where neither subject nor token id does.
    pub by: Option<Arc<str>>,
}

/// What a subscriber keeps of its grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub subject: Option<Arc<str>>,
    pub token_id: Option<Arc<str>>,
    pub expires_ms: Option<u64>,
    /// The text of what the fields of events must be that it sees.
    pub conditions: Option<Arc<str>>,
    /// What it may join, as [`Patterns::text`] has it; `None`: any channel of clients.
    pub subscribe: Option<Arc<str>>,
    /// Ids of the tokens that have extended it, the latest last.
    pub renewed_by: Box<[Arc<str>]>,
}

impl Identity {
    /// Tokens that have extended a stream and that it goes with, at most: the latest.
    const MOST_RENEWALS: usize = 8;

    /// Whether it may join a channel.
    pub fn may_join(&self, channel: &Channel) -> bool {
        self.subscribe.as_ref().map_or(!channel.is_reserved(), |patterns| text_covers(patterns, channel))
    }

    /// Another token extends it until then.
    pub fn renew(&mut self, token_id: Option<&Arc<str>>, until_ms: u64) {
        self.expires_ms = Some(until_ms);
        if let Some(id) = token_id.filter(|id| !self.has_token(id)) {
            let kept = self.renewed_by.len().saturating_sub(Self::MOST_RENEWALS - 1);
            self.renewed_by = self.renewed_by[kept..].iter().chain([id]).cloned().collect();
        }
    }

    /// Whether it stands on the token of this id, be it by a renewal.
    pub fn has_token(&self, id: &str) -> bool {
        self.token_id.iter().chain(&self.renewed_by).any(|token| **token == *id)
    }
}

impl Grant {
    /// What everybody may do on a node without authorization.
    pub fn everything() -> Grant {
        Grant::of(Patterns::Everything, Patterns::Everything)
    }

    /// A grant of nobody in particular.
    pub fn of(subscribe: Patterns, publish: Patterns) -> Grant {
        let quota = Quota::default();
        Grant {
            subject: None,
            token_id: None,
            expires_ms: None,
            subscribe,
            publish,
            channels: Vec::new(),
            conditions: None,
            quota,
            seen: 0,
        }
    }

    /// Whose connections are counted: the subject's, else, where they are limited, those of the token, by its id or by what
    /// else names it.
    pub fn holder(&self) -> Option<Arc<str>> {
        let token = || {
            let name = self.token_id.as_ref().or(self.quota.by.as_ref())?;
            // A subject is a text of the issuer's, which has no reason to begin like this.
            self.quota.connections.map(|_| format!("\0token {name}").into())
        };
        self.subject.clone().or_else(token)
    }

    /// Refuses the first channel that is not covered, and more channels than one connection may have. What is said is the same whether it exists or not.
    pub fn check(&self, action: Action, channels: &[Channel]) -> Result<(), Problem> {
        let (patterns, what) = match action {
            Action::Subscribe => (&self.subscribe, "subscribe to"),
            Action::Publish => (&self.publish, "publish to"),
        };
        if let Some(channel) = channels.iter().find(|channel| !patterns.cover(channel)) {
            return Err(Problem::new(Code::Forbidden, format!("not allowed to {what} channel {channel:?}")));
        }
        match self.quota.channels {
            Some(most) if action == Action::Subscribe && channels.len() > most as usize => {
                let detail = format!("the token allows {most} channels of one connection");
                Err(Problem::new(Code::TooManyChannels, detail))
            }
            _ => Ok(()),
        }
    }

    /// What a subscriber keeps; `None` where there is nothing to keep.
    pub fn identity(&self) -> Option<Box<Identity>> {
        let Grant { subject, token_id, expires_ms, conditions, .. } = self;
        let any = subject.is_some() || token_id.is_some() || expires_ms.is_some();
        let identity = || Identity {
            subject: subject.clone(),
            token_id: token_id.clone(),
            expires_ms: *expires_ms,
            conditions: conditions.as_ref().map(|conditions| conditions.text().into()),
            subscribe: self.subscribe.text().map(Into::into),
            renewed_by: Box::default(),
        };
        any.then(|| Box::new(identity()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stands_on_its_own_token_and_on_the_latest_renewals() {
        let mut identity = Identity { token_id: Some("first".into()), ..Identity::default() };
        for n in 0..10_u64 {
            identity.renew(Some(&n.to_string().into()), n);
            identity.renew(None, n);
        }
        assert!(["first", "2", "9"].iter().all(|id| identity.has_token(id)) && !identity.has_token("1"));
        assert_eq!((identity.renewed_by.len(), identity.expires_ms), (8, Some(9)));
    }

    #[test]
    fn a_limited_grant_is_counted_by_subject_or_token() {
        let grant = |subject: Option<&str>, token: Option<&str>, by: Option<&str>, connections| Grant {
            subject: subject.map(Into::into),
            token_id: token.map(Into::into),
            quota: Quota { channels: None, connections, by: by.map(Into::into) },
            ..Grant::everything()
        };
        let holder = |grant: Grant| grant.holder().map(|name| name.to_string());
        assert_eq!(holder(grant(Some("s"), Some("t"), None, Some(1))).as_deref(), Some("s"));
        assert_eq!(holder(grant(Some("s"), None, None, None)).as_deref(), Some("s"));
        assert_eq!(holder(grant(None, Some("t"), None, Some(1))).as_deref(), Some("\0token t"));
        assert_eq!(holder(grant(None, None, Some("d"), Some(1))).as_deref(), Some("\0token d"));
        assert_eq!(holder(grant(None, Some("t"), None, None)), None, "what is not limited is not counted");
    }
}
