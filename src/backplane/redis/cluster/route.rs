//! Sends each part of a call to the owner of its slot, and follows redirections a bounded number of times.

use super::{Cluster, Host};
use crate::backplane::redis::fault::{self, Redirect};
use crate::backplane::redis::server::Server;
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Fields, Lookup, Note, Publication, Span, StreamState};
use crate::channel::Channel;
use crate::position::Position;
use fred::util::redis_keyslot;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Rounds of one call; a redirection costs one.
const ROUNDS: u32 = 6;
/// Longer with each round: a failover or a migration takes its time.
const PAUSE: Duration = Duration::from_millis(10);

type Answered<T> = Result<T, BackplaneError>;

/// Where a part of a call goes next.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Way {
    /// To the owner.
    Owner(Host),
    /// To the server that is taking the slot over, which must be asked as such.
    Asking(Host),
}

impl Cluster {
    pub async fn read(&self, asks: Vec<Ask>) -> Vec<Answered<Vec<Entry>>> {
        let call = |server: Arc<Server>, asks: Vec<Ask>, asking| async move { server.read(&asks, asking).await };
        self.split(asks, |ask| &ask.channel, true, call).await
    }

    pub fn reads_apart(&self, channel: &Channel) -> bool {
        let map = self.map.lock();
        let owner = map.topology.owner(self.slot(channel));
        owner.and_then(|owner| map.members.get(owner)).is_some_and(|member| member.server.large.is_apart(channel))
    }

    pub async fn inspect(&self, channels: Vec<Channel>) -> Vec<Answered<Option<StreamState>>> {
        let call = |server: Arc<Server>, list: Vec<Channel>, asking| async move { server.inspect(list, asking).await };
        self.split(channels, |channel| channel, true, call).await
    }

    pub async fn examine(&self, asks: Vec<Ask>) -> Vec<Answered<Examined>> {
        let call = |server: Arc<Server>, asks: Vec<Ask>, asking| async move { server.examine(asks, asking).await };
        self.split(asks, |ask| &ask.channel, true, call).await
    }

    pub async fn history(&self, spans: Vec<Span>) -> Vec<Answered<Vec<Entry>>> {
        let call = |server: Arc<Server>, spans: Vec<Span>, asking| async move { server.history(&spans, asking).await };
        self.split(spans, |span| &span.channel, true, call).await
    }

    pub async fn append(&self, publications: Vec<Publication>) -> Vec<Answered<Position>> {
        let call =
            |server: Arc<Server>, list: Vec<Publication>, asking| async move { server.append(&list, asking).await };
        self.split(publications, |publication| &publication.channel, false, call).await
    }

    pub async fn note(&self, notes: Vec<Note>) -> Vec<Answered<bool>> {
        let call = |server: Arc<Server>, notes: Vec<Note>, asking| async move { server.note(&notes, asking).await };
        self.split(notes, |note| &note.channel, false, call).await
    }

    pub async fn noted(&self, lookups: Vec<Lookup>) -> Vec<Answered<Fields>> {
        let call = |server: Arc<Server>, list: Vec<Lookup>, asking| async move { server.noted(&list, asking).await };
        self.split(lookups, |lookup| &lookup.channel, true, call).await
    }

    /// Answers in the order of the items. A refusal because of the topology was no attempt, so even an append may be
    /// sent again after it; what is `Down` is not. `reads`: what an owner says that has become another one meanwhile does
    /// not count, as it may have been frozen since before it was replaced.
    async fn split<A, T, F>(
        &self,
        items: Vec<A>,
        channel: impl Fn(&A) -> &Channel,
        reads: bool,
        call: impl Fn(Arc<Server>, Vec<A>, bool) -> F,
    ) -> Vec<Answered<T>>
    where
        A: Clone,
        F: Future<Output = Answered<Vec<Answered<T>>>>,
    {
        let mut answers: Vec<Option<Answered<T>>> = items.iter().map(|_| None).collect();
        let slots: Vec<u16> = items.iter().map(|item| self.slot(channel(item))).collect();
        let mut asking: HashMap<usize, Host> = HashMap::new();
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
                let replaced = |slot| reads && !asked && self.map.lock().topology.owner(slot) != Some(&host);
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
        let unsettled = || Err(BackplaneError::Down("the cluster's slots are moving".into()));
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
        let mut groups: HashMap<Way, Vec<usize>> = HashMap::new();
        for (index, answer) in answers.iter_mut().enumerate().filter(|(_, answer)| answer.is_none()) {
            let way = match asking.remove(&index) {
                Some(host) => Way::Asking(host),
                None => match map.topology.owner(slots[index]) {
                    Some(owner) => Way::Owner(owner.clone()),
                    None => {
                        let why = format!("nobody owns slot {} of the cluster", slots[index]);
                        *answer = Some(Err(BackplaneError::Down(why)));
                        continue;
                    }
                },
            };
            groups.entry(way).or_default().push(index);
        }
        groups
    }

    /// `None`: to be sent again.
    fn settle<T>(&self, host: &Host, slot: u16, answer: Answered<T>, ask: impl FnOnce(Host)) -> Option<Answered<T>> {
        let redirect = match &answer {
            Err(BackplaneError::Refused(why)) => fault::redirect(why, host),
            Err(BackplaneError::Down(_)) => {
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

    fn slot(&self, channel: &Channel) -> u16 {
        redis_keyslot([self.settings.key_prefix.as_str(), channel.as_str()].concat().as_bytes())
    }
}

fn down(host: &Host, error: &BackplaneError) -> BackplaneError {
    let why = fault::reason(error.clone());
    BackplaneError::Down(format!("{host}: {why}"))
}
