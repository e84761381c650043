//! Subscriptions: what a client asks for in `GET /events…`. Pure: reads the request's texts and refuses nonsense.
//!
//! Which parameters there are says [`Parameter`]; unknown ones are ignored. A resume position is never refused, because a browser sends it by itself and gives up for good at any error.

mod changed;
mod parameter;
#[cfg(test)]
mod tests;

pub use parameter::{
    Control, Parameter, ParameterError, Repeated, Since, add_types, parse_data, parse_field, parse_switch, raw_field,
};

use crate::channel::Channel;
use crate::condition::Conditions;
use crate::cursor::{Changes, Claim, Cursor};
use crate::frame::Kind;
use crate::hash::HashSet;
use crate::planted::{self, Fault};
use crate::problem::{Code, Problem, shortened};
use parameter::{parse_control, parse_interval, parse_since, parse_status, parse_tail, parse_type};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A request to subscribe, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Distinct, in the order in which they were asked for; at least one, unless it has left them all.
    pub channels: Vec<Channel>,
    /// How orders have changed that set.
    pub changes: Option<Box<Changes>>,
    pub resume: Resume,
    /// Where to begin; of no account where `resume` has a position for the channel.
    pub since: Since,
    /// Of what `since` gives, only the newest so many; with [`Since::Latest`] the last so many of all.
    pub tail: Option<usize>,
    pub filter: Option<Filter>,
    /// What the fields of events must be.
    pub conditions: Option<Conditions>,
    /// Events are wrapped with their channel and id.
    pub envelope: bool,
    /// The first block is an event, which carries the id.
    pub hello: bool,
    /// The longest time for which it wants to be sent nothing; `None`: the node's.
    pub heartbeat: Option<Duration>,
    /// Heartbeats are events.
    pub heartbeat_event: bool,
    pub control: Control,
    /// A stream that does not exist is answered as one that has ended and was read.
    pub absent: bool,
    /// An event's type is its channel's name.
    pub typed: bool,
    /// Of an entry without `data`, the value of this field is the data.
    pub field: Option<Arc<str>>,
}

/// Where a reconnecting client was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It does not say: a first connect.
    None,
    /// What its header and its parameter say, one of them or both; each says something of these channels.
    Cursors(Vec<Cursor>),
    /// A last event id that is no cursor of ours, or one position for several channels: answered with the stream and a gap.
    Foreign,
}

/// The event types that a subscriber wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter(Box<[Kind]>);

impl Filter {
    /// Lets these types through.
    pub fn of(mut kinds: Vec<Kind>) -> Filter {
        kinds.sort_unstable();
        kinds.dedup();
        Filter(kinds.into_boxed_slice())
    }

    /// Whether a frame of this kind passes; control events, which have none, always do.
    pub fn passes(&self, kind: Option<Kind>) -> bool {
        kind.is_none_or(|kind| self.0.binary_search(&kind).is_ok())
    }
}

/// What a subscription may ask for at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_channels: usize,
    /// The greatest `tail`.
    pub max_tail: usize,
    /// The shortest and the longest `heartbeat`.
    pub heartbeat: (Duration, Duration),
}

/// Where a request says what it subscribes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    /// The segment behind `/events/`, still percent-encoded.
    pub path_channel: Option<&'a str>,
    pub query: &'a str,
    /// The body of a `QUERY`, a form.
    pub form: Option<&'a [u8]>,
    /// The value of the header `Last-Event-ID`, the last one where there are several.
    pub last_event_id: Option<&'a [u8]>,
}

/// What a request asks for, before it is known what it subscribes to where it names no channel.
pub struct Wish {
    asked: Asked,
    header: Said,
}

impl Wish {
    /// Reads a request. `now_ms`: the backplane's time, for `since=5m`.
    pub fn parse(texts: &Texts<'_>, limits: &Limits, now_ms: u64) -> Result<Wish, Problem> {
        let mut channels = Channels::new(limits.max_channels);
        if let Some(segment) = texts.path_channel {
            channels.add(&decode_segment(segment)?)?;
        }
        let mut asked = Asked { channels, ..Asked::default() };
        let mut read = |form: &[u8], elsewhere: &[Parameter]| {
            for (name, value) in form_urlencoded::parse(form) {
                let Some(parameter) = Parameter::named(&name) else { continue };
                if elsewhere.contains(&parameter) {
                    return Err(ParameterError::InUrl.of(&name, &value));
                }
                if parameter == Parameter::Channels {
                    if texts.path_channel.is_some() {
                        return Err(ParameterError::InPath.of(&name, &value));
                    }
                    value.split(',').try_for_each(|channel| asked.channels.add(channel))?;
                }
                asked.take(parameter, &value, limits, now_ms).map_err(|why| why.of(&name, &value))?;
            }
            let given = Parameter::ALL.into_iter().filter(|parameter| asked.given[*parameter as usize]);
            Ok(given.collect::<Vec<Parameter>>())
        };
        let in_url = read(texts.query.as_bytes(), &[])?;
        if let Some(form) = texts.form {
            read(form, &in_url)?;
        }
        Ok(Wish { asked, header: texts.last_event_id.map_or(Said::Nothing, parse_last_event_id) })
    }

    /// The channels that it names; none where it leaves them to its grant.
    pub fn channels(&self) -> &[Channel] {
        &self.asked.channels.ordered
    }

    /// The subscription; to the `granted` channels, where it names none.
    pub fn subscription(mut self, granted: &[Channel]) -> Result<Subscription, Problem> {
        if self.channels().is_empty() && !self.asked.given[Parameter::Channels as usize] {
            granted.iter().try_for_each(|channel| self.asked.channels.add(channel.as_str()))?;
        }
        self.asked.subscription(self.header)
    }
}

impl Subscription {
    /// Reads a request that names its channels, as tests and fuzzing do.
    #[cfg(any(test, feature = "testing"))]
    pub fn parse(texts: &Texts<'_>, limits: &Limits, now_ms: u64) -> Result<Subscription, Problem> {
        Wish::parse(texts, limits, now_ms)?.subscription(&[])
    }

    /// Whether it resumes at an id that is no position in these channels.
    pub fn is_foreign(&self) -> bool {
        self.resume == Resume::Foreign
    }

    /// Where this client resumes `channel`: of what it says, the latest.
    pub fn resume_at(&self, channel: &Channel) -> Option<Claim> {
        let Resume::Cursors(cursors) = &self.resume else { return None };
        let only = self.is_only(channel);
        let said = |cursor: &Cursor| cursor.position_of(channel, only);
        let latest = match planted::is(Fault::StaleHeaderCounts) {
            true => cursors.iter().filter_map(said).next(),
            false => cursors.iter().filter_map(said).max(),
        };
        let position = latest?;
        Some(Claim { position, earlier: cursors.iter().filter_map(said).find(|other| *other != position) })
    }
}

/// Reads a channel name that clients may use.
pub fn parse_channel(name: &str) -> Result<Channel, Problem> {
    let channel = Channel::new(name).map_err(|e| Problem::new(Code::BadChannel, e.to_string()))?;
    match channel.is_reserved() {
        true => Err(Problem::new(Code::ReservedChannel, format!("channel {name:?} is the cluster's own"))),
        false => Ok(channel),
    }
}

/// Undoes the percent-encoding of a path segment that names a channel.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, Problem> {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Problem::new(Code::BadChannel, format!("{:?} is not UTF-8", shortened(segment))))
}

/// Channels as they are asked for, without repeats.
#[derive(Default)]
struct Channels {
    ordered: Vec<Channel>,
    seen: HashSet<Channel>,
    most: usize,
}

impl Channels {
    fn new(most: usize) -> Channels {
        Channels { ordered: Vec::new(), seen: HashSet::default(), most }
    }

    fn add(&mut self, name: &str) -> Result<(), Problem> {
        let channel = parse_channel(name)?;
        if self.seen.contains(&channel) {
            return Ok(());
        }
        if self.ordered.len() == self.most {
            let detail = format!("more than {} channels; the first too many is {name:?}", self.most);
            return Err(Problem::new(Code::TooManyChannels, detail));
        }
        self.seen.insert(channel.clone());
        self.ordered.push(channel);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Channel>, Problem> {
        match self.ordered.is_empty() {
            true => Err(Problem::new(
                Code::BadChannel,
                "no channel: name some in channels=a,b or in the path; the grant names none",
            )),
            false => Ok(self.ordered),
        }
    }
}

/// What the parameters have asked for so far.
#[derive(Default)]
struct Asked {
    /// Which parameters were given, in the order of [`Parameter::ALL`].
    given: [bool; Parameter::ALL.len()],
    channels: Channels,
    since: Option<Since>,
    tail: Option<usize>,
    types: Option<Vec<Kind>>,
    conditions: Option<Conditions>,
    envelope: bool,
    hello: bool,
    heartbeat: Option<Duration>,
    heartbeat_event: bool,
    control: Control,
    absent: bool,
    typed: bool,
    raw: Option<bool>,
    field: Option<Arc<str>>,
    last: Said,
}

impl Asked {
    /// Takes the value of a parameter; channels have refusals of their own, and were taken.
    fn take(&mut self, parameter: Parameter, value: &str, limits: &Limits, now_ms: u64) -> Result<(), ParameterError> {
        match parameter {
            Parameter::Channels => {}
            Parameter::Since => self.since = Some(parse_since(value, now_ms)?),
            Parameter::Tail => self.tail = Some(parse_tail(value, limits.max_tail)?),
            Parameter::Events => add_types(self.types.get_or_insert_default(), value)?,
            Parameter::Where => self.conditions = Some(Conditions::parse(value)?),
            Parameter::LastEventId => self.last = parse_last_event_id(value.as_bytes()),
            Parameter::Envelope => self.envelope = parse_switch(value)?,
            Parameter::Hello => self.hello = parse_switch(value)?,
            Parameter::Heartbeat => self.heartbeat = Some(parse_interval(value, limits.heartbeat)?),
            Parameter::HeartbeatEvent => self.heartbeat_event = parse_switch(value)?,
            Parameter::Control => self.control = parse_control(value)?,
            Parameter::Absent => self.absent = parse_status(value)?,
            Parameter::Type => self.typed = parse_type(value)?,
            Parameter::Data => self.raw = Some(parse_data(value)?),
            Parameter::Field => self.field = Some(parse_field(value)?),
        }
        let again = std::mem::replace(&mut self.given[parameter as usize], true);
        match again && parameter.repeated() == Repeated::Refused {
            true => Err(ParameterError::Repeated),
            false => Ok(()),
        }
    }

    /// The whole request; `header`: what its `Last-Event-ID` says.
    fn subscription(self, header: Said) -> Result<Subscription, Problem> {
        let channels = self.channels.finish()?;
        Ok(Subscription {
            resume: resume([header, self.last], channels.len()),
            channels,
            changes: None,
            since: self.since.unwrap_or(Since::Latest),
            tail: self.tail,
            filter: self.types.map(Filter::of),
            conditions: self.conditions,
            envelope: self.envelope,
            hello: self.hello,
            heartbeat: self.heartbeat,
            heartbeat_event: self.heartbeat_event,
            control: self.control,
            absent: self.absent,
            typed: self.typed,
            field: raw_field(self.raw, self.field)?,
        })
    }
}

/// What a header or a parameter says of the last event.
#[derive(Default)]
enum Said {
    #[default]
    Nothing,
    Cursor(Cursor),
    Foreign,
}

fn parse_last_event_id(value: &[u8]) -> Said {
    if value.is_empty() {
        return Said::Nothing;
    }
    let Ok(text) = std::str::from_utf8(value) else { return Said::Foreign };
    // Of two headers that a proxy has joined (RFC 9110, section 5.3) the last counts; no cursor has a space.
    let last = text.rsplit_once(", ").map_or(text, |(_, last)| last);
    Cursor::parse(last).map_or(Said::Foreign, Said::Cursor)
}

/// A cursor beats what is none. One position does not say in which of several channels it is.
fn resume(said: [Said; 2], channels: usize) -> Resume {
    let mut cursors = Vec::new();
    let mut foreign = false;
    for said in said {
        match said {
            Said::Nothing => {}
            Said::Cursor(cursor) if channels == 1 || !matches!(cursor, Cursor::Single(_)) => cursors.push(cursor),
            Said::Cursor(_) | Said::Foreign => foreign = true,
        }
    }
    match (cursors.is_empty(), foreign) {
        (false, _) => Resume::Cursors(cursors),
        (true, true) => Resume::Foreign,
        (true, false) => Resume::None,
    }
}
