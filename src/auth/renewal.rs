//! Renewals: a token that is shown anew keeps the open streams of its subject going, on whatever node they are. Pure.
//!
//! A renewal is an entry of a stream of the cluster's own, apart from the orders of `~control`: it means nothing after a
//! moment, and as many come as users have, which would push orders out that are in force for a day. An entry has the fields
//! `extend` (`subject`), `name`, `until_ms`, `subscribe` (patterns, with spaces between them) and, where the token has them,
//! `where` (conditions) and `token` (its id).

use super::grant::{Grant, Identity};
use super::pattern::{PatternError, Patterns};
use super::revocation::{OrderError, field, name};
use crate::backplane::{Entry, Keeping, Publication};
use crate::channel::Channel;
use bytes::Bytes;
use std::sync::Arc;

/// The channel; no client can subscribe to it or publish to it.
pub const CHANNEL: &str = "~sessions";
/// Renewals that the stream keeps: nodes read them within two seconds.
const KEPT: u64 = 10_000;
/// Patterns that are told, in bytes; who has more comes back when the old token ends.
const MOST_PATTERN_BYTES: usize = 16 << 10;

/// What a renewal grants to streams that are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub subject: Arc<str>,
    /// The end of the new token, in Unix milliseconds.
    pub until_ms: u64,
    /// The new token's `jti`.
    pub token_id: Option<Arc<str>>,
    subscribe: Patterns,
    /// The text of the new token's conditions on fields.
    conditions: Option<Arc<str>>,
}

/// Why an entry is no renewal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalError {
    #[error(transparent)]
    Field(#[from] OrderError),
    #[error("extend is no subject")]
    UnknownTarget,
    #[error("until_ms is no number")]
    NoTime,
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Renewal {
    /// What a token grants to the open streams of its subject; nothing where it names none, or grants nothing.
    pub fn of(grant: &Grant) -> Option<Renewal> {
        let (subject, until_ms) = (grant.subject.clone()?, grant.expires_ms?);
        let any = !grant.subscribe.is_nothing();
        let conditions = grant.conditions.as_ref().map(|conditions| conditions.text().into());
        let (token_id, subscribe) = (grant.token_id.clone(), grant.subscribe.clone());
        any.then_some(Renewal { subject, until_ms, token_id, subscribe, conditions })
    }

    /// The entry that tells of it; `None` where its patterns are too long to be told.
    pub fn publication(&self) -> Option<Publication> {
        let patterns = self.subscribe.text()?;
        if patterns.len() > MOST_PATTERN_BYTES {
            return None;
        }
        let mut fields = vec![
            ("extend", "subject".to_owned()),
            ("name", self.subject.to_string()),
            ("until_ms", self.until_ms.to_string()),
            ("subscribe", patterns),
        ];
        fields.extend(self.conditions.as_ref().map(|conditions| ("where", conditions.to_string())));
        fields.extend(self.token_id.as_ref().map(|id| ("token", id.to_string())));
        let fields =
            fields.into_iter().map(|(name, value)| (Bytes::from_static(name.as_bytes()), value.into())).collect();
        let channel = Channel::new(CHANNEL).expect("a good name");
        Some(Publication { channel, fields, keeping: Keeping { maxlen: Some(KEPT), ..Keeping::default() } })
    }

    /// Reads an entry.
    pub fn from_entry(entry: &Entry) -> Result<Renewal, RenewalError> {
        let needed = |name| field(entry, name)?.ok_or(OrderError::Missing(name));
        if needed("extend")? != "subject" {
            return Err(RenewalError::UnknownTarget);
        }
        Ok(Renewal {
            subject: name(needed("name")?)?,
            until_ms: needed("until_ms")?.parse().map_err(|_| RenewalError::NoTime)?,
            token_id: field(entry, "token")?.map(name).transpose()?,
            conditions: field(entry, "where")?.map(Arc::from),
            // They are filled in already.
            subscribe: Patterns::parse(needed("subscribe")?.split_ascii_whitespace(), None)?,
        })
    }

    /// Whether it is for a stream of this identity: of its subject, beyond the end that it has, and under no other conditions
    /// than the stream has been.
    pub fn concerns(&self, identity: &Identity) -> bool {
        let ends_later = identity.expires_ms.is_some_and(|expires_ms| expires_ms < self.until_ms);
        let grants_as_much = self.conditions.is_none() || self.conditions == identity.conditions;
        ends_later && grants_as_much && identity.subject.as_ref() == Some(&self.subject)
    }

    /// What streams may join from then on, as [`Patterns::text`] has it.
    pub fn subscribe(&self) -> Option<Arc<str>> {
        self.subscribe.text().map(Into::into)
    }

    /// Whether it covers all channels of a stream: a token that grants less extends nothing.
    pub fn covers<'a>(&self, mut channels: impl Iterator<Item = &'a Channel>) -> bool {
        channels.all(|channel| self.subscribe.cover(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Conditions;
    use crate::position::Position;

    fn grant() -> Grant {
        let subscribe = Patterns::parse(["user.{sub}.**", "news"], Some("ann")).unwrap();
        let (subject, token_id) = (Some("ann".into()), Some("t2".into()));
        Grant { subject, token_id, expires_ms: Some(5_000), ..Grant::of(subscribe, Patterns::nothing()) }
    }

    fn entry(renewal: &Renewal) -> Entry {
        Entry { position: Position::new(1, 1), fields: renewal.publication().unwrap().fields }
    }

    #[test]
    fn an_entry_tells_all_of_it() {
        let renewal = Renewal::of(&grant()).unwrap();
        assert_eq!(Renewal::from_entry(&entry(&renewal)), Ok(renewal.clone()));
        let publication = renewal.publication().unwrap();
        assert_eq!((publication.channel.as_str(), publication.keeping.maxlen), (CHANNEL, Some(10_000)));
        let unnamed = Renewal { token_id: None, conditions: Some("team=a%2Cb".into()), ..renewal };
        assert_eq!(Renewal::from_entry(&entry(&unnamed)), Ok(unnamed));
    }

    #[test]
    fn who_has_no_name_or_no_end_extends_nothing() {
        let nobody = Grant { subject: None, ..grant() };
        let endless = Grant { expires_ms: None, ..grant() };
        let nothing = Grant { subscribe: Patterns::nothing(), ..grant() };
        for grant in [nobody, endless, nothing] {
            assert_eq!(Renewal::of(&grant), None);
        }
        let long = vec!["x".repeat(255); 100];
        let many = Patterns::parse(long.iter().map(String::as_str), None).unwrap();
        assert!(Renewal::of(&Grant { subscribe: many, ..grant() }).unwrap().publication().is_none());
    }

    #[test]
    fn it_is_for_longer_for_its_subject_and_for_no_other_channels() {
        let renewal = Renewal::of(&grant()).unwrap();
        let identity =
            |subject: &str, expires_ms| Identity { subject: Some(subject.into()), expires_ms, ..Identity::default() };
        assert!(renewal.concerns(&identity("ann", Some(4_999))));
        for other in
            [identity("ann", Some(5_000)), identity("ann", None), identity("bob", Some(1)), Identity::default()]
        {
            assert!(!renewal.concerns(&other), "{other:?}");
        }
        let team = |team: &str| Some(Conditions::parse(&format!("team={team}")).unwrap());
        let narrow = Renewal::of(&Grant { conditions: team("red"), ..grant() }).unwrap();
        let under = |conditions| Grant { conditions, expires_ms: Some(1), ..grant() }.identity().unwrap();
        let extends = |conditions| {
            let identity = under(conditions);
            (narrow.concerns(&identity), renewal.concerns(&identity))
        };
        let extended = [None, team("red"), team("blue")].map(extends);
        assert_eq!(extended, [(false, true), (true, true), (false, true)], "what has no conditions grants more");
        let channels = |names: &[&str]| names.iter().map(|name| Channel::new(name).unwrap()).collect::<Vec<_>>();
        assert!(renewal.covers(channels(&["news", "user.ann.in"]).iter()));
        assert!(!renewal.covers(channels(&["news", "user.bob.in"]).iter()));
    }

    #[test]
    fn a_field_that_is_given_twice_means_nothing() {
        let narrow = Grant { conditions: Some(Conditions::parse("team=red").unwrap()), ..grant() };
        for twice in ["extend", "name", "until_ms", "subscribe", "where", "token"] {
            let mut entry = entry(&Renewal::of(&narrow).unwrap());
            let again = entry.fields.iter().find(|(field, _)| field == twice).unwrap().clone();
            entry.fields.push(again);
            assert_eq!(Renewal::from_entry(&entry), Err(OrderError::Twice(twice).into()));
        }
    }

    #[test]
    fn what_is_no_renewal_is_refused() {
        let good = Renewal::of(&grant()).unwrap();
        for (name, value, why) in [
            ("extend", "channel", RenewalError::UnknownTarget),
            ("until_ms", "soon", RenewalError::NoTime),
            ("name", &"x".repeat(257), OrderError::NameBytes(257).into()),
            ("name", "", OrderError::NameBytes(0).into()),
            ("subscribe", "a*", RenewalError::Pattern(PatternError::Wildcard("a*".into()))),
        ] {
            let mut entry = entry(&good);
            entry.fields.iter_mut().filter(|(field, _)| field == name).for_each(|(_, v)| *v = value.to_owned().into());
            assert_eq!(Renewal::from_entry(&entry), Err(why));
            entry.fields.retain(|(field, _)| field != name);
            assert_eq!(Renewal::from_entry(&entry), Err(OrderError::Missing(name).into()));
        }
    }
}
