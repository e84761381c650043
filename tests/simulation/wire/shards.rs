//! The servers of a run: one alone, or those of a Cluster, whose slots move and which go away.

use super::place::{Away, Place};
use crate::chance::{Draw, source};
use crate::redis_model::cluster::{Member, Peer, SLOTS, slot};
use crate::redis_model::front::Host;
use crate::redis_model::{Reply, Role, Server, Version};
use bytes::Bytes;
use fastrand::Rng;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The name and the first port of a Cluster's servers.
const NAME: &str = "127.0.0.1";
const PORT: u16 = 7_000;
/// Between looks whether a server is back that is needed for a move.
const LOOK: Duration = Duration::from_millis(20);
/// The longest time between two steps of a move.
const STEP: Duration = Duration::from_millis(400);

/// See the module.
pub struct Shards {
    pub places: Vec<Place>,
    state: Mutex<State>,
    tasks: Mutex<Vec<AbortHandle>>,
}

struct State {
    rng: Rng,
    /// Whose each slot is; none where one is alone.
    owners: Vec<usize>,
    /// To whom slots are going whose keys may have gone already.
    going: BTreeMap<u16, usize>,
    /// Slots of which a move has begun, from whom to whom.
    busy: BTreeMap<u16, (usize, usize)>,
    /// The server of each shard, and one that has no slots: it takes over from another.
    primaries: Vec<usize>,
    spare: usize,
    /// Whether all go down with one.
    whole: bool,
    /// Another number each time that one goes or comes.
    era: u64,
    lives: u64,
}

/// The name of a server of a Cluster at its place.
fn id(at: usize) -> String {
    format!("{:040x}", 0xc1a5_7e00 + at)
}

/// The host of a server of a Cluster, as nodes name it.
pub fn host(at: usize) -> String {
    format!("{NAME}:{}", PORT + at as u16)
}

impl Shards {
    /// Servers without data: one alone, or several that share the slots and one more; `now_ms` tells their time.
    pub fn new(
        seed: u64,
        (version, count): (Version, usize),
        now_ms: impl Fn() -> u64 + Clone + Send + Sync + 'static,
    ) -> Arc<Shards> {
        let mut rng = source(seed, "shards");
        let owners: Vec<usize> = match count {
            1 => Vec::new(),
            _ => (0..usize::from(SLOTS)).map(|slot| slot * count / usize::from(SLOTS)).collect(),
        };
        let all = if count == 1 { 1 } else { count + 1 };
        let place = |at: usize| {
            let mut server = Server::new(version);
            server.set_chance(seed + at as u64);
            if count > 1 {
                server.join(member(at, all, &owners));
                server.set_ids(&format!("{:040x}", 0x1000 + at), &format!("{:040x}", 0xa000 + at));
            }
            if at > 0 && at == count {
                server.set_role(replica());
            }
            Place::new(Host::new(server, now_ms.clone()))
        };
        let places: Vec<Place> = (0..all).map(place).collect();
        let (going, busy, whole) = (BTreeMap::new(), BTreeMap::new(), rng.once_in(4));
        let state = Mutex::new(State {
            rng,
            owners,
            going,
            busy,
            primaries: (0..count).collect(),
            spare: count,
            whole,
            era: 0,
            lives: 0,
        });
        let hosts: Vec<Host> = places.iter().map(|place| place.host.clone()).collect();
        let keeps = hosts.into_iter().map(|host| tokio::spawn(async move { host.keep_time().await }).abort_handle());
        let tasks = Mutex::new(keeps.collect());
        Arc::new(Shards { places, state, tasks })
    }

    /// Whether they are a Cluster.
    pub fn are_many(&self) -> bool {
        self.places.len() > 1
    }

    /// Ends what goes on by itself.
    pub fn end(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().push(tokio::spawn(task).abort_handle());
    }

    /// The server that has a key, or would take it.
    pub fn place(&self, key: &[u8]) -> &Place {
        &self.places[self.index(key)]
    }

    fn index(&self, key: &[u8]) -> usize {
        if !self.are_many() {
            return 0;
        }
        let (of, state) = (slot(key), self.state.lock());
        let owner = state.owners[usize::from(of)];
        match state.going.get(&of) {
            Some(taker) if self.places[owner].host.with(|server| !server.holds(key)) => *taker,
            _ => owner,
        }
    }

    /// Whether nothing can be done to a key now.
    pub fn is_down(&self, key: &[u8]) -> bool {
        let place = self.place(key);
        place.is_away() || !place.host.with(|server| server.member().is_none_or(|member| member.is_ok()))
    }

    fn set_ok(&self, at: usize, ok: bool) {
        self.places[at].host.with(|server| server.member().map(|member| member.set_ok(ok)));
        self.places[at].weather.lock().trouble();
    }

    /// The shard that a key lies in.
    pub fn shard(&self, key: &[u8]) -> Option<usize> {
        let at = self.index(key);
        self.state.lock().primaries.iter().position(|primary| *primary == at)
    }

    /// The server of a shard goes away: its process ends, or nothing is heard of it any more. Those that want to be whole notice that.
    pub fn goes(self: &Arc<Shards>, shard: usize) {
        let (at, era, away, whole, noticed) = {
            let mut state = self.state.lock();
            let at = state.primaries[shard % state.primaries.len()];
            state.era += 1;
            let away = *state.rng.choice(&[Away::Ended, Away::Silent]).expect("some");
            (at, state.era, away, state.whole, Duration::from_millis(state.rng.u64(300..1_500)))
        };
        self.places[at].set_away(Some(away));
        self.places.iter().for_each(|place| place.weather.lock().trouble());
        if !whole {
            return;
        }
        let shards = self.clone();
        self.spawn(async move {
            sleep(noticed).await;
            if shards.state.lock().era == era {
                (0..shards.places.len()).for_each(|at| shards.set_ok(at, false));
            }
        });
    }

    /// Whoever is away comes back, and serves keys at once or a little later.
    pub fn come_back(self: &Arc<Shards>) {
        let (era, joins, life) = {
            let mut state = self.state.lock();
            state.era += 1;
            state.lives += 1;
            let joins = if state.rng.bool() { 0 } else { state.rng.u64(100..1_500) };
            (state.era, Duration::from_millis(joins), state.lives)
        };
        for (at, place) in self.places.iter().enumerate().filter(|(_, place)| place.is_away()) {
            if place.age().is_none() {
                // It has what it had, but for what it remembered of connections.
                place.host.with(|server| {
                    server.forget_readers();
                    server.set_ids(&format!("{:040x}", life * 100 + at as u64), &format!("{:040x}", life * 200));
                });
            }
            self.set_ok(at, false);
            self.teach(at);
            place.set_away(None);
        }
        let shards = self.clone();
        let all_well = move || (0..shards.places.len()).for_each(|at| shards.set_ok(at, true));
        if joins.is_zero() {
            return all_well();
        }
        let shards = self.clone();
        self.spawn(async move {
            sleep(joins).await;
            if shards.state.lock().era == era {
                all_well();
            }
        });
    }

    /// The server without slots takes over those of a shard that is away, with what that had when copies were made of all;
    /// whether it does.
    pub fn promote(self: &Arc<Shards>, shard: usize, copies: &[Server]) -> bool {
        let (old, new, slots) = {
            let mut state = self.state.lock();
            let (old, new) = (state.primaries[shard % state.primaries.len()], state.spare);
            let is_busy = state.busy.values().any(|(from, to)| [*from, *to].contains(&old));
            if is_busy || !self.places[old].is_away() {
                return false;
            }
            let slots: Vec<u16> = (0..SLOTS).filter(|slot| state.owners[usize::from(*slot)] == old).collect();
            slots.iter().for_each(|slot| state.owners[usize::from(*slot)] = new);
            state.era += 1;
            let shard = shard % state.primaries.len();
            (state.primaries[shard], state.spare) = (new, old);
            (old, new, slots)
        };
        self.places[new].host.with(|server| {
            server.take_over(&slots, copies);
            server.set_ids(&format!("{:040x}", 0x1000 + new), &format!("{:040x}", 0xb000 + new));
        });
        (0..self.places.len()).filter(|at| *at != old).for_each(|at| self.set_ok(at, true));
        for at in (0..self.places.len()).filter(|at| ![old, new].contains(at)) {
            let (shards, later) = (self.clone(), self.state.lock().rng.delay(STEP));
            self.spawn(async move {
                sleep(later).await;
                shards.teach(at);
            });
        }
        true
    }

    /// Has a server hear of all slots that are not on their way.
    fn teach(&self, at: usize) {
        let (owners, busy, spare) = {
            let state = self.state.lock();
            (state.owners.clone(), state.busy.clone(), state.spare)
        };
        let epoch = |at: usize| self.places[at].host.with(|server| server.member().map_or(0, |own| own.own_epoch()));
        let epochs: Vec<u64> = (0..self.places.len()).map(epoch).collect();
        self.places[at].host.with(|server| {
            let settled = (0..SLOTS).zip(&owners).filter(|(slot, _)| !busy.contains_key(slot));
            settled.for_each(|(slot, owner)| server.learn(slot, *owner, epochs[*owner]));
            if at == spare {
                server.set_role(replica());
            }
        });
    }

    /// Nothing is the matter with any of them any more.
    pub fn heal(&self) {
        self.state.lock().era += 1;
        if self.are_many() {
            (0..self.places.len()).for_each(|at| self.teach(at));
        }
        self.places.iter().for_each(Place::clear);
        if self.are_many() {
            (0..self.places.len()).for_each(|at| self.set_ok(at, true));
        }
    }

    /// The slot of a key goes to another server, step by step, as `redis-cli --cluster reshard` has it; whether that begins.
    pub fn moves(self: &Arc<Shards>, key: &[u8], mut rng: Rng) -> bool {
        let of = slot(key);
        let (from, to) = {
            let mut state = self.state.lock();
            if !self.are_many() || state.busy.contains_key(&of) {
                return false;
            }
            let from = state.owners[usize::from(of)];
            let others: Vec<usize> = state.primaries.iter().copied().filter(|at| *at != from).collect();
            let to = *rng.choice(&others).expect("several");
            state.busy.insert(of, (from, to));
            (from, to)
        };
        let mut moving = Moving { shards: self.clone(), of, rng };
        self.spawn(async move {
            moving.go(from, to).await;
            moving.shards.state.lock().busy.remove(&of);
        });
        true
    }
}

/// What a server is that has no slots.
fn replica() -> Role {
    Role::Replica { host: NAME.to_owned(), port: PORT }
}

/// What a server of a Cluster knows at first.
fn member(own: usize, count: usize, owners: &[usize]) -> Member {
    let peer = |at| Peer { id: id(at), host: NAME.to_owned(), port: PORT + at as u16, replica_of: None };
    let mut member = Member::new(own, (0..count).map(peer).collect());
    (0..SLOTS).zip(owners).for_each(|(slot, owner)| member.set_owner(slot, Some(*owner)));
    member
}

/// A slot on its way.
struct Moving {
    shards: Arc<Shards>,
    of: u16,
    rng: Rng,
}

impl Moving {
    async fn go(&mut self, from: usize, to: usize) {
        let count = self.shards.places.len();
        self.step(from, to).await;
        self.set_slot(to, "IMPORTING", from);
        self.set_slot(from, "MIGRATING", to);
        self.shards.state.lock().going.insert(self.of, to);
        self.step(from, to).await;
        while let Some(key) = self.rng.choice(self.keys(from)) {
            let now = self.shards.places[from].host.now_ms();
            let (giver, taker) = (&self.shards.places[from].host, &self.shards.places[to].host);
            giver.with(|giver| taker.with(|taker| giver.migrate(taker, &key, now)));
            self.step(from, to).await;
        }
        self.set_slot(to, "NODE", to);
        {
            let mut state = self.shards.state.lock();
            state.owners[usize::from(self.of)] = to;
            state.going.remove(&self.of);
        }
        self.step(from, to).await;
        self.set_slot(from, "NODE", to);
        let epoch = self.shards.places[to].host.with(|server| server.member().map_or(0, |member| member.own_epoch()));
        for other in (0..count).filter(|at| ![from, to].contains(at)) {
            self.step(other, to).await;
            self.shards.places[other].host.with(|server| server.learn(self.of, to, epoch));
        }
        self.step(from, to).await;
        self.shards.places[from].host.with(|server| server.learn(self.of, to, epoch));
    }

    fn keys(&self, at: usize) -> Vec<Bytes> {
        self.shards.places[at].host.with(|server| server.keys_in(self.of))
    }

    /// A while later, with both servers there.
    async fn step(&mut self, one: usize, other: usize) {
        if !self.rng.once_in(4) {
            sleep(self.rng.delay(STEP)).await;
        }
        while self.shards.places[one].is_away() || self.shards.places[other].is_away() {
            sleep(LOOK).await;
        }
    }

    fn set_slot(&self, at: usize, what: &str, peer: usize) {
        let words = ["CLUSTER", "SETSLOT", &self.of.to_string(), what, &id(peer)].map(str::to_owned);
        let (host, words) = (&self.shards.places[at].host, words.map(Bytes::from).to_vec());
        let now = host.now_ms();
        let said = host.with(|server| server.run_at_once(words, now));
        assert_eq!(said, Reply::ok(), "{what} of slot {} at {at}", self.of);
    }
}
