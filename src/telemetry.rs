//! Logs: where lines go, in which form, and how lines that repeat are thinned. Not what they say.

use clap::{Args, ValueEnum};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait for stderr at most; further ones are dropped, so that whoever reads the log never stops delivery.
const WAITING_LINES_MAX: usize = 8_192;

/// Settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Least level that is logged (error, warn, info, debug, trace or off); also per module, such as
    /// info,fantail::backplane=debug.
    #[arg(long, env = "FANTAIL_LOG", default_value = "info", value_name = "FILTER")]
    #[arg(value_parser = filter)]
    pub log: String,
    /// Form of the log's lines, on stderr.
    #[arg(long, env = "FANTAIL_LOG_FORMAT", default_value = "text", value_enum, ignore_case = true)]
    pub log_format: LogFormat,
}

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log for the whole process. Lines that wait are written when the guard is dropped.
///
/// Does nothing where a log was started before.
pub fn start(settings: &LogSettings) -> WorkerGuard {
    let (stderr, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES_MAX).lossy(true).finish(std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("fred=error,{}", settings.log)))
        .with_writer(stderr);
    let _ = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    guard
}

/// `LEVEL` or `MODULE=LEVEL`, separated by commas. Stricter than [`EnvFilter`], which takes `inof` for a module.
fn filter(text: &str) -> Result<String, String> {
    for part in text.split(',') {
        let level = part.rsplit('=').next().unwrap_or_default();
        if !["off", "error", "warn", "info", "debug", "trace"].iter().any(|known| level.eq_ignore_ascii_case(known)) {
            return Err(format!("{level:?} is no level: use error, warn, info, debug, trace or off"));
        }
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// Thins log lines: of each kind at most one per period, and how many were left out before it.
///
/// ```
/// # use fantail::telemetry::Seldom;
/// # use std::time::Duration;
/// let refusals = Seldom::new(Duration::from_secs(10));
/// if let Some(suppressed) = refusals.turn("node full") {
///     tracing::warn!(suppressed, "refused: node full");
/// }
/// ```
///
/// Kinds are the program's own words, so there are few of them, whatever clients send.
#[derive(Debug)]
pub struct Seldom {
    period: Duration,
    kinds: Mutex<HashMap<&'static str, Turn>>,
}

#[derive(Debug)]
struct Turn {
    last: Instant,
    suppressed: u64,
}

impl Seldom {
    pub fn new(period: Duration) -> Seldom {
        Seldom { period, kinds: Mutex::default() }
    }

    /// Whether a line of this kind is due now: the number of lines suppressed since the last one, or `None`.
    pub fn turn(&self, kind: &'static str) -> Option<u64> {
        self.turn_at(kind, Instant::now())
    }

    fn turn_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock();
        let Some(turn) = kinds.get_mut(kind) else {
            kinds.insert(kind, Turn { last: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(turn.last) < self.period {
            turn.suppressed += 1;
            return None;
        }
        turn.last = now;
        Some(std::mem::take(&mut turn.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_kind_and_period() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(seldom.turn_at("full", at(0)), Some(0));
        assert_eq!(seldom.turn_at("full", at(1)), None);
        assert_eq!(seldom.turn_at("rate", at(1)), Some(0), "another kind has its own turn");
        assert_eq!(seldom.turn_at("full", at(9)), None);
        assert_eq!(seldom.turn_at("full", at(10)), Some(2));
        assert_eq!(seldom.turn_at("full", at(20)), Some(0), "the count begins anew");
    }

    #[test]
    fn filters() {
        for text in ["info", "OFF", "info,fantail::backplane=debug", "fantail=trace"] {
            assert_eq!(filter(text), Ok(text.into()));
        }
        for text in ["", "inof", "info,", "fantail=", "fantail=loud"] {
            assert!(filter(text).is_err(), "{text:?}");
        }
    }
}
