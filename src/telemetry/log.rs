//! Log lines: where they go and in which form. Not what they say.

use crate::config::values::ValueError;
use crate::printable::Escaping;
use clap::{Args, ValueEnum};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{self, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines that wait for stderr at most; further ones are dropped, so that whoever reads the log never stops delivery.
const WAITING_LINES_MAX: usize = 8_192;

/// Settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Lowest level to log (error, warn, info, debug, trace or off), also per module, such as
    /// info,fantail::backplane=debug.
    #[arg(long, env = "FANTAIL_LOG", default_value = "info", value_name = "FILTER")]
    #[arg(value_parser = filter)]
    pub log: String,
    /// Format of log lines on stderr.
    #[arg(long, env = "FANTAIL_LOG_FORMAT", default_value = "text", value_enum, ignore_case = true)]
    pub log_format: LogFormat,
}

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people, in colour on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// The layer that writes lines. Lines that wait are written when the guard is dropped.
pub(super) fn layer<S>(settings: &LogSettings) -> (impl Layer<S> + use<S>, WorkerGuard)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (stderr, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES_MAX).lossy(true).finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer::<S>().with_writer::<NonBlocking>(stderr);
    let ansi = std::io::stderr().is_terminal();
    let lines = match settings.log_format {
        LogFormat::Text => lines
            .with_ansi(ansi)
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .event_format(WithTrace { format: format::format().with_ansi(ansi), json: false })
            .boxed(),
        LogFormat::Json => lines
            .fmt_fields(JsonFields::new())
            .event_format(WithTrace { format: format::format().json().flatten_event(true), json: true })
            .boxed(),
    };
    (lines.with_filter(filter_of(&settings.log)), guard)
}

/// What is written. It says how verbose it is at most, or each line that fred could write would be put together first.
fn filter_of<S>(filter: &str) -> impl Filter<S> + use<S> {
    // Spans are for traces: as long as nobody collects those, no span is ever made.
    let events = filter_fn(|about| about.is_event()).with_max_level_hint(LevelFilter::TRACE);
    EnvFilter::new(format!("fred=error,{filter}")).and(events)
}

/// One field of a text line. What others wrote may stand in it: an error of Redis, a name of a control entry, a header.
fn write_field(to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut text = Escaping(String::new());
    match field.name() {
        "message" => write!(text, "{value:?}")?,
        name => write!(text, "{}={value:?}", name.strip_prefix("r#").unwrap_or(name))?,
    }
    to.write_str(&text.0)
}

/// Adds `trace_id` and `span_id` to the lines that are written within a span.
struct WithTrace<F> {
    format: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, around: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let span = opentelemetry::Context::map_current(|current| current.span().span_context().clone());
        if !span.is_valid() {
            return self.format.format_event(around, to, event);
        }
        let mut line = String::new();
        self.format.format_event(around, Writer::new(&mut line), event)?;
        self.add(&mut line, &span);
        to.write_str(&line)
    }
}

impl<F> WithTrace<F> {
    fn add(&self, line: &mut String, span: &SpanContext) {
        let (trace, span) = (span.trace_id(), span.span_id());
        line.truncate(line.trim_end_matches('\n').len());
        let _ = match self.json && line.ends_with('}') {
            true => {
                line.pop();
                writeln!(line, ",\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            false => writeln!(line, " trace_id={trace} span_id={span}"),
        };
    }
}

/// `LEVEL` or `MODULE=LEVEL`, separated by commas. Stricter than [`EnvFilter`], which takes `inof` for a module.
fn filter(text: &str) -> Result<String, ValueError> {
    for part in text.split(',') {
        let level = part.rsplit('=').next().unwrap_or_default();
        if !["off", "error", "warn", "info", "debug", "trace"].iter().any(|known| level.eq_ignore_ascii_case(known)) {
            let why = format!("{level:?} is no level: use error, warn, info, debug, trace or off");
            return Err(ValueError::new(why));
        }
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| ValueError::new(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_not_put_together() {
        let most = |filter: &str| filter_of::<tracing_subscriber::Registry>(filter).max_level_hint();
        assert_eq!(most("info"), Some(LevelFilter::INFO));
        assert_eq!(most("warn,fantail::hub=debug"), Some(LevelFilter::DEBUG));
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
