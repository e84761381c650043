//! Tempers of a run: what kind of trouble it has. The usual one has some of everything; each of the others leaves most of it
//! out, so that little excuses what a client is not sent, and repeats the rest.

use super::chains::Chains;
use super::chance::source;
use super::leg::Begin;
use super::plan::{Load, Plan, Step, What};
use super::played::Way;
use super::wish::{Manner, Wish};
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Some of everything.
    Usual,
    /// Streams go away, and others come under ids around those that were.
    Lives,
    /// Streams go away and come back as they were, while readers stand still.
    Returns,
    /// Nodes lose Redis, and miss what changed; entries are so large that the sweep is slow.
    Outages,
    /// Entries are deleted as soon as they are there. Nothing else is wrong.
    Counts,
    /// Readers leave and come back all the time, and Redis is slow. Nothing is lost.
    Sleepers,
    /// Readers who have had nothing yet ask for much of streams that are made anew.
    Newcomers,
    /// Streams with much that nobody reads for a while are cut and made anew.
    Depths,
    /// Orders of whom to disconnect, some under ids that go back, at nodes whose clocks are wrong.
    Orders,
    /// Connections end within answers that bring everything to who asks for it; only where Redis speaks RESP.
    Tears,
    /// Readers want more of a tail whose stream was made anew in silence, under ids around those that it had.
    Extensions,
    /// Some of everything, a fault in ten seconds: as much as production has on a bad day. No seed draws it.
    Steady,
    /// Slots of a Cluster move while their channels are read, and servers of it go away.
    Moves,
    /// Nodes read from replicas, which lag, lose their primary, are synchronized anew, and go away; only where Redis speaks RESP.
    Replicas,
    /// Entries are there that are too large to be delivered, among others. Nothing is lost.
    Larges,
}

impl Temper {
    /// Those that seeds draw.
    pub const ALL: [Temper; 14] = [
        Temper::Usual,
        Temper::Lives,
        Temper::Returns,
        Temper::Outages,
        Temper::Counts,
        Temper::Sleepers,
        Temper::Newcomers,
        Temper::Depths,
        Temper::Orders,
        Temper::Tears,
        Temper::Extensions,
        Temper::Moves,
        Temper::Larges,
        Temper::Replicas,
    ];

    /// The temper of a seed: every second is usual.
    pub fn of(seed: u64) -> Temper {
        let mut rng = source(seed, "temper");
        let drawn = rng.usize(1..Temper::ALL.len());
        if rng.bool() { Temper::Usual } else { Temper::ALL[drawn] }
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What a seed determines; `wire`: whether Redis speaks RESP, where the seed is not to say that.
    pub fn plan(self, seed: u64, wire: Option<bool>) -> Plan {
        let mut plan = Plan::of(seed, self.load(), wire);
        plan.temper = self;
        if matches!(self, Temper::Usual | Temper::Steady) {
            return plan.with_all(self.load());
        }
        if self == Temper::Replicas {
            return Temper::with_replicas(plan.with_all(self.load()));
        }
        plan.shape.tokens = self == Temper::Orders;
        plan.steps.retain(|step| !matches!(step.what, What::Revoke { .. } | What::ControlLost { .. }));
        self.shape(&mut plan);
        let mut chains = Chains::new(seed, self, self.load());
        self.wishes(&mut plan, &mut chains);
        self.draw(&mut chains);
        if !plan.shape.redis.has_shards() {
            chains.steps.retain(|step| !matches!(step.what, What::ShardDown { .. } | What::ShardsUp));
        }
        if plan.shape.redis == Way::Contract {
            chains.steps.retain(|step| !matches!(step.what, What::Wired(_)));
        }
        plan.steps.append(&mut chains.steps);
        // Nobody asked for the others.
        plan.steps.extend(chains.waiting);
        plan.steps.sort_by_key(|step| step.at);
        plan
    }

    /// Some of everything, at nodes that read from replicas.
    fn with_replicas(mut plan: Plan) -> Plan {
        let Way::Wire { replicas, .. } = &mut plan.shape.redis else { return plan };
        *replicas = 1 + plan.seed as usize % 2;
        let mut chains = Chains::new(plan.seed, plan.temper, plan.temper.load());
        chains.every(2_000, Chains::a_replica_suffers);
        chains.every(40_000, Chains::a_primary_fails);
        chains.every(30_000, Chains::a_primary_is_away);
        plan.steps.append(&mut chains.steps);
        plan.steps.sort_by_key(|step| step.at);
        plan
    }

    fn load(self) -> Load {
        let load = |nodes, channels, clients, events_per_second, seconds| Load {
            nodes,
            channels,
            clients,
            events_per_second,
            faults_per_ten_seconds: 0,
            length: Duration::from_secs(seconds),
        };
        match self {
            Temper::Usual => Load::USUAL,
            Temper::Steady => Load::STEADY,
            Temper::Replicas => Load { faults_per_ten_seconds: 2, length: Duration::from_secs(120), ..Load::USUAL },
            Temper::Lives => load(2, 4, 12, 1, 120),
            Temper::Returns => load(2, 4, 16, 1, 120),
            Temper::Outages => load(2, 40, 40, 0, 120),
            Temper::Counts => load(2, 6, 12, 2, 90),
            Temper::Sleepers => load(2, 5, 5, 20, 90),
            Temper::Newcomers | Temper::Extensions => load(2, 3, 40, 0, 60),
            Temper::Depths => load(2, 3, 12, 0, 120),
            Temper::Tears => load(2, 30, 60, 0, 60),
            Temper::Orders => load(2, 6, 20, 4, 90),
            Temper::Moves => load(2, 10, 40, 2, 120),
            Temper::Larges => load(2, 4, 16, 2, 90),
        }
    }

    fn shape(self, plan: &mut Plan) {
        let shape = &mut plan.shape;
        match self {
            Temper::Returns => (shape.tail_bytes, shape.heartbeat) = (8 << 10, Duration::from_secs(2)),
            Temper::Newcomers | Temper::Extensions => shape.tail_bytes = 8 << 10,
            Temper::Outages | Temper::Lives => shape.tail_bytes = 4 << 20,
            Temper::Counts => (shape.tail_bytes, shape.waits) = (4 << 20, false),
            Temper::Orders => shape.ahead = Duration::from_millis(2_500),
            Temper::Moves => {
                shape.tail_bytes = 4 << 20;
                if let Way::Wire { servers, .. } = &mut shape.redis {
                    *servers = 2 + plan.seed as usize % 2;
                }
            }
            // Who comes back, or is slow, reads pages.
            Temper::Larges => (shape.tail_bytes, shape.replay_rate) = (1 << 10, 500),
            Temper::Usual | Temper::Steady | Temper::Replicas | Temper::Sleepers | Temper::Depths | Temper::Tears => {}
        }
        if matches!(self, Temper::Newcomers | Temper::Extensions) {
            shape.replay_rate = 60;
        }
    }

    /// Clients as this temper needs them.
    fn wishes(self, plan: &mut Plan, chains: &mut Chains) {
        for step in &mut plan.steps {
            let What::Join { wish, client } = &mut step.what else { continue };
            wish.manner = Manner::default();
            match self {
                Temper::Usual | Temper::Steady | Temper::Replicas | Temper::Orders | Temper::Larges => {}
                Temper::Lives => quick(wish, 1),
                Temper::Returns => {
                    quick(wish, 1);
                    // A heartbeat or two fill the smaller one.
                    wish.room = *chains.rng.choice(&[12, 65_536]).expect("some");
                    wish.begin = Begin::Latest;
                }
                Temper::Outages => {
                    quick(wish, 0);
                    wish.channels = (0..4).map(|at| (*client * 4 + at) % 40).collect();
                    wish.begin = if chains.rng.bool() { Begin::Latest } else { Begin::Tail(5) };
                }
                Temper::Counts => {
                    quick(wish, 2);
                    (wish.begin, wish.filtered) = (Begin::Latest, false);
                }
                Temper::Sleepers => {
                    // Nobody else keeps its channel awake.
                    (wish.channels, wish.begin) = (vec![*client], Begin::Latest);
                    (wish.manner.stale, wish.in_url) = (chains.rng.bool(), chains.rng.bool());
                }
                Temper::Newcomers | Temper::Extensions => {
                    wish.sips = 20_000;
                    wish.begin = Begin::Tail(100);
                }
                Temper::Depths => quick(wish, 1),
                Temper::Moves => quick(wish, 3),
                Temper::Tears => {
                    (wish.channels, wish.begin, wish.filtered) = (vec![*client / 2], Begin::Earliest, false)
                }
            }
        }
        let acts = |what: &What| matches!(what, What::Stall { .. } | What::Read { .. } | What::HangUp { .. });
        if !matches!(self, Temper::Usual | Temper::Orders | Temper::Sleepers) {
            plan.steps.retain(|step| !acts(&step.what));
        }
        // Some come when a chain says so.
        let from = match self {
            Temper::Newcomers | Temper::Tears | Temper::Extensions => 0,
            Temper::Outages | Temper::Moves => 20,
            _ => usize::MAX,
        };
        let late = |step: &mut Step| matches!(step.what, What::Join { client, .. } if client >= from);
        chains.waiting.extend(plan.steps.extract_if(.., late));
        if self != Temper::Usual {
            // All are there from the beginning.
            for step in plan.steps.iter_mut().filter(|step| matches!(step.what, What::Join { .. })) {
                step.at /= if self == Temper::Lives { 80 } else { 8 };
            }
        }
    }

    fn draw(self, chains: &mut Chains) {
        match self {
            Temper::Usual | Temper::Steady | Temper::Replicas => {}
            Temper::Lives => {
                chains.every(1_500, Chains::another_life);
                chains.every(5_000, Chains::other_content);
            }
            Temper::Returns => chains.every(14_000, Chains::a_return),
            Temper::Outages => {
                chains.every(400, Chains::a_large_event);
                chains.every(7_000, Chains::an_outage);
                chains.every(6_000, Chains::a_shard_is_down);
            }
            Temper::Counts => {
                chains.every(700, Chains::fleeting);
                chains.every(9_000, Chains::a_burst_after_a_start);
            }
            Temper::Sleepers => {
                chains.every(5_000, Chains::another_speed);
                chains.every(100, Chains::a_leave);
            }
            Temper::Newcomers => chains.every(2_000, Chains::newcomers),
            Temper::Extensions => chains.every(8_000, Chains::an_extension),
            Temper::Depths => chains.every(6_000, Chains::a_sleep),
            Temper::Tears => chains.every(1_000, Chains::torn),
            Temper::Larges => {
                chains.every(1_500, Chains::too_large_an_event);
                chains.every(400, Chains::a_leave);
            }
            Temper::Moves => {
                chains.every(3_000, Chains::a_slot_moves);
                chains.every(20_000, Chains::a_shard_is_down);
                chains.every(15_000, Chains::an_outage);
                chains.every(25_000, Chains::a_shard_fails_over);
            }
            Temper::Orders => {
                chains.every(2_000, Chains::an_order);
                chains.every(1_000, Chains::a_leave);
            }
        }
    }
}

/// A reader that is not slow, of so many channels at most; 0: as many as it has.
fn quick(wish: &mut Wish, channels: usize) {
    (wish.room, wish.sips) = (65_536, 20_000);
    if channels > 0 {
        wish.channels.truncate(channels);
    }
}
