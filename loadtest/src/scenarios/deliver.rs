//! Scenarios of one shape: connect everybody, publish for a while, look at cost and time.

use crate::lab::{Delivery, Lab, Load, Stage};
use crate::measure::{Distribution, median};
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::redis::Usage;
use crate::results::Run;
use crate::rounds::rounds;
use crate::servers::{Kind, node};
use anyhow::Result;

/// Connects at once, where nothing else is asked for.
pub const IN_FLIGHT: usize = 256;
/// Events before the measured ones, so that every socket has been written to.
const WARM: u64 = 3;
/// Subscribers of a fan-out who are measured with a filter, too.
const SHARE_A_FILTER: u32 = 10_000;

/// Runs a load on each kind of server in turn, several times.
pub fn alternate(lab: &mut Lab, kinds: &[Kind], load: &Load, schedule: &Schedule, runs: u32) -> Result<()> {
    rounds(lab, kinds, runs, |lab, kind| once(lab, kind, load, schedule))
}

/// The same once, on one kind.
pub fn once(lab: &mut Lab, kind: Kind, load: &Load, schedule: &Schedule) -> Result<()> {
    lab.progress(&format!("{} / {} / {kind}", load.scenario, load.case));
    let mut stage = lab.stage(kind, load)?;
    let empty = stage.memory()?;
    let cpu = stage.cpu()?;
    let joined = stage.connect(0.0, IN_FLIGHT)?;
    let joins = load.subscriptions();
    let seconds = crate::clock::seconds(joined.first_connect, joined.last_live);
    stage.run.figure("joins_per_s", joins / seconds);
    stage.run.figure("join_us", (stage.cpu()? - cpu) as f64 / 1e3 / joins);
    let count = WARM * u64::from(schedule.burst) * channels_of(schedule.choice);
    stage.publish(&Schedule { count, rate: schedule.rate.max(count as f64 / 3.0), ..*schedule })?;
    let before = lab.usage(kind)?;
    let turns_before = turns(&stage)?;
    let delivery = stage.publish(schedule)?;
    let after = lab.usage(kind)?;
    let turns_after = turns(&stage)?;
    let memory = stage.memory()?;
    stage.run.figure("memory_kib", memory.rss.saturating_sub(empty.rss) as f64 / joins);
    costs(&mut stage, &delivery);
    redis_costs(&mut stage, &delivery, before.zip(after));
    times(&mut stage)?;
    stage.run.figure("turn_p99_ms", 1e3 * percentile_between(&turns_before, &turns_after, 0.99));
    lab.keep(stage.finish()?);
    Ok(())
}

fn turns(stage: &Stage) -> Result<Vec<(f64, u64)>> {
    stage.server.admin.map_or(Ok(Vec::new()), node::turns)
}

/// The bucket's bound below which a share of what came between two readings lies; NaN where nothing did.
fn percentile_between(before: &[(f64, u64)], after: &[(f64, u64)], share: f64) -> f64 {
    let came = |place: usize| after[place].1 - before.get(place).map_or(0, |bucket| bucket.1);
    let all = after.len().checked_sub(1).map_or(0, came);
    let due = (all as f64 * share).ceil() as u64;
    (0..after.len()).find(|&place| all > 0 && came(place) >= due).map_or(f64::NAN, |place| after[place].0)
}

fn channels_of(choice: Choice) -> u64 {
    match choice {
        // A round over very many would take long and warms nothing that matters.
        Choice::InTurn(n) => u64::from(n).min(10),
        Choice::Zipf(_) | Choice::Random(_) => 1,
    }
}

/// CPU figures of a publication.
pub fn costs(stage: &mut Stage, delivery: &Delivery) {
    let delivered = delivery.delivered as f64;
    let run = &mut stage.run;
    run.figure("cpu_us", delivery.cpu as f64 / 1e3 / delivered);
    run.figure("wire_bytes", delivery.bytes as f64 / delivered);
    run.figure("client_us", delivery.client_cpu as f64 / 1e3 / delivered);
    run.figure("events_per_cpu_s", delivered / (delivery.cpu as f64 / 1e9) / 1e6);
    run.figure("cpu_share", delivery.cpu as f64 / 1e9 / delivery.wall);
    run.figure("publisher_late_ms", delivery.published.late.percentile(0.99));
}

/// How busy clients, publisher and Redis were together, which share a core.
pub fn load_share(stage: &mut Stage, delivery: &Delivery, usage: Option<&(Usage, Usage)>) {
    let redis = usage.map_or(0.0, |(before, after)| after.cpu - before.cpu);
    let others = (delivery.client_cpu + delivery.published.cpu) as f64 / 1e9;
    stage.run.figure("publisher_us", delivery.published.cpu as f64 / 1e3 / delivery.published.events as f64);
    stage.run.figure("load_share", (others + redis) / delivery.wall);
}

/// What Redis did for a publication.
pub fn redis_costs(stage: &mut Stage, delivery: &Delivery, usage: Option<(Usage, Usage)>) {
    redis_figures(&mut stage.run, delivery.published.events, usage);
}

/// What Redis did per event between two readings.
pub fn redis_figures(run: &mut Run, events: u64, usage: Option<(Usage, Usage)>) {
    let Some((before, after)) = usage else { return };
    let events = events as f64;
    run.figure("redis_us", (after.cpu - before.cpu) * 1e6 / events);
    let calls = |usage: &Usage| usage.calls.iter().map(|(_, calls)| *calls).sum::<u64>() as f64;
    run.figure("redis_commands", (calls(&after) - calls(&before)) / events);
}

/// Latencies, and each event's first and last arrival.
pub fn times(stage: &mut Stage) -> Result<()> {
    let measured = stage.fleet.collect()?;
    let whole = measured.events.iter().filter(|e| e.count == stage.audience_of(e.channel));
    let (first, last): (Vec<f64>, Vec<f64>) = whole
        .map(|e| (e.first.saturating_sub(e.intended) as f64 / 1e6, e.last.saturating_sub(e.intended) as f64 / 1e6))
        .unzip();
    let run = &mut stage.run;
    run.figure("first_ms", median(&first).unwrap_or(f64::NAN));
    run.figure("last_ms", median(&last).unwrap_or(f64::NAN));
    latencies(run, measured.latency);
    Ok(())
}

/// Percentiles of the time from intended send to read.
pub fn latencies(run: &mut Run, latency: Distribution) {
    for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)] {
        run.figure(name, latency.percentile(share));
    }
    run.latency = latency;
}

/// The bare limit alone.
pub fn floor(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(10_000);
    let (load, schedule) = fanout_of(lab, "floor", subscribers);
    let runs = lab.options.runs.unwrap_or(2);
    alternate(lab, &[Kind::Floor], &load, &schedule, runs)
}

/// Many subscribers of one channel; 10,000 of them with a filter that all share, too.
pub fn fanout(lab: &mut Lab) -> Result<()> {
    let sizes = lab.options.subscribers.map_or(vec![10_000, 15_000, 19_000], |n| vec![n]);
    for subscribers in sizes {
        let (load, schedule) = fanout_of(lab, "fanout", subscribers);
        let (mut kinds, runs) = (lab.kinds(true), lab.options.runs.unwrap_or(3));
        if subscribers == SHARE_A_FILTER
            && let Some(node) = kinds.iter().position(|kind| *kind == Kind::Node)
        {
            kinds.insert(node + 1, Kind::NodeWhere);
        }
        alternate(lab, &kinds, &load, &schedule, runs)?;
    }
    Ok(())
}

fn fanout_of(lab: &Lab, scenario: &'static str, subscribers: u32) -> (Load, Schedule) {
    // 15,000 at 5 a second would leave no idle time to the core on a slow machine.
    let usual = if subscribers == 15_000 { 4.0 } else { 5.0 };
    let schedule = schedule(lab, usual, 1, 8.0, Choice::InTurn(1));
    let case = format!("{} subscribers, {} B, {}/s", thousands(subscribers), schedule.size, schedule.rate);
    (Load::new(scenario, case, Plan::One, subscribers), schedule)
}

/// A schedule from the options, with a scenario's own defaults.
pub fn schedule(lab: &Lab, rate: f64, burst: u32, seconds: f64, choice: Choice) -> Schedule {
    let options = &lab.options;
    let (rate, burst) = (options.rate.unwrap_or(rate), options.burst.unwrap_or(burst).max(1));
    let bursts = (options.seconds.unwrap_or(seconds) * rate / f64::from(burst)).ceil().max(1.0) as u64;
    Schedule { rate, burst, size: options.size.unwrap_or(200), count: bursts * u64::from(burst), choice }
}

/// Many channels; or one of each subscriber's own, and three shared ones.
pub fn channels(lab: &mut Lab) -> Result<()> {
    let runs = lab.options.runs.unwrap_or(3);
    if lab.options.users {
        let subscribers = lab.options.subscribers.unwrap_or(15_000);
        let schedule = schedule(lab, 4.0, 1, 8.0, Choice::InTurn(3));
        let case = format!("users: {} subscribers, one own and 3 shared channels", thousands(subscribers));
        let load = Load::new("channels", case, Plan::Users { shared: 3 }, subscribers);
        // The floor sends to all what the node sends to all: its one channel stands for the shared ones.
        let kinds = lab.floor_and_node();
        return alternate(lab, &kinds, &load, &schedule, runs);
    }
    let subscribers = lab.options.subscribers.unwrap_or(5_000);
    let channels = lab.options.channels.unwrap_or(1_000);
    let schedule = schedule(lab, 50.0, 1, 8.0, Choice::Zipf(channels));
    let case = format!("Zipf: {} subscribers on 1 to 20 of {} channels", thousands(subscribers), thousands(channels));
    let mut load = Load::new("channels", case, Plan::Zipf { channels, most: 20 }, subscribers);
    load.ids = true;
    alternate(lab, &[Kind::Node], &load, &schedule, runs)
}

/// Bursts: the events of one go out together if the server knows how.
pub fn burst(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(10_000);
    let schedule = schedule(lab, 100.0, 100, 8.0, Choice::InTurn(1));
    let case = format!("{} subscribers, bursts of {}", thousands(subscribers), schedule.burst);
    let load = Load::new("burst", case, Plan::One, subscribers);
    let (kinds, runs) = (lab.kinds(true), lab.options.runs.unwrap_or(3));
    alternate(lab, &kinds, &load, &schedule, runs)
}

/// Compressed streams: an event packed once for all, beside plain ones and a compressor for each connection.
pub fn compress(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(2_000);
    for size in lab.options.size.map_or(vec![200, 2_048], |size| vec![size]) {
        let schedule = Schedule { size, ..schedule(lab, 5.0, 1, 6.0, Choice::InTurn(1)) };
        let case = format!("{} subscribers, {size} B", thousands(subscribers));
        let load = Load::new("compress", case, Plan::One, subscribers);
        let kinds = [Kind::Node, Kind::NodeGzip, Kind::HyperBody, Kind::HyperBodyGzip];
        alternate(lab, &kinds, &load, &schedule, lab.options.runs.unwrap_or(2))?;
    }
    Ok(())
}

/// Light load: the way of one event.
pub fn lag(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(10);
    let schedule = schedule(lab, 100.0, 1, 10.0, Choice::InTurn(1));
    let case = format!("{} subscribers, {}/s", thousands(subscribers), schedule.rate);
    let load = Load::new("lag", case, Plan::One, subscribers);
    let (mut kinds, runs) = (lab.kinds(true), lab.options.runs.unwrap_or(3));
    if kinds.contains(&Kind::Floor) {
        kinds.insert(1, Kind::FloorRedis);
    }
    alternate(lab, &kinds, &load, &schedule, runs)
}

/// `15,000`.
pub fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn percentiles_of_what_came_between() {
        let before = [(0.001, 10), (0.005, 20), (f64::INFINITY, 20)];
        let after = [(0.001, 11), (0.005, 119), (f64::INFINITY, 120)];
        let percentile = |share| super::percentile_between(&before, &after, share);
        assert_eq!((percentile(0.01), percentile(0.99)), (0.001, 0.005));
        assert!(percentile(1.0).is_infinite());
        assert!(super::percentile_between(&after, &after, 0.99).is_nan());
        assert!(super::percentile_between(&[], &[], 0.99).is_nan());
    }

    #[test]
    fn thousands() {
        let texts = [7, 999, 1_000, 15_000, 1_000_000].map(super::thousands);
        assert_eq!(texts, ["7", "999", "1,000", "15,000", "1,000,000"]);
    }
}
