//! A cluster in one process and one thread, in virtual time, with a seed for everything: nodes, Redis' failures, clients. The
//! nodes are the product's; sockets, threads, clocks and Redis are played.

mod admission;
mod answer;
mod asking;
mod backplane;
mod bounds;
mod campaign;
mod carrier;
mod chains;
mod chance;
#[path = "../core/support/chunked.rs"]
mod chunked;
mod client;
mod ends;
#[path = "../core/support/event_stream.rs"]
#[expect(dead_code, reason = "others use the rest of it")]
mod event_stream;
mod gaps;
mod gunzip;
mod http2;
mod judge;
mod leg;
mod lives;
mod nodes;
mod options;
mod orders;
mod owed;
mod plan;
mod planting;
mod played;
mod posts;
mod proxy;
mod reading;
mod redis;
#[expect(dead_code, unused_imports, reason = "others use the rest of it")]
mod redis_model;
mod relaying;
mod request;
mod results;
mod shrink;
mod streams;
mod temper;
mod trace;
mod truth;
mod watchdog;
mod wire;
mod wired;
mod wish;
mod world;

use campaign::{Limit, campaign};
use fantail::planted::{Fault, plant};
use options::Options;
use plan::Plan;
use played::Way;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use temper::Temper;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use world::{Outcome, run};

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Seeds that showed a fault when there was one, and some others.
const KNOWN: [u64; 14] = [1, 8, 23, 75, 242, 563, 572, 1_025, 200_010, 1_031, 2_003, 3_260_537, 7_000_186, 7_000_876];

/// The same, of runs whose Redis speaks RESP.
const KNOWN_BY_WIRE: [u64; 11] =
    [4, 12, 91, 700_034, 700_272, 700_382, 700_546, 700_849, 2_000_852, 3_100_804, 3_102_802];

/// The same, of one kind of trouble; whether their Redis speaks RESP.
const KNOWN_BY_TEMPER: [(Temper, u64, bool); 10] = [
    (Temper::Counts, 700_856, true),
    (Temper::Returns, 3_100_373, true),
    (Temper::Steady, 4_101_017, false),
    (Temper::Steady, 4_106_875, false),
    (Temper::Replicas, 1_002, true),
    (Temper::Replicas, 1_107, true),
    (Temper::Replicas, 1_242, true),
    (Temper::Steady, 4_108_181, false),
    (Temper::Steady, 4_140_240, false),
    (Temper::Steady, 4_163_266, false),
];

/// How long a run is made smaller.
const SHRINKING: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    fantail::hash::fix_order();
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("simulation: {wrong}");
            return ExitCode::from(2);
        }
    };
    if options.verbose {
        let log =
            tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_timer(VirtualTime).with_ansi(false);
        log.with_writer(std::io::stdout).init();
    }
    watchdog::start();
    if let (Some(_), Some([fault])) = (options.seed, options.plant.as_deref()) {
        plant(Some(*fault));
    }
    let good = match (options.seed, &options.plant, options.hours) {
        (Some(seed), _, _) => repeat(seed, &options),
        (_, Some(faults), _) => find(faults, &options),
        (_, _, Some(hours)) => fresh(&options, Limit::of_virtual(Duration::from_secs(hours * 3_600))),
        _ => match options.seconds {
            Some(seconds) => fresh(&options, Limit::of_real(Duration::from_secs(seconds))),
            None => deterministic() & known(),
        },
    };
    nodes::clean_up();
    let (passed, failed) = (PASSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    println!("test result: {}. {passed} passed; {failed} failed", if good { "ok" } else { "FAILED" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lines of the log are dated by the virtual time.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, into: &mut Writer<'_>) -> std::fmt::Result {
        let begun = world::BEGUN.get();
        write!(into, "{:>10.3}", begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64()))
    }
}

/// One run, by its seed.
fn repeat(seed: u64, options: &Options) -> bool {
    let mut plan = options.temper.unwrap_or_else(|| Temper::of(seed)).plan(seed, options.wire);
    if options.shrink {
        plan = shrink::shrink(plan, SHRINKING);
        println!("{:#?}", plan.shape);
        plan.steps.iter().for_each(|step| println!("{:>10.3} {:?} # {}", step.at.as_secs_f64(), step.what, step.seed));
    }
    let outcome = run(&plan);
    tell(&plan, &outcome);
    result("the_run_is_right", outcome.wrong.is_none());
    outcome.wrong.is_none()
}

/// Runs that showed a fault when there was one.
fn known() -> bool {
    let done = campaign(known_seeds(), Limit::NONE, 1);
    println!("{done}");
    result("what_was_found_is_mended", done.is_good());
    done.is_good()
}

/// Runs of seeds that nobody has tried.
fn fresh(options: &Options, limit: Limit) -> bool {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let (from, temper, wire) = (options.from.unwrap_or_else(now), options.temper, options.wire);
    let plans = (from..).map(move |seed| temper.unwrap_or_else(|| Temper::of(seed)).plan(seed, wire));
    let done = campaign(plans, limit, options.threads);
    println!("seeds {from} to {}: {done}", from + done.runs.saturating_sub(1));
    if options.results && done.is_good() {
        results::write("Virtual hours", &done.in_markdown(from));
    }
    result("no_seed_shows_a_fault", done.is_good());
    done.is_good()
}

pub fn tell(plan: &Plan, outcome: &Outcome) {
    let (seed, temper, redis) = (plan.seed, plan.temper.name(), Way::name(plan.shape.redis != Way::Contract));
    let Outcome { trace: (hash, bytes), virtual_time, published, events, gaps, .. } = outcome;
    println!(
        "seed {seed}, {temper}, {redis}: {:.0} virtual seconds, {published} events published, {events} received, {gaps} gaps, \
         {bytes} bytes, trace {hash:016x}",
        virtual_time.as_secs_f64()
    );
    if let Some(wrong) = &outcome.wrong {
        println!("{wrong}\nto repeat it: tests/run simulation --seed {seed} --temper {temper} --redis {redis}");
    }
}

/// The same seed gives the same bytes at the same moments.
fn deterministic() -> bool {
    let mut all = true;
    for (wire, name) in [(false, "the_same_seed_gives_the_same_bytes"), (true, "and_so_it_does_over_sockets")] {
        let plan = Temper::Usual.plan(7, Some(wire));
        let (one, other) = (run(&plan), run(&plan));
        let good = one.trace == other.trace && one.trace.1 > 0;
        result(name, good);
        if !good {
            println!("{:?} and {:?}", one.trace, other.trace);
        }
        all &= good;
    }
    all
}

/// Plants faults, and looks for each; whether all were found.
fn find(faults: &[Fault], options: &Options) -> bool {
    let one = |fault: &Fault| {
        let sought = planting::seek(*fault, options.temper, options.wire);
        println!("{}", sought.line());
        result(&format!("{fault:?}_is_found"), sought.shown.is_some());
        sought
    };
    let all: Vec<planting::Sought> = faults.iter().map(one).collect();
    let section = planting::section(&all);
    if faults.len() > 1 {
        println!("\n{section}");
    }
    if options.results {
        results::write("Planted faults", &section);
    }
    all.iter().all(|sought| sought.shown.is_some())
}

fn result(name: &str, good: bool) {
    if good { &PASSED } else { &FAILED }.fetch_add(1, Ordering::Relaxed);
    println!("test simulation::{name} ... {}", if good { "ok" } else { "FAILED" });
}

/// Plans that are run each time, in their way of playing Redis, and one of each temper.
fn known_seeds() -> impl Iterator<Item = Plan> + Send {
    let (contract, wire) = (KNOWN.iter().map(|seed| (seed, false)), KNOWN_BY_WIRE.iter().map(|seed| (seed, true)));
    let usual = contract.chain(wire).map(|(seed, wire)| Temper::Usual.plan(*seed, Some(wire)));
    let of_temper = KNOWN_BY_TEMPER.into_iter().map(|(temper, seed, wire)| temper.plan(seed, Some(wire)));
    let others = Temper::ALL.into_iter().filter(|temper| *temper != Temper::Usual);
    let others = others
        .map(|temper| temper.plan(1_001, Some(matches!(temper, Temper::Tears | Temper::Moves | Temper::Replicas))));
    usual.chain(of_temper).chain(others)
}
