//! Notifications: every subscriber has a channel of its own, and events go to random ones at a rate that does not wait
//! for anybody. What an event costs when one person reads it, by each way in; and the greatest rate that is kept up with.

use super::deliver::{self, IN_FLIGHT, thousands};
use super::search::Search;
use crate::lab::{Delivery, Lab, Load, Publishing, Stage};
use crate::options::Way;
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::redis::Usage;
use crate::rounds::rounds;
use crate::servers::Kind;
use anyhow::{Context as _, Result};

/// Events per second of the first one to each channel: a node of one core keeps up.
const FIRST_RATE: f64 = 4_000.0;
/// Milliseconds within which 99 of 100 events arrive at a node that keeps up.
const KEPT_UP: f64 = 100.0;

impl Way {
    const ALL: [Way; 3] = [Way::Xadd, Way::Post, Way::Memory];

    fn name(self) -> &'static str {
        match self {
            Way::Xadd => "XADD",
            Way::Post => "POST with Redis",
            Way::Memory => "POST in memory",
        }
    }

    fn publishing(self) -> Publishing {
        match self {
            Way::Xadd => Publishing::Stream,
            Way::Post => Publishing::Post { with_redis: true },
            Way::Memory => Publishing::Post { with_redis: false },
        }
    }

    /// What stands for a server of a kind where events come in like this; `None` where it cannot take them so.
    fn kind(self, kind: Kind) -> Option<Kind> {
        match (self, kind) {
            (Way::Xadd, Kind::Floor) => Some(Kind::FloorRedis),
            (Way::Memory, Kind::Floor) | (Way::Post | Way::Memory, Kind::Nchan | Kind::Centrifugo) => Some(kind),
            (_, kind) if kind.is_node() => Some(kind),
            _ => None,
        }
    }
}

pub fn run(lab: &mut Lab) -> Result<()> {
    let rates = lab.options.rate.map_or(vec![1_000.0, 4_000.0], |rate| vec![rate]);
    let runs = lab.options.runs.unwrap_or(2);
    let ways = if lab.options.by.is_empty() { Way::ALL.to_vec() } else { lab.options.by.clone() };
    for way in ways {
        let kinds: Vec<Kind> = lab.kinds(true).into_iter().filter_map(|kind| way.kind(kind)).collect();
        for &rate in &rates {
            let (load, schedule) = load(lab, way, &format!("{}/s", thousands(rate as u32)));
            let schedule = Schedule { rate, count: (rate * lab.options.seconds.unwrap_or(8.0)) as u64, ..schedule };
            rounds(lab, &kinds, runs, |lab, kind| once(lab, kind, &load, &schedule))?;
        }
        if lab.options.most {
            let (load, schedule) = load(lab, way, "as many as can be");
            let asked: Vec<Kind> = kinds.into_iter().filter(|kind| kind.is_node() || kind.is_floor()).collect();
            rounds(lab, &asked, 1, |lab, kind| most(lab, kind, &load, &schedule))?;
        }
    }
    Ok(())
}

/// A load, and a schedule whose rate is still to be given.
fn load(lab: &Lab, way: Way, rate: &str) -> (Load, Schedule) {
    let subscribers = lab.options.subscribers.unwrap_or(5_000);
    let size = lab.options.size.unwrap_or(140);
    let case = format!("{}, {rate}, {} subscribers, {size} B", way.name(), thousands(subscribers));
    let load = Load {
        ids: true,
        publishing: way.publishing(),
        node_arguments: if way == Way::Post { &["--publish", "on"] } else { &[] },
        ..Load::new("unicast", case, Plan::Apart { each: 1 }, subscribers)
    };
    (load, Schedule { rate: FIRST_RATE, burst: 1, size, count: 0, choice: Choice::Random(subscribers) })
}

/// Everybody connected, and one event sent to each.
fn ready(lab: &mut Lab, kind: Kind, load: &Load, schedule: &Schedule) -> Result<Stage> {
    lab.progress(&format!("unicast / {} / {kind}", load.case));
    let mut stage = lab.stage(kind, &Load { ids: kind.is_node(), ..load.clone() })?;
    stage.publisher.as_mut().context("a publisher at rest")?.core = lab.core(1);
    let empty = stage.memory()?;
    stage.connect(0.0, IN_FLIGHT)?;
    let memory = |stage: &Stage| anyhow::Ok(stage.memory()?.rss.saturating_sub(empty.rss) as f64);
    let each = memory(&stage)? / f64::from(load.clients);
    stage.run.figure("memory_kib", each);
    let first =
        Schedule { rate: FIRST_RATE, count: load.clients.into(), choice: Choice::InTurn(load.clients), ..*schedule };
    stage.publish(&first)?;
    let each = memory(&stage)? / f64::from(load.clients);
    stage.run.figure("memory_per_channel_kib", each);
    Ok(stage)
}

fn once(lab: &mut Lab, kind: Kind, load: &Load, schedule: &Schedule) -> Result<()> {
    let mut stage = ready(lab, kind, load, schedule)?;
    let (delivery, usage) = publish(lab, &mut stage, schedule, load.needs_redis(kind))?;
    deliver::costs(&mut stage, &delivery);
    deliver::redis_costs(&mut stage, &delivery, usage);
    let latency = stage.fleet.collect()?.latency;
    deliver::latencies(&mut stage.run, latency);
    lab.keep(stage.finish()?);
    Ok(())
}

/// Publishes, and what Redis had used before and after, where the case has one.
fn publish(
    lab: &mut Lab,
    stage: &mut Stage,
    schedule: &Schedule,
    with_redis: bool,
) -> Result<(Delivery, Option<(Usage, Usage)>)> {
    let before = if with_redis { Some(lab.redis()?.usage()?) } else { None };
    let delivery = stage.publish(schedule)?;
    let after = if with_redis { Some(lab.redis()?.usage()?) } else { None };
    Ok((delivery, before.zip(after)))
}

/// Looks for the greatest rate at which every event arrives, 99 of 100 in time.
fn most(lab: &mut Lab, kind: Kind, load: &Load, schedule: &Schedule) -> Result<()> {
    let mut stage = ready(lab, kind, load, schedule)?;
    let seconds = lab.options.seconds.unwrap_or(20.0);
    let with_redis = load.needs_redis(kind);
    let mut search = Search::from(lab.options.rate.unwrap_or(FIRST_RATE));
    while let Some(rate) = search.next() {
        lab.progress(&format!("unicast / {} / {kind}: {rate:.0}/s", load.case));
        let schedule = Schedule { rate, count: (rate * seconds) as u64, ..*schedule };
        let (delivery, usage) = publish(lab, &mut stage, &schedule, with_redis)?;
        let latency = stage.fleet.collect()?.latency;
        let kept_up = delivery.delivered == schedule.count && latency.percentile(0.99) < KEPT_UP;
        search.note(rate, kept_up);
        if kept_up {
            deliver::costs(&mut stage, &delivery);
            deliver::load_share(&mut stage, &delivery, usage.as_ref());
            deliver::redis_costs(&mut stage, &delivery, usage);
            deliver::latencies(&mut stage.run, latency);
        }
    }
    stage.run.figure("most_per_s", search.most());
    lab.keep(stage.finish()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_the_servers_that_can_take_it() {
        let kinds = [Kind::Floor, Kind::Node, Kind::Before, Kind::Nchan, Kind::HyperBody];
        let of = |way: Way| kinds.iter().filter_map(|&kind| way.kind(kind)).collect::<Vec<_>>();
        assert_eq!(of(Way::Xadd), [Kind::FloorRedis, Kind::Node, Kind::Before]);
        assert_eq!(of(Way::Post), [Kind::Node, Kind::Before, Kind::Nchan]);
        assert_eq!(of(Way::Memory), [Kind::Floor, Kind::Node, Kind::Before, Kind::Nchan]);
    }
}
