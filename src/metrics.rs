//! Families of metrics: how parts of a node make theirs, which they own.
//!
//! A scrape reads atomics only, so it costs the same with ten and with fifteen thousand connections. Labels are enums, so
//! that each is known, and those that alerts look at are there before anything was counted.

mod or_code;
mod weighted_histogram;

pub use or_code::OrCode;
pub use weighted_histogram::WeightedHistogram;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use std::marker::PhantomData;

/// Buckets for lags, in seconds: from a tenth of a millisecond to a minute.
pub const LAG_SECONDS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];
/// Buckets for exchanges with other servers, in seconds.
pub const COMMAND_SECONDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The values of one label.
pub trait Label: Copy {
    /// Values that are shown from the start, so that rates and alerts see a zero before the first event.
    fn from_start() -> Vec<Self>;
    /// How the exposition writes it.
    fn label(self) -> &'static str;
}

/// Makes an enum whose values are those of a label, all of which are shown from the start.
macro_rules! labels {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$meaning:meta])* $value:ident = $label:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$meaning])* $value,)*
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$value,)*];
        }

        impl $crate::metrics::Label for $name {
            fn from_start() -> Vec<$name> {
                $name::ALL.to_vec()
            }

            fn label(self) -> &'static str {
                match self {
                    $($name::$value => $label,)*
                }
            }
        }
    };
}

pub(crate) use labels;

/// Counters of one family, one for each value of its label. Clones are one family.
#[derive(Clone)]
pub struct Counters<L> {
    family: IntCounterVec,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Counters<L> {
    /// Counts one.
    pub fn inc(&self, label: L) {
        self.of(label).inc();
    }

    /// Shows these values from the start, too.
    pub fn with(self, values: impl IntoIterator<Item = L>) -> Counters<L> {
        values.into_iter().for_each(|value| drop(self.of(value)));
        self
    }

    /// The counter of one value.
    pub fn of(&self, label: L) -> IntCounter {
        self.family.with_label_values(&[label.label()])
    }

    /// All counters, whatever their label says.
    pub fn family(&self) -> &IntCounterVec {
        &self.family
    }
}

/// All families of one node.
#[derive(Clone, Default)]
pub struct Registry(prometheus::Registry);

impl Registry {
    /// The exposition in Prometheus' text format.
    pub fn exposition(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.0.gather()).expect("families are well formed")
    }

    /// Adds a family, whose names must be new.
    pub fn register<C: Collector + Clone + 'static>(&self, family: C) -> C {
        self.0.register(Box::new(family.clone())).expect("each name once");
        family
    }

    /// Adds what the kernel tells of this process, on Linux.
    pub fn register_process(&self) {
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            self.0.register(Box::new(process)).expect("registered once");
        }
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect("a valid name"))
    }

    /// A gauge of a real number, which is zero at first.
    pub fn real(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help).expect("a valid name"))
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("a valid name"))
    }

    /// Counters with a label of that name.
    pub fn counters<L: Label>(&self, name: &str, help: &str, label: &str) -> Counters<L> {
        let family = self.register(IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name"));
        Counters { family, label: PhantomData }.with(L::from_start())
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts).expect("valid buckets"))
    }

    /// Histograms with a label of that name.
    pub fn histograms(&self, name: &str, help: &str, label: &str, buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, &[label]).expect("valid buckets"))
    }

    /// Counters of seconds with a label of that name, whose values are numbers.
    pub fn seconds(&self, name: &str, help: &str, label: &str) -> CounterVec {
        self.register(CounterVec::new(Opts::new(name, help), &[label]).expect("a valid name"))
    }

    /// A gauge that is always 1 and says something by its label.
    pub fn info(&self, name: &str, help: &str, label: &str, value: &str) {
        let family = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid name");
        self.register(family).with_label_values(&[value]).set(1);
    }

    pub fn weighted_histogram(&self, name: &str, help: &str, buckets: &'static [f64]) -> WeightedHistogram {
        self.register(WeightedHistogram::new(name, help, buckets))
    }
}
