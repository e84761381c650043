//! Selections: everything within half an hour, everything small within two minutes, and the checker's own test.

use super::deliver::{self, IN_FLIGHT, alternate};
use super::{churn, cluster, follow, hold, nodes, slow, storm, unicast, ways};
use crate::checker::Tally;
use crate::lab::{Lab, Load};
use crate::options::{Against, Options};
use crate::plan::Plan;
use crate::publisher::{Choice, Schedule};
use crate::servers::{Kind, fault};
use anyhow::Result;

/// A scenario and its options.
type Step = (Options, fn(&mut Lab) -> Result<()>);

/// Seconds that disturbed rounds of `all` may take again.
const SPARE: f64 = 50.0;

/// A selection of every scenario, at most 30 minutes, and twice that beside another build. Options about sizes are ignored.
pub fn all(lab: &mut Lab) -> Result<()> {
    lab.spare = SPARE;
    let given = lab.options.clone();
    let base = Options {
        subscribers: None,
        rate: None,
        size: None,
        seconds: None,
        burst: None,
        channels: None,
        nodes: None,
        by: Vec::new(),
        most: false,
        ..given.clone()
    };
    let all = vec![Against::Nchan, Against::HyperBody];
    let alone = Options { runs: Some(2), against: Vec::new(), ..base.clone() };
    let beside = Options { runs: Some(1), against: all, ..base };
    let thrice = Options { runs: Some(3), ..alone.clone() };
    let once = Options { runs: Some(1), ..alone.clone() };
    let steps: [Step; 18] = [
        (Options { subscribers: Some(10_000), ..beside.clone() }, deliver::fanout),
        (Options { subscribers: Some(10_000), ..alone.clone() }, deliver::fanout),
        (Options { subscribers: Some(15_000), ..thrice.clone() }, deliver::fanout),
        (Options { subscribers: Some(19_000), ..thrice.clone() }, deliver::fanout),
        (Options { users: true, ..alone.clone() }, deliver::channels),
        (once.clone(), deliver::channels),
        (thrice.clone(), deliver::burst),
        (once.clone(), slow::run),
        (Options { seconds: Some(4.0), ..thrice.clone() }, follow::run),
        (Options { seconds: Some(4.0), ..beside.clone() }, unicast::run),
        (Options { seconds: Some(4.0), ..once.clone() }, nodes::brief),
        (Options { seconds: Some(6.0), ..thrice }, deliver::lag),
        (once.clone(), deliver::compress),
        (Options { against: vec![Against::Nginx], ..alone.clone() }, ways::run),
        (beside.clone(), hold::run),
        (once, hold::run),
        (beside, storm::run),
        (alone.clone(), churn::run),
    ];
    for (options, step) in steps {
        lab.options = options;
        step(lab)?;
    }
    lab.options = alone.clone();
    cluster::overload(lab)?;
    lab.options = alone;
    let outcome = cluster::run(lab);
    lab.options = given;
    outcome
}

/// Exactness only, about two minutes.
pub fn smoke(lab: &mut Lab) -> Result<()> {
    lab.spare = 0.0;
    let given = lab.options.clone();
    selftest(lab)?;
    let small = Options { runs: Some(1), subscribers: Some(300), seconds: Some(3.0), ..given.clone() };
    let fast = Options { rate: Some(100.0), ..small.clone() };
    let steps: [Step; 13] = [
        (fast.clone(), deliver::fanout),
        (Options { rate: Some(300.0), ..small.clone() }, deliver::channels),
        (Options { users: true, ..fast.clone() }, deliver::channels),
        (Options { rate: Some(1_000.0), ..small.clone() }, deliver::burst),
        (Options { rate: Some(100.0), size: Some(6_000), subscribers: Some(200), ..small.clone() }, slow::run),
        (Options { rate: Some(50.0), ..small.clone() }, deliver::compress),
        (Options { rate: Some(50.0), ..small.clone() }, ways::deliver),
        (Options { rate: Some(60.0), subscribers: Some(50), ..small.clone() }, ways::streams),
        (small.clone(), ways::handshakes),
        (Options { rate: Some(300.0), seconds: Some(1.0), ..small.clone() }, unicast::run),
        (Options { rate: Some(100.0), seconds: Some(1.0), nodes: Some(3), ..small.clone() }, nodes::brief),
        (small.clone(), storm::run),
        (Options { subscribers: Some(2_000), rate: Some(20.0), ..small }, churn::run),
    ];
    for (options, step) in steps {
        lab.options = options;
        step(lab)?;
    }
    lab.options = given;
    Ok(())
}

/// Every how many deliveries the faulty server errs, and how many there are.
const EVERY: u64 = 9_000;
const SUBSCRIBERS: u32 = 100;
const EVENTS: u64 = 1_000;

/// A server errs on purpose in one of 9,000 deliveries; the checker must find each one, and nothing else.
pub fn selftest(lab: &mut Lab) -> Result<()> {
    let errors = u64::from(SUBSCRIBERS) * EVENTS / EVERY;
    let none = Tally::default();
    for (kind, expected) in [
        (fault::Kind::Drop, Tally { lost: errors, ..none }),
        (fault::Kind::Repeat, Tally { repeated: errors, ..none }),
        (fault::Kind::Reorder, Tally { reordered: errors, ..none }),
    ] {
        let case = format!("{kind:?} one in {EVERY}");
        lab.progress(&format!("selftest / {case}"));
        let load = Load { fault: Some((kind, EVERY)), ..Load::new("selftest", case, Plan::One, SUBSCRIBERS) };
        let mut stage = lab.stage(Kind::Floor, &load)?;
        stage.connect(0.0, IN_FLIGHT)?;
        let choice = Choice::InTurn(1);
        stage.publish_until(&Schedule { rate: 1_000.0, burst: 1, size: 100, count: EVENTS, choice }, |stats| {
            stats.delivered + expected.lost >= u64::from(SUBSCRIBERS) * EVENTS
        })?;
        let mut run = stage.finish()?;
        if run.tally != expected {
            run.faults.push(format!("the checker found {:?} instead of {expected:?}", run.tally));
        }
        run.tally = none;
        lab.keep(run);
    }
    // A server that errs in nothing.
    let load = Load::new("selftest", "no fault".into(), Plan::One, SUBSCRIBERS);
    let choice = Choice::InTurn(1);
    let schedule = Schedule { rate: 1_000.0, burst: 1, size: 100, count: EVENTS, choice };
    alternate(lab, &[Kind::Floor], &load, &schedule, 1)
}
