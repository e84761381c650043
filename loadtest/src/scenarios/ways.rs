//! TLS and HTTP/2: what they cost beside HTTP/1.1 in the clear, beside bare loops, and beside nginx in front of a node.

use super::deliver::{IN_FLIGHT, alternate, once, schedule, thousands};
use crate::clients::protocol::Stats;
use crate::clock;
use crate::lab::{Lab, Load, Stage};
use crate::options::{Against, Options};
use crate::plan::Plan;
use crate::publisher::Choice;
use crate::rounds::rounds;
use crate::servers::{Kind, front};
use anyhow::Result;

/// So many subscribers, or as many as usual, and what is measured with them.
type Step = (Option<u32>, fn(&mut Lab) -> Result<()>);

/// All of this file: few subscribers, beside nginx if that is asked for, and many.
pub fn run(lab: &mut Lab) -> Result<()> {
    if lab.options.subscribers.is_some() {
        return deliver(lab);
    }
    let given = lab.options.clone();
    let steps: [Step; 5] = [
        (Some(2_000), deliver),
        (Some(10_000), deliver),
        (None, streams),
        (Some(5_000), handshakes),
        (None, handshakes),
    ];
    for (subscribers, step) in steps {
        lab.options = Options { subscribers, ..given.clone() };
        step(lab)?;
    }
    lab.options = given;
    Ok(())
}

/// Every way to speak to a node: what TLS and HTTP/2 cost per delivery and in memory.
pub fn deliver(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(2_000);
    let schedule = schedule(lab, 5.0, 1, 6.0, Choice::InTurn(1));
    let load = Load::new("ways", format!("{} subscribers", thousands(subscribers)), Plan::One, subscribers);
    let kinds = [Kind::Node, Kind::FloorTls, Kind::NodeTls, Kind::NodeTlsLibrary, Kind::NodeHttp2, Kind::NodeTlsHttp2];
    let kinds = with_fronts(lab, &kinds, subscribers);
    alternate(lab, &kinds, &load, &schedule, lab.options.runs.unwrap_or(2))
}

/// nginx in front as well, where it is asked for and carries so many.
fn with_fronts(lab: &Lab, kinds: &[Kind], subscribers: u32) -> Vec<Kind> {
    let asked = lab.options.against.contains(&Against::Nginx) && subscribers <= front::MOST;
    let fronts: &[Kind] = if asked { &[Kind::FrontTls, Kind::FrontTlsHttp2] } else { &[] };
    [kinds, fronts].concat()
}

/// Channels of a subscriber in [`streams`], as of six tabs.
const TABS: u32 = 6;

/// Six streams on one HTTP/2 connection, beside as many on a connection each. All get an event at the same moment.
pub fn streams(lab: &mut Lab) -> Result<()> {
    let connections = lab.options.subscribers.unwrap_or(500);
    let mut schedule = schedule(lab, 5.0 * f64::from(TABS), TABS, 6.0, Choice::InTurn(TABS));
    schedule.count = schedule.count.next_multiple_of(u64::from(TABS));
    let case = format!("{} subscriptions of {TABS} channels", thousands(connections * TABS));
    let apart = Load::new("streams", case, Plan::Spread { targets: 1, channels: TABS }, connections * TABS);
    let all = Plan::All { channels: TABS };
    let together = Load { plan: all, clients: connections, stream_each: true, ..apart.clone() };
    let kinds = [Kind::NodeHttp2, Kind::NodeHttp2Streams, Kind::NodeTlsHttp2, Kind::NodeTlsHttp2Streams];
    rounds(lab, &kinds, lab.options.runs.unwrap_or(3), |lab, kind| {
        let load = if kind.has_streams() { &together } else { &apart };
        once(lab, kind, load, &schedule)
    })
}

/// TLS handshakes: whole ones, resumed ones, and a storm of resumed ones, beside a bare loop of them.
pub fn handshakes(lab: &mut Lab) -> Result<()> {
    let subscribers = lab.options.subscribers.unwrap_or(10_000);
    let case = format!("{} subscribers", thousands(subscribers));
    let load = Load { tickets: true, ..Load::new("handshakes", case, Plan::One, subscribers) };
    let kinds = with_fronts(lab, &[Kind::FloorTls, Kind::NodeTls, Kind::NodeTlsHttp2], subscribers);
    rounds(lab, &kinds, lab.options.runs.unwrap_or(2), |lab, kind| {
        lab.progress(&format!("handshakes / {} / {kind}", load.case));
        let mut stage = lab.stage(kind, &load)?;
        let whole = join(&mut stage, IN_FLIGHT, 0)?;
        figures(&mut stage, ["joins_per_s", "join_us"], whole);
        stage.leave()?;
        let resumed = join(&mut stage, IN_FLIGHT, load.clients)?;
        figures(&mut stage, ["joins_resumed_per_s", "join_resumed_us"], resumed);
        stage.leave()?;
        let storm = join(&mut stage, load.clients as usize, load.clients)?;
        stage.run.figure("storm_s", storm.seconds);
        lab.keep(stage.finish()?);
        Ok(())
    })
}

struct Joined {
    seconds: f64,
    /// CPU of the server, in nanoseconds.
    cpu: u64,
}

/// Connects everybody, and checks how many sessions began with a ticket.
fn join(stage: &mut Stage, in_flight: usize, resumed: u32) -> Result<Joined> {
    stage.fleet.reset()?;
    let (before, cpu) = (stage.fleet.stats()?.resumed, stage.cpu()?);
    let joined: Stats = stage.connect(0.0, in_flight)?;
    let by_ticket = joined.resumed - before;
    if by_ticket != u64::from(resumed) {
        stage.run.faults.push(format!("{by_ticket} sessions began with a ticket instead of {resumed}"));
    }
    Ok(Joined { seconds: clock::seconds(joined.first_connect, joined.last_live), cpu: stage.cpu()? - cpu })
}

fn figures(stage: &mut Stage, [rate, cost]: [&'static str; 2], joined: Joined) {
    let clients = f64::from(stage.fleet.clients);
    stage.run.figure(rate, clients / joined.seconds);
    stage.run.figure(cost, joined.cpu as f64 / 1e3 / clients);
}
