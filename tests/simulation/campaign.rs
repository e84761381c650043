//! Many runs, one after the other or on several threads, and what came of them together.

use super::plan::Plan;
use super::played::Way;
use super::tell;
use super::world::run;
use fantail::{invariant, probe};
use parking_lot::Mutex;
use std::fmt::{self, Display, Formatter};
use std::thread;
use std::time::{Duration, Instant};

/// When a campaign is over.
#[derive(Clone, Copy)]
pub struct Limit {
    virtual_time: Duration,
    real: Duration,
}

impl Limit {
    /// With its last plan.
    pub const NONE: Limit = Limit { virtual_time: Duration::MAX, real: Duration::MAX };

    pub fn of_virtual(virtual_time: Duration) -> Limit {
        Limit { virtual_time, ..Limit::NONE }
    }

    pub fn of_real(real: Duration) -> Limit {
        Limit { real, ..Limit::NONE }
    }
}

/// What came of a campaign.
#[derive(Clone, Copy, Default)]
pub struct Done {
    pub runs: u64,
    by_wire: u64,
    virtual_time: Duration,
    /// Real time of all threads together.
    busy: Duration,
    published: usize,
    events: usize,
    gaps: usize,
    bytes: u64,
    violations: u64,
}

/// Runs plans until a limit is reached or something is wrong; each thread has one at a time.
pub fn campaign(plans: impl Iterator<Item = Plan> + Send, limit: Limit, threads: usize) -> Done {
    let begun = Instant::now();
    let state = Mutex::new((plans, Done::default()));
    let next = || {
        let (plans, done) = &mut *state.lock();
        let over = done.violations > 0 || done.virtual_time >= limit.virtual_time || begun.elapsed() >= limit.real;
        if over { None } else { plans.next() }
    };
    let work = || {
        while let Some(plan) = next() {
            let at = Instant::now();
            let outcome = run(&plan);
            let mut state = state.lock();
            let done = &mut state.1;
            done.runs += 1;
            done.by_wire += u64::from(plan.shape.redis != Way::Contract);
            done.virtual_time += outcome.virtual_time;
            done.busy += at.elapsed();
            done.published += outcome.published;
            done.events += outcome.events;
            done.gaps += outcome.gaps;
            done.bytes += outcome.trace.1;
            done.violations += u64::from(outcome.wrong.is_some());
            tell(&plan, &outcome);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    state.into_inner().1
}

impl Done {
    pub fn is_good(&self) -> bool {
        self.violations == 0
    }

    /// Virtual hours of a cluster.
    fn hours(&self) -> f64 {
        self.virtual_time.as_secs_f64() / 3_600.0
    }

    /// How much faster than the real time one thread was.
    fn ratio(&self) -> f64 {
        self.virtual_time.as_secs_f64() / self.busy.as_secs_f64()
    }

    /// What a results file says of it; `from`: its first seed.
    pub fn in_markdown(&self, from: u64) -> String {
        let last = from + self.runs.saturating_sub(1);
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let mut text = format!(
            "Seeds {from} to {last}, {profile} build: **no violation**.\n\n\
             | what | how much |\n|---|---|\n\
             | runs | {} |\n| of them with a Redis that speaks RESP | {} |\n| virtual hours of a cluster | {:.1} |\n\
             | times real time, one thread | {:.0} |\n| events published | {} |\n| events received | {} |\n\
             | gaps announced | {} |\n| bytes received | {} |\n\n\
             How often each rare branch was taken:\n\n| branch | times | in a virtual hour |\n|---|---|---|\n",
            self.runs,
            self.by_wire,
            self.hours(),
            self.ratio(),
            self.published,
            self.events,
            self.gaps,
            self.bytes
        );
        for (probe, count) in probe::counts() {
            text += &format!("| {probe:?} | {count} | {:.1} |\n", count as f64 / self.hours());
        }
        text += "\nHow often each invariant was looked at:\n\n| invariant | times |\n|---|---|\n";
        invariant::looks().for_each(|(invariant, looks)| text += &format!("| {invariant:?} | {looks} |\n"));
        text
    }
}

impl Display for Done {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Done { runs, published, events, gaps, .. } = self;
        write!(
            f,
            "{runs} runs, {:.2} virtual hours, {:.0} times as fast; {published} events published, {events} received, {gaps} gaps",
            self.hours(),
            self.ratio()
        )
    }
}
