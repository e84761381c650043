//! Parameters of a subscription: the one list of them, and what their values mean. Pure.

use crate::condition::ConditionError;
use crate::control_event::ControlEvent;
use crate::event::MAX_TYPE_LENGTH;
use crate::frame::Kind;
use crate::position::Position;
use crate::problem::Problem;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The most event types in one filter.
pub const MAX_TYPES: usize = 64;

/// The longest name of a field that an event's data may be, in bytes.
pub const MAX_FIELD_LENGTH: usize = 256;

/// A parameter of a subscription. Its token is none: that is for authorization, whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    Channels,
    Since,
    Tail,
    Events,
    Where,
    LastEventId,
    Envelope,
    Hello,
    Heartbeat,
    HeartbeatEvent,
    Control,
    Absent,
    Type,
    Data,
    Field,
}

/// What counts where a parameter is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// All that is given, together.
    Adds,
    /// The last one.
    Replaces,
    /// None: the request is refused.
    Refused,
}

impl Parameter {
    pub const ALL: [Parameter; 15] = [
        Parameter::Channels,
        Parameter::Since,
        Parameter::Tail,
        Parameter::Events,
        Parameter::Where,
        Parameter::LastEventId,
        Parameter::Envelope,
        Parameter::Hello,
        Parameter::Heartbeat,
        Parameter::HeartbeatEvent,
        Parameter::Control,
        Parameter::Absent,
        Parameter::Type,
        Parameter::Data,
        Parameter::Field,
    ];

    /// The parameter's name, and what counts of several.
    const fn row(self) -> (&'static str, Repeated) {
        match self {
            Parameter::Channels => ("channels", Repeated::Adds),
            Parameter::Since => ("since", Repeated::Refused),
            Parameter::Tail => ("tail", Repeated::Refused),
            Parameter::Events => ("events", Repeated::Adds),
            Parameter::Where => ("where", Repeated::Refused),
            // Some EventSource polyfills append one at each reconnect.
            Parameter::LastEventId => ("lastEventId", Repeated::Replaces),
            Parameter::Envelope => ("envelope", Repeated::Refused),
            Parameter::Hello => ("hello", Repeated::Refused),
            Parameter::Heartbeat => ("heartbeat", Repeated::Refused),
            Parameter::HeartbeatEvent => ("heartbeatEvent", Repeated::Refused),
            Parameter::Control => ("control", Repeated::Refused),
            Parameter::Absent => ("absent", Repeated::Refused),
            Parameter::Type => ("type", Repeated::Refused),
            Parameter::Data => ("data", Repeated::Refused),
            Parameter::Field => ("field", Repeated::Refused),
        }
    }

    /// The name that the documentation has.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// What counts where it is given more than once.
    pub const fn repeated(self) -> Repeated {
        self.row().1
    }

    /// The parameter of this name; others are ignored, since URLs of EventSource carry cache busters and what proxies add.
    pub fn named(name: &str) -> Option<Parameter> {
        let known = Parameter::ALL.into_iter().find(|parameter| parameter.name() == name);
        known.or_else(|| is_last_event_id(name).then_some(Parameter::LastEventId))
    }
}

/// Whether this is `lastEventId` as a client of another server spells it (`last_event_id`, `Last-Event-ID`): ignored, it would lose
/// events without a word.
fn is_last_event_id(name: &str) -> bool {
    let letters = name.chars().filter(|letter| !matches!(letter, '-' | '_'));
    letters.map(|letter| letter.to_ascii_lowercase()).eq("lasteventid".chars())
}

/// Why a parameter's value means nothing: the second half of a line that names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("the path names the channel already")]
    InPath,
    #[error("the URL has it already")]
    InUrl,
    #[error("given more than once")]
    Repeated,
    #[error("a time too far away")]
    TooFar,
    #[error(
        "neither latest, earliest, an id, Unix seconds or milliseconds, an RFC 3339 time nor a duration such as 5m"
    )]
    NoPlace,
    #[error("not a number from 0 to {most}")]
    NoTail { most: usize },
    #[error("neither 1, 0, true nor false")]
    NoSwitch,
    #[error("not a duration from {} to {}", humantime::format_duration(*.0), humantime::format_duration(*.1))]
    NoInterval(Duration, Duration),
    #[error("neither on, off nor end")]
    NoControl,
    #[error("not 204")]
    NoStatus,
    #[error("neither channel nor event")]
    NoTypeSource,
    #[error("neither raw nor json")]
    NoDataSource,
    #[error("it needs field=NAME")]
    FieldMissing,
    #[error("it needs data=raw")]
    RawMissing,
    #[error("not a field's name of 1 to {MAX_FIELD_LENGTH} bytes")]
    NoField,
    #[error("an empty event type")]
    EmptyType,
    #[error("an event type longer than {MAX_TYPE_LENGTH} bytes")]
    LongType,
    #[error("more than {MAX_TYPES} event types")]
    ManyTypes,
    #[error(transparent)]
    Condition(#[from] ConditionError),
}

impl ParameterError {
    /// The refusal of a parameter that was given by this name.
    pub fn of(self, name: &str, value: &str) -> Problem {
        Problem::bad_parameter(name, value, self)
    }
}

/// How a stream tells what is no event of a channel: losses, channels that wait, the end of a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// By events of the node's own.
    #[default]
    On,
    /// Not; of a loss, by a comment.
    Off,
    /// Not; a loss ends the stream, and is told who comes for another one.
    End,
}

impl Control {
    /// What is no event of a channel, where that is told: of a loss always, if only by a comment.
    pub fn write(self, into: &mut Vec<u8>, event: &ControlEvent) {
        match (self, event) {
            (Control::On, _) => into.extend_from_slice(event.to_string().as_bytes()),
            (_, ControlEvent::Gap(_)) => into.extend_from_slice(event.comment().as_bytes()),
            _ => {}
        }
    }
}

/// `on`, `off` or `end`.
pub(super) fn parse_control(value: &str) -> Result<Control, ParameterError> {
    match value {
        "on" => Ok(Control::On),
        "off" => Ok(Control::Off),
        "end" => Ok(Control::End),
        _ => Err(ParameterError::NoControl),
    }
}

/// `204`.
pub(super) fn parse_status(value: &str) -> Result<bool, ParameterError> {
    if value == "204" { Ok(true) } else { Err(ParameterError::NoStatus) }
}

/// `channel`, or `event`, which is the default.
pub(super) fn parse_type(value: &str) -> Result<bool, ParameterError> {
    match value {
        "channel" => Ok(true),
        "event" => Ok(false),
        _ => Err(ParameterError::NoTypeSource),
    }
}

/// `raw`, or `json`, which is the default.
pub fn parse_data(value: &str) -> Result<bool, ParameterError> {
    match value {
        "raw" => Ok(true),
        "json" => Ok(false),
        _ => Err(ParameterError::NoDataSource),
    }
}

/// The name of a field.
pub fn parse_field(value: &str) -> Result<Arc<str>, ParameterError> {
    match value.len() {
        1..=MAX_FIELD_LENGTH => Ok(value.into()),
        _ => Err(ParameterError::NoField),
    }
}

/// The field whose value is the data; `raw` and `field` as they were given.
pub fn raw_field(raw: Option<bool>, field: Option<Arc<str>>) -> Result<Option<Arc<str>>, Problem> {
    match (raw, field) {
        (Some(true), None) => Err(ParameterError::FieldMissing.of(Parameter::Data.name(), "raw")),
        (None | Some(false), Some(field)) => Err(ParameterError::RawMissing.of(Parameter::Field.name(), &field)),
        (_, field) => Ok(field),
    }
}

/// Where a first connect begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What is published from now on.
    Latest,
    /// All that there is.
    Earliest,
    /// What follows a position.
    After(Position),
    /// What was published at or after a time, in Unix milliseconds by the backplane's clock.
    From(u64),
}

/// Numbers that are Unix seconds: of ten digits, until the year 2286. As milliseconds they would be times in 1970.
const SECONDS: std::ops::Range<u64> = 1_000_000_000..10_000_000_000;

/// `latest`, `earliest`, an id, Unix seconds or milliseconds, an RFC 3339 time, or a duration back from now.
pub(super) fn parse_since(value: &str, now_ms: u64) -> Result<Since, ParameterError> {
    match value {
        "latest" => return Ok(Since::Latest),
        "earliest" => return Ok(Since::Earliest),
        _ => {}
    }
    if let Ok(position) = value.parse() {
        return Ok(Since::After(position));
    }
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let number = value.parse::<u64>().map_err(|_| ParameterError::TooFar)?;
        return Ok(Since::From(if SECONDS.contains(&number) { number * 1_000 } else { number }));
    }
    // In a query a plus sign means a space, and RFC 3339 offsets have a plus sign that is easily left unencoded.
    if let Ok(time) = OffsetDateTime::parse(&value.replace(' ', "+"), &Rfc3339) {
        let ms = time.unix_timestamp_nanos().div_euclid(1_000_000);
        return Ok(Since::From(ms.try_into().unwrap_or(0)));
    }
    if let Ok(back) = humantime::parse_duration(value) {
        let back = u64::try_from(back.as_millis()).unwrap_or(u64::MAX);
        return Ok(Since::From(now_ms.saturating_sub(back)));
    }
    Err(ParameterError::NoPlace)
}

/// A number of events, up to `most`.
pub(super) fn parse_tail(value: &str, most: usize) -> Result<usize, ParameterError> {
    match value.parse() {
        Ok(tail) if tail <= most && !value.starts_with('+') => Ok(tail),
        _ => Err(ParameterError::NoTail { most }),
    }
}

/// A duration between two others.
pub(super) fn parse_interval(value: &str, (from, to): (Duration, Duration)) -> Result<Duration, ParameterError> {
    let asked = humantime::parse_duration(value).ok().filter(|asked| (from..=to).contains(asked));
    asked.ok_or(ParameterError::NoInterval(from, to))
}

/// `1`, `0`, `true` or `false`.
pub fn parse_switch(value: &str) -> Result<bool, ParameterError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(ParameterError::NoSwitch),
    }
}

/// Event types, separated by commas, added to those from before.
pub fn add_types(kinds: &mut Vec<Kind>, value: &str) -> Result<(), ParameterError> {
    for name in value.split(',') {
        match name.len() {
            0 => return Err(ParameterError::EmptyType),
            n if n > MAX_TYPE_LENGTH => return Err(ParameterError::LongType),
            _ if kinds.len() == MAX_TYPES => return Err(ParameterError::ManyTypes),
            _ => kinds.push(Kind::of(name.as_bytes())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_parameters() {
        for parameter in Parameter::ALL {
            assert_eq!(Parameter::named(parameter.name()), Some(parameter));
        }
        for other in ["Tail", "lastEventIds", "last event id", "id", ""] {
            assert_eq!(Parameter::named(other), None, "{other:?}");
        }
    }
}
