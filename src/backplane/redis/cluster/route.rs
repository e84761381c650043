//! Sends each part of a call to the owner of its slot, and follows redirections a bounded number of times.

use super::Cluster;
use crate::backplane::redis::address::Host;
use crate::backplane::redis::fault::{self, Redirect};
use crate::backplane::redis::server::Server;
use crate::backplane::{Ask, BackplaneError, Lookup, Note, Publication, Span};
use crate::channel::Channel;
use crate::hash::HashMap;
use fred::util::redis_keyslot;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Rounds of one call; a redirection costs one.
const ROUNDS: u32 = 6;
/// The pause before a round, longer with each: a failover or a migration takes its time.
const PAUSE: Duration = Duration::from_millis(10);

type Answered<T> = Result<T, BackplaneError>;

/// Where a part of a call goes next.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Way {
    /// To the server that owns the slot.
    Owner(Host),
    /// To the server that is taking the slot over, which must be asked as such.
    Asking(Host),
}

/// What a call is made of: each part concerns one channel, and so one slot.
pub trait Part: Clone + Send + Sync {
    /// Whether it changes something, so that an answer counts even if the server has lost the slot meanwhile.
    const WRITES: bool;

    /// Whose stream, or record, it concerns.
    fn channel(&self) -> &Channel;
}

impl Part for Channel {
    const WRITES: bool = false;

    fn channel(&self) -> &Channel {
        self
    }
}

/// Parts that have their channel in a field of that name.
macro_rules! parts {
    ($($part:ty, writes: $writes:literal;)*) => {$(
        impl Part for $part {
            const WRITES: bool = $writes;

            fn channel(&self) -> &Channel {
                &self.channel
            }
        }
    )*};
}

parts! {
    Ask, writes: false;
    Span, writes: false;
    Lookup, writes: false;
    Note, writes: true;
    Publication, writes: true;
}

impl Cluster {
    /// Whether the stream has large entries.
    pub fn reads_apart(&self, channel: &Channel) -> bool {
        let map = self.map.lock();
        let owner = map.topology.owner(self.slot(channel));
        let member = owner.and_then(|owner| map.members.get(owner));
        member.is_some_and(|member| member.supervisor.server.large.is_apart(channel))
    }

    /// Answers in the order of the items. A refusal because of the topology was no attempt, so even an append may be
    /// sent again after it; what is `Down` is not. What an owner says to a read does not count where the owner has become
    /// another one meanwhile, as it may have been frozen since before it was replaced.
    pub async fn split<A, T, F>(&self, items: Vec<A>, call: impl Fn(Arc<Server>, Vec<A>, bool) -> F) -> Vec<Answered<T>>
    where
        A: Part,
        F: Future<Output = Answered<Vec<Answered<T>>>>,
    {
        let mut answers: Vec<Option<Answered<T>>> = items.iter().map(|_| None).collect();
        let slots: Vec<u16> = items.iter().map(|item| self.slot(item.channel())).collect();
        let mut asking: HashMap<usize, Host> = HashMap::default();
        for round in 0..ROUNDS {
            let groups = self.group(&slots, &mut answers, &mut asking);
            if groups.is_empty() {
                break;
            }
            if round > 1 {
                sleep(PAUSE * round).await;
            }
            let sent = groups.into_iter().map(|(way, indices)| {
                let (host, asking) = match way {
                    Way::Owner(host) => (host, false),
                    Way::Asking(host) => (host, true),
                };
                let part = indices.iter().map(|index| items[*index].clone()).collect();
                let answer = call(self.member_of(&host), part, asking);
                async move { (host, indices, asking, answer.await) }
            });
            for (host, indices, asked, answer) in join_all(sent).await {
                let replaced = |slot| !A::WRITES && !asked && self.map.lock().topology.owner(slot) != Some(&host);
                match answer {
                    Ok(part) => indices.into_iter().zip(part).for_each(|(index, answer)| {
                        if answer.is_ok() && replaced(slots[index]) {
                            return;
                        }
                        answers[index] = self.settle(&host, slots[index], answer, |target| {
                            asking.insert(index, target);
                        });
                    }),
                    Err(error) => {
                        self.stale.notify_one();
                        indices.into_iter().for_each(|index| answers[index] = Some(Err(down(&host, &error))));
                    }
                }
            }
        }
        // Each server has refused it, or said what does not count.
        let unsettled = || Err(BackplaneError::down("the cluster's slots are moving").unsent());
        answers.into_iter().map(|answer| answer.unwrap_or_else(unsettled)).collect()
    }

    /// Where what is not answered yet goes; what has no owner is answered.
    fn group<T>(
        &self,
        slots: &[u16],
        answers: &mut [Option<Answered<T>>],
        asking: &mut HashMap<usize, Host>,
    ) -> HashMap<Way, Vec<usize>> {
        let map = self.map.lock();
        let mut groups: HashMap<Way, Vec<usize>> = HashMap::default();
        for (index, answer) in answers.iter_mut().enumerate().filter(|(_, answer)| answer.is_none()) {
            let way = match asking.remove(&index) {
                Some(host) => Way::Asking(host),
                None => match map.topology.owner(slots[index]) {
                    Some(owner) => Way::Owner(owner.clone()),
                    None => {
                        let why = format!("nobody owns slot {} of the cluster", slots[index]);
                        *answer = Some(Err(BackplaneError::down(why).unsent()));
                        continue;
                    }
                },
            };
            groups.entry(way).or_default().push(index);
        }
        groups
    }

    /// The answer, where it is the last word; `None` where the part is to be sent again.
    fn settle<T>(&self, host: &Host, slot: u16, answer: Answered<T>, ask: impl FnOnce(Host)) -> Option<Answered<T>> {
        let redirect = match &answer {
            Err(BackplaneError::Refused { kind, .. }) => fault::redirect(kind, host),
            Err(BackplaneError::Down { .. }) => {
                self.stale.notify_one();
                return Some(answer);
            }
            Ok(_) => None,
        };
        match redirect {
            None => return Some(answer),
            Some(Redirect::Moved(target)) => {
                let moved = self.map.lock().topology.set(slot, target);
                if moved {
                    self.changes.doubt();
                }
                self.stale.notify_one();
            }
            Some(Redirect::Ask(target)) => ask(target),
            Some(Redirect::Later) => self.stale.notify_one(),
        }
        None
    }

    fn member_of(&self, host: &Host) -> Arc<Server> {
        self.member(&mut self.map.lock(), host)
    }

    /// The slot of a channel's stream.
    fn slot(&self, channel: &Channel) -> u16 {
        redis_keyslot([self.settings.key_prefix.as_str(), channel.as_str()].concat().as_bytes())
    }
}

fn down(host: &Host, error: &BackplaneError) -> BackplaneError {
    error.clone().into_down().map_text(|why| format!("{host}: {why}"))
}
