//! Values of settings: their types, and the parsers that refuse what lies outside the range.
//!
//! A parser's error is the second half of a line that names the setting and the value: `the range ends before it
//! begins`. What a value means is said in [`super::Serve`].

use crate::random::Random;
use clap::ValueEnum;
use std::borrow::Cow;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// How the node learns of new entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Follow {
    /// Tracking where the server allows it, with blocking reads of the busiest streams; else block.
    Auto,
    /// Invalidation pushes (`CLIENT TRACKING`).
    Tracking,
    /// Blocking `XREAD`.
    Block,
}

/// What a full node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// 503, after which a browser's EventSource gives up for good.
    Reject,
    /// 200 with a long `retry:`, then the end. EventSource returns.
    Retry,
}

/// Who makes the TLS records of subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsRecords {
    /// The delivery threads, for TLS 1.3 with HTTP/1.1.
    Courier,
    /// The TLS library, for all subscribers.
    Rustls,
}

/// Who keeps connections of HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Http2 {
    /// The delivery threads, which write on streams as on sockets.
    Courier,
    /// hyper, with a task and a pipe for each stream.
    Hyper,
}

/// Whose event streams are compressed, among those who ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// No compression.
    Off,
    /// Requests without cookies.
    On,
    /// All requests.
    Always,
}

/// Which header trusted proxies write the client's address into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    #[value(aliases = ["0", "false", "no"])]
    Off,
    #[value(aliases = ["1", "true", "yes"])]
    On,
}

/// A range of durations, such as reconnect delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRange {
    pub from: Duration,
    pub to: Duration,
}

impl RetryRange {
    /// A delay from the range, in whole milliseconds.
    pub fn pick_ms(&self, random: &Random) -> u64 {
        random.within(self.from.as_millis() as u64..=self.to.as_millis() as u64)
    }
}

/// The shortest and the longest heartbeat that a subscription may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatRange {
    pub from: Duration,
    pub to: Duration,
}

/// `None` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadyAfter(pub Option<Duration>);

/// Settings that are right one by one and wrong together, in one line that names them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Contradiction(pub(crate) String);

/// Why a value is not taken: the second half of a line that names the setting, and the value where it is no secret.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    #[error("outside {from} to {to}")]
    Outside { from: String, to: String },
    #[error("not a duration with its unit, such as 15s, 5m or 1h 30m")]
    NoDuration(#[from] humantime::DurationError),
    /// A value would be taken that lies beside the range, too: `0s`.
    #[error("{why}, or {other}")]
    NorOther { why: Box<ValueError>, other: &'static str },
    #[error("{0}")]
    Unfit(Cow<'static, str>),
}

impl ValueError {
    /// An error of this text.
    pub(crate) fn new(why: impl Into<Cow<'static, str>>) -> ValueError {
        ValueError::Unfit(why.into())
    }

    fn or(self, other: &'static str) -> ValueError {
        ValueError::NorOther { why: Box::new(self), other }
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A tenth of a second: below it a timeout is a typing error (`30ms` for `30m`).
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);

/// A duration with its unit, such as `15s`, `5m` or `1h 30m`.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, ValueError> + Clone {
    move |text| {
        let value = humantime::parse_duration(text)?;
        if range.contains(&value) {
            return Ok(value);
        }
        let (from, to) = range.clone().into_inner();
        Err(outside(shown(from), shown(to)))
    }
}

/// A duration as people write it: whole days are not divided into months.
pub fn shown(duration: Duration) -> String {
    let days = duration.as_secs() / DAY.as_secs();
    match duration == DAY * days as u32 && days > 1 {
        true => format!("{days}days"),
        false => humantime::format_duration(duration).to_string(),
    }
}

/// An address to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| ValueError::new("not an IP address with a port, such as 127.0.0.1:8080 or [::]:8080"))
}

/// A duration from the range, or `0s` for never.
pub(crate) fn duration_or_never(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, ValueError> + Clone {
    let within = duration(range);
    move |text| match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => within(text).map_err(|error| error.or("0s")),
    }
}

/// A whole number.
pub(crate) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, ValueError> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ if is_whole(text.strip_prefix('-').unwrap_or(text)) => Err(outside(range.start(), range.end())),
        _ => Err(ValueError::new("not a whole number")),
    }
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Bytes, plain or in `KiB`, `MiB` or `GiB`.
pub(crate) fn bytes(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, ValueError> + Clone {
    move |text| {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &text[digits.len()..] {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(ValueError::new("not a number of bytes, such as 65536, 512KiB, 64MiB or 1GiB")),
        };
        let count: usize = number(0..=usize::MAX)(digits)?;
        count
            .checked_mul(unit)
            .filter(|n| range.contains(n))
            .ok_or_else(|| outside(size(*range.start()), size(*range.end())))
    }
}

/// `65536` as `64KiB`.
fn size(bytes: usize) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn outside(from: impl Display, to: impl Display) -> ValueError {
    ValueError::Outside { from: from.to_string(), to: to.to_string() }
}

/// `FROM..TO`, or one duration for both.
pub(crate) fn retry_range(text: &str) -> Result<RetryRange, ValueError> {
    let (from, to) = range(text, duration(Duration::from_millis(10)..=HOUR))?;
    Ok(RetryRange { from, to })
}

/// How long streams may live: `FROM..TO`, or one duration for both.
pub(crate) fn ttl_range(text: &str) -> Result<RetryRange, ValueError> {
    let (from, to) = range(text, duration(SECOND..=365 * DAY))?;
    Ok(RetryRange { from, to })
}

/// `FROM..TO`, or one duration for both.
pub(crate) fn heartbeat_range(text: &str) -> Result<HeartbeatRange, ValueError> {
    let (from, to) = range(text, duration(SECOND..=10 * MINUTE))?;
    Ok(HeartbeatRange { from, to })
}

fn range(text: &str, one: impl Fn(&str) -> Result<Duration, ValueError>) -> Result<(Duration, Duration), ValueError> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (one(from)?, one(to)?);
    if from > to {
        return Err(ValueError::new("the range ends before it begins"));
    }
    Ok((from, to))
}

pub(crate) fn unready_after(text: &str) -> Result<UnreadyAfter, ValueError> {
    if text == "never" {
        return Ok(UnreadyAfter(None));
    }
    duration(SHORTEST..=DAY)(text).map(|d| UnreadyAfter(Some(d))).map_err(|error| error.or("never"))
}

/// The value of a flag that takes none, as an environment variable gives it.
pub(crate) fn truth(text: &str) -> Result<bool, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(true),
        "0" | "false" | "off" | "no" => Ok(false),
        _ => Err(ValueError::new("neither on nor off")),
    }
}

/// The longest key prefix, in bytes.
const KEY_PREFIX_BYTES_MAX: usize = 100;

/// Nothing that needs quoting in a shell, in an ACL pattern or on a log line. Braces are Redis Cluster's hash tag.
pub(crate) fn key_prefix(text: &str) -> Result<String, ValueError> {
    if text.len() > KEY_PREFIX_BYTES_MAX {
        return Err(ValueError::new(format!("{} bytes; {KEY_PREFIX_BYTES_MAX} are allowed", text.len())));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:~@-/{}".contains(&b)) {
        return Err(ValueError::new("a character outside A-Z a-z 0-9 _ . : ~ @ - / { }"));
    }
    Ok(text.to_owned())
}

/// The base URL of a node, without a slash at its end.
pub(crate) fn node_url(text: &str) -> Result<String, ValueError> {
    let no_url = || ValueError::new("not a URL such as http://127.0.0.1:8080");
    let uri: hyper::Uri = text.parse().map_err(|_| no_url())?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.authority().is_some_and(|a| a.as_str().contains('@')) => {
            Err(ValueError::new("a URL with a user in it is not taken"))
        }
        Some("http" | "https") if uri.query().is_some() => Err(ValueError::new("the URL of a node has no query")),
        Some("http" | "https") => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(no_url()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parser says of a text that it does not take.
    fn why<T: std::fmt::Debug>(parsed: Result<T, ValueError>) -> String {
        parsed.unwrap_err().to_string()
    }

    #[test]
    fn durations_keep_to_their_range() {
        let heartbeat = duration(SECOND..=5 * MINUTE);
        assert_eq!(heartbeat("15s"), Ok(15 * SECOND));
        assert_eq!(why(heartbeat("999ms")), "outside 1s to 5m");
        for text in ["15", "abc", "", "-1s", "1parsec"] {
            assert_eq!(why(heartbeat(text)), "not a duration with its unit, such as 15s, 5m or 1h 30m", "{text:?}");
        }
        let idle = duration_or_never(SECOND..=DAY);
        assert_eq!(idle("0s"), Ok(Duration::ZERO));
        assert_eq!(why(idle("2day")), "outside 1s to 1day, or 0s");
        assert_eq!(why(unready_after("2day")), "outside 100ms to 1day, or never");
        assert_eq!(why(duration(SECOND..=365 * DAY)("9000days")), "outside 1s to 365days");
    }

    #[test]
    fn addresses_are_no_names() {
        assert_eq!(address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for text in ["8080", ":8080", "localhost:8080", "127.0.0.1"] {
            assert!(why(address(text)).starts_with("not an IP address with a port, such as 127.0.0.1:8080"), "{text}");
        }
    }

    #[test]
    fn ranges_of_delays() {
        assert_eq!(retry_range("1s..5s"), Ok(RetryRange { from: SECOND, to: 5 * SECOND }));
        assert_eq!(retry_range("2s"), Ok(RetryRange { from: 2 * SECOND, to: 2 * SECOND }));
        assert_eq!(why(retry_range("5s..1s")), "the range ends before it begins");
        for text in ["", "1s..", "..1s", "1s..2h", "0s..1s", "1s...2s"] {
            assert!(retry_range(text).is_err(), "{text:?}");
        }
        assert_eq!(heartbeat_range("1s..10m"), Ok(HeartbeatRange { from: SECOND, to: 10 * MINUTE }));
        for text in ["999ms..1m", "1s..601s", "2m..1m", ""] {
            assert!(heartbeat_range(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_and_bytes() {
        let channels = number(1..=1000_usize);
        assert_eq!(channels("1000"), Ok(1000));
        assert_eq!(why(channels("0")), "outside 1 to 1000");
        assert_eq!(why(channels("99999999999999999999999")), "outside 1 to 1000");
        assert_eq!(why(channels("-1")), "outside 1 to 1000");
        assert_eq!(why(channels("--1")), "not a whole number");
        let tail = bytes(1 << 20..=1 << 40);
        assert_eq!(tail("64MiB"), Ok(64 << 20));
        assert_eq!(tail("1048576"), Ok(1 << 20));
        assert_eq!(why(tail("1023KiB")), "outside 1MiB to 1024GiB");
        for text in ["", "MiB", "1 MiB", "1mb", "1.5MiB", "99999999999999GiB"] {
            assert!(tail(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(key_prefix("sse:"), Ok("sse:".into()));
        assert!(key_prefix(&"x".repeat(101)).is_err());
        assert!(key_prefix("a b").is_err());
    }
}
