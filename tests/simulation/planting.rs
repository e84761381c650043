//! Plants faults one by one, and looks for each with plans in which it can show.

use super::plan::Plan;
use super::played::Way;
use super::temper::Temper;
use super::world::run;
use fantail::planted::{Fault, plant};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How long a planted fault is looked for.
pub const SEARCH: Duration = Duration::from_secs(60);

/// What came of looking for a fault.
pub struct Sought {
    pub fault: Fault,
    pub time: Duration,
    pub runs: u64,
    /// The run that showed it; `None`: none did.
    pub shown: Option<Shown>,
}

/// A run that showed a fault.
pub struct Shown {
    pub seed: u64,
    pub temper: Temper,
    pub wire: bool,
    /// The first line of what was wrong.
    pub wrong: String,
}

/// Looks for a fault until a run shows it, or its time is over. `temper` and `wire`: what all runs have, where it is given.
pub fn seek(fault: Fault, temper: Option<Temper>, wire: Option<bool>) -> Sought {
    plant(Some(fault));
    let begun = Instant::now();
    let mut sought = Sought { fault, time: Duration::ZERO, runs: 0, shown: None };
    while sought.shown.is_none() && begun.elapsed() < SEARCH {
        let (suited, suited_wire) = suits(fault, sought.runs);
        let (temper, wire) = (temper.unwrap_or(suited), wire.unwrap_or(suited_wire));
        sought.runs += 1;
        // Runs of the temper that suits it have all seeds.
        let seed = 1_000 + sought.runs - if sought.runs.is_multiple_of(4) { 0 } else { sought.runs / 4 };
        let plan = temper.plan(seed, Some(wire));
        // What is wrong without the fault, too, shows nothing of it.
        let wrong = run(&plan).wrong.filter(|_| is_right_without(&plan, fault));
        let first = |wrong: String| wrong.lines().next().unwrap_or_default().to_owned();
        sought.shown = wrong.map(|wrong| Shown { seed, temper, wire, wrong: first(wrong) });
    }
    plant(None);
    sought.time = begun.elapsed();
    sought
}

/// Whether nothing is wrong in a run once the fault is not there.
fn is_right_without(plan: &Plan, fault: Fault) -> bool {
    plant(None);
    let right = run(plan).wrong.is_none();
    plant(Some(fault));
    right
}

/// The temper in which a fault shows soonest, or another in every fourth run; and whether Redis speaks RESP in that run.
fn suits(fault: Fault, run: u64) -> (Temper, bool) {
    let (temper, wire) = match fault {
        Fault::DoubtLost => (Temper::Outages, false),
        Fault::DoubtNotAwaited => (Temper::Extensions, true),
        Fault::StaleAnswerBelieved | Fault::SleepBelieved => (Temper::Sleepers, false),
        Fault::LossNotCounted | Fault::CountBelieved | Fault::DeletedNotTold | Fault::CountForgotten => {
            (Temper::Counts, false)
        }
        Fault::StaleHeaderCounts => (Temper::Sleepers, false),
        Fault::HeldBeginsLate => (Temper::Outages, false),
        Fault::OrdersGoOn | Fault::OrdersByNodeClock => (Temper::Orders, false),
        Fault::TwoAreAll => (Temper::Tears, true),
        Fault::HistoryCutShort => (Temper::Newcomers, false),
        Fault::ExtendedBlindly => (Temper::Extensions, false),
        Fault::ReturnBelieved | Fault::WitnessNotCompared => (Temper::Lives, false),
        Fault::ReturnNotTold | Fault::ReturnUnknown | Fault::LeftoverWhole => (Temper::Returns, false),
        Fault::NewLifeSkipped
        | Fault::PageIsAll
        | Fault::PageWithoutWitness
        | Fault::FellBehindInSilence
        | Fault::LifeBehindUnknown
        | Fault::MissingNotJudged => (Temper::Newcomers, false),
        Fault::TwoLivesMixed => (Temper::Newcomers, true),
        Fault::TooLargeInSilence | Fault::TooLargeCountsTwice => (Temper::Larges, false),
        Fault::RationKept => (Temper::Newcomers, false),
        Fault::FloorForgotten | Fault::ReplicaForgets => (Temper::Replicas, true),
        Fault::LeftoverDropped | Fault::LeftoverCut => (Temper::Outages, false),
        Fault::RetraceKept => (Temper::Depths, false),
        _ => (Temper::Usual, false),
    };
    let others = Temper::ALL.len() as u64;
    match run % 4 {
        3 => (Temper::ALL[(run / 4 % others) as usize], (run / 4).is_multiple_of(2)),
        _ => (temper, wire),
    }
}

impl Sought {
    /// A line for who waits for it.
    pub fn line(&self) -> String {
        let Sought { fault, time, runs, .. } = self;
        let seconds = time.as_secs_f64();
        match &self.shown {
            Some(Shown { seed, temper, wire, wrong }) => format!(
                "{fault:?}: found in {seconds:.1} s, run {runs}: --seed {seed} --temper {} --redis {}: {wrong}",
                temper.name(),
                Way::name(*wire)
            ),
            None => format!("{fault:?}: not found in {runs} runs, {seconds:.1} s"),
        }
    }
}

/// A section of RESULTS.md about all that was looked for.
pub fn section(all: &[Sought]) -> String {
    let build = if cfg!(debug_assertions) { "unoptimized" } else { "optimized" };
    let found: Vec<&Sought> = all.iter().filter(|sought| sought.shown.is_some()).collect();
    let slowest = found.iter().map(|sought| sought.time).max().unwrap_or_default().as_secs_f64();
    let mut text = format!(
        "With an {build} build. Of {} faults {} were found, the \
         slowest in {slowest:.1} s.\n\n| fault | what goes wrong | seconds | runs | shown by | what a client saw |\n|---|---|---|---|---|---|\n",
        all.len(),
        found.len(),
    );
    for Sought { fault, time, runs, shown } in all {
        let (by, saw) = match shown {
            Some(Shown { seed, temper, wire, wrong }) => {
                (format!("`--seed {seed} --temper {} --redis {}`", temper.name(), Way::name(*wire)), shortened(wrong))
            }
            None => ("not found".into(), String::new()),
        };
        let what = fault.meaning();
        let _ = writeln!(text, "| `{fault:?}` | {what} | {:.1} | {runs} | {by} | {saw} |", time.as_secs_f64());
    }
    text
}

/// A message without what only who looks into its run needs.
fn shortened(wrong: &str) -> String {
    let end = [": Record {", ": Gap {", ": Order {", " Order {"].iter().filter_map(|from| wrong.find(from)).min();
    wrong[..end.unwrap_or(wrong.len())].replace('|', "/")
}
