//! `fantail check`: whether a node would work with these settings, here and now.
//!
//! Starts nothing and listens nowhere. Prints one line for each finding.

use crate::auth::{KeySource, forward};
use crate::backplane::redis::capabilities::{Counts, Findings, Keyed, Right};
use crate::backplane::redis::{self, Settings};
use crate::clock::Clock;
use crate::command::NodeSettings;
use crate::command::environment::Unknown;
use crate::config::{AuthMode, Serve};
use crate::http::admin::token::AdminToken;
use crate::http::tls::certificate::Files;
use crate::http::tls::tickets::TicketKeys;
use crate::limits::connection_limit;
use crate::printable::Printable;
use crate::telemetry::trace::Plan;
use hyper::Uri;
use rustix::process::{Resource, getrlimit};
use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A clock that is further off than this is worth a word: positions carry the server's time.
const CLOCK_OFFSET_MS: u64 = 1000;
/// A certificate that ends sooner is worth a word; those who renew by themselves do it a month before.
const SOON_DAYS: i64 = 14;
const SECONDS_PER_DAY: i64 = 86_400;

/// Time for a connection to the collector of traces.
const COLLECTOR: Duration = Duration::from_secs(1);

/// What is printed, and whether a node would work.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<String>,
    failed: bool,
}

/// Checks, prints to standard output, and says whether a node would work: 0, or 1, or 2 for a bad setting.
pub async fn check(settings: &NodeSettings) -> ExitCode {
    // What is wrong with it was said when the command line was read.
    let traces = settings.traces().ok().flatten();
    let (report, code) = report(&settings.serve, traces.as_ref(), &super::unknown_variables()).await;
    let mut out = std::io::stdout().lock();
    for line in report.lines() {
        let _ = writeln!(out, "{}", Printable(line));
    }
    ExitCode::from(code)
}

/// The report and the exit code; `unknown` are variables of the environment that do nothing.
pub async fn report(settings: &Serve, traces: Option<&Plan>, unknown: &[Unknown]) -> (Report, u8) {
    let mut report = Report::default();
    report.environment(unknown);
    settings.without_effect().into_iter().for_each(|line| report.warn("settings", line));
    report.file_limit(settings);
    report.authorization(settings).await;
    report.certificate(settings);
    report.operators(settings);
    if let Some(plan) = traces {
        report.traces(plan).await;
    }
    let Some(url) = &settings.redis else {
        report.good("backplane", "memory: channels live in this node alone (--redis URL for a cluster)");
        return report.finish();
    };
    let redis = Settings {
        key_prefix: settings.key_prefix.clone(),
        follow: settings.follow,
        relay_from: settings.relay_from,
        publish_maxlen: settings.publish_maxlen,
        ..settings.redis_access.settings(url)
    };
    match redis::survey(redis, settings.may_publish()).await {
        Ok(Ok(findings)) => report.redis(&findings),
        Ok(Err(error)) => report.bad("redis", &error.to_string()),
        Err(error) => {
            report.bad("--redis", &error.to_string());
            return (report.finish().0, 2);
        }
    }
    report.finish()
}

impl Report {
    /// The findings in order; the last line sums up.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    fn good(&mut self, what: &str, finding: &str) {
        self.lines.push(format!("ok    {what}: {finding}"));
    }

    fn warn(&mut self, what: &str, finding: &str) {
        self.lines.push(format!("warn  {what}: {finding}"));
    }

    fn bad(&mut self, what: &str, finding: &str) {
        self.failed = true;
        self.lines.push(format!("FAIL  {what}: {finding}"));
    }

    fn finish(mut self) -> (Report, u8) {
        let verdict = if self.failed { "a node would not work" } else { "a node would work" };
        self.lines.push(verdict.to_owned());
        let code = u8::from(self.failed);
        (self, code)
    }

    /// What stands in the environment and does nothing.
    fn environment(&mut self, unknown: &[Unknown]) {
        for unknown in unknown {
            self.bad("environment", &format!("no command knows the variable {}", unknown.name));
        }
    }

    /// Whether the operators' tokens can be read, and who reaches their listener without one.
    fn operators(&mut self, settings: &Serve) {
        match settings.admin_token_file.as_deref().map(AdminToken::new) {
            Some(Ok(_)) => self.good("admin", "console, status and actions need a token"),
            Some(Err(error)) => self.bad("admin", &error.to_string()),
            None if settings.admin_actions && !settings.admin_listen.ip().is_loopback() => {
                let finding = format!(
                    "who reaches --admin-listen {} may publish, disconnect and drain this node; --admin-token-file asks for a token",
                    settings.admin_listen
                );
                self.warn("admin", &finding);
            }
            None => {}
        }
    }

    /// Whether keys can be read, or the application asked.
    async fn authorization(&mut self, settings: &Serve) {
        let auth = &settings.auth;
        match auth.mode {
            AuthMode::None => self.open(settings),
            AuthMode::Jwt => match KeySource::once(auth).await {
                Ok(keys) => {
                    let finding = format!("jwt: {} keys, for {}", keys.count(), keys.algorithms());
                    self.good("auth", &finding);
                    for why in keys.skipped() {
                        self.warn("auth", &format!("tokens of a key that cannot be used are refused: {why}"));
                    }
                    if auth.jwt_issuer.is_empty() && auth.jwt_jwks_url.is_some() {
                        self.warn("auth", "tokens of any issuer are taken that these keys have signed (--jwt-issuer)");
                    }
                }
                Err(error) => self.bad("auth", &error.to_string()),
            },
            AuthMode::Forward => {
                let url = auth.forward_url.as_ref().map(ToString::to_string).unwrap_or_default();
                match forward::probe(auth).await {
                    Ok(401 | 403) => self.good("auth", &format!("forward: {url} answers")),
                    Ok(status @ 200..=299) => {
                        let finding =
                            format!("--forward-url {url} grants ({status}) what is asked without credentials");
                        self.warn("auth", &finding);
                    }
                    Ok(status) => self.bad("auth", &format!("--forward-url {url}: it answers {status}")),
                    Err(why) => self.bad("auth", &format!("--forward-url {url}: {why}")),
                }
            }
        }
        let plain = |url: &Option<Uri>| url.as_ref().is_some_and(is_plain);
        if plain(&auth.jwt_jwks_url) || plain(&auth.forward_url) {
            self.warn("auth", "http:// to another machine: who is in between decides who may do what; use https://");
        }
    }

    /// Nobody decides: worth a word where others than this machine can connect.
    fn open(&mut self, settings: &Serve) {
        match settings.listen.iter().all(|address| address.ip().is_loopback()) {
            true => self.good("auth", "none: everybody may subscribe to everything"),
            false => self.warn("auth", "none: everybody who reaches --listen may subscribe to everything (--auth)"),
        }
    }

    /// A node raises its limit to what is allowed, and takes no more subscribers than that leaves room for.
    fn file_limit(&mut self, settings: &Serve) {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let room = connection_limit(settings.max_connections, files);
        match settings.max_connections {
            asked if asked > room => {
                let finding = format!("{files} files leave room for {room} subscribers; --max-connections is {asked}");
                self.warn("file limit", &finding);
            }
            0 => self.good("file limit", &format!("{files} files leave room for {room} subscribers")),
            asked => self.good("file limit", &format!("{files} files are enough for {asked} subscribers")),
        }
    }

    /// Whether the certificate can be shown, and for how long.
    fn certificate(&mut self, settings: &Serve) {
        let Some((cert, key)) = settings.transport.tls() else { return };
        if let Some(path) = &settings.transport.tls_ticket_keys {
            match TicketKeys::new(path, Clock::default()) {
                Err(error) => self.bad("ticket keys", &error.to_string()),
                Ok(keys) => self.good("ticket keys", &format!("{} of 4", keys.count())),
            }
        }
        match (Files { cert: cert.clone(), key: key.clone() }).load() {
            Err(error) => self.bad("tls", &error.to_string()),
            Ok(loaded) => {
                let now = Clock::default().since_epoch().as_secs() as i64;
                let days = (loaded.not_after - now) / SECONDS_PER_DAY;
                let finding = format!("the certificate of {} is valid for {days} more days", loaded.subject);
                match loaded.not_after < now {
                    true => self.bad("tls", &format!("the certificate of {} has expired", loaded.subject)),
                    false if days < SOON_DAYS => self.warn("tls", &finding),
                    false => self.good("tls", &finding),
                }
            }
        }
    }

    /// A collector that is away costs the spans alone, so it is worth no more than a word.
    async fn traces(&mut self, plan: &Plan) {
        let finding = format!("{} by {:?}", plan.endpoint, plan.protocol).to_lowercase();
        let uri: hyper::Uri = plan.endpoint.parse().unwrap_or_default();
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let connecting = TcpStream::connect((host, uri.port_u16().unwrap_or(usual)));
        match timeout(COLLECTOR, connecting).await {
            Ok(Ok(_)) => self.good("traces", &finding),
            Ok(Err(error)) => self.warn("traces", &format!("{finding}: {error}; spans would be lost")),
            Err(_) => self.warn("traces", &format!("{finding}: no connection; spans would be lost")),
        }
    }

    fn redis(&mut self, findings: &Findings) {
        let version = findings.version.as_deref().unwrap_or("of unknown version");
        self.good("redis", &format!("{}, {version}", findings.name));
        for (shard, trouble) in &findings.shards {
            match trouble {
                None => self.good("shard", shard),
                Some(why) => self.bad("shard", &format!("{shard}: {}", why)),
            }
        }
        for (replica, found) in &findings.replicas {
            match found {
                Ok(found) => self.good("replica", &format!("{replica}: {found}")),
                Err(why) => self.warn("replica", &format!("{replica}: {why}")),
            }
        }
        match findings.counts {
            Counts::Yes => {}
            Counts::No => {
                self.warn("gaps", "before Redis 7.0 lost events are told, but not counted, and some resets are not seen");
            }
            Counts::Unknown => self.warn(
                "gaps",
                "the server does not know XSETID, as every Redis does: lost events may be told without a number, and some resets not at all",
            ),
        }
        match &findings.once {
            None => {}
            Some(Keyed::Supported) => self.good("once", "Idempotency-Key is taken"),
            Some(Keyed::Unknown) => {
                self.good("once", "Idempotency-Key is answered 501 not_supported: this server is older than Redis 8.6");
            }
            Some(Keyed::Forbidden(why)) => self.warn("once", &format!("Idempotency-Key cannot be taken: {why}")),
        }
        match findings.follow {
            "tracking" => self.good("follow", "tracking"),
            other => self.warn("follow", &format!("{other}: the server offers no client tracking to this user")),
        }
        match findings.clock_offset_ms {
            None => self.warn("clock", "unknown: TIME is refused"),
            Some(offset) if offset.unsigned_abs() > CLOCK_OFFSET_MS => {
                self.warn("clock", &format!("the server's is {offset} ms off this machine's"));
            }
            Some(offset) => self.good("clock", &format!("the server's is {offset} ms off this machine's")),
        }
        for right in &findings.rights {
            self.right(right);
        }
        for caution in &findings.cautions {
            self.warn(caution.setting, &caution.effect);
        }
        if findings.rights.iter().all(|right| right.refused.is_none()) {
            self.good("rights", "every command is allowed");
        }
    }

    fn right(&mut self, right: &Right) {
        let Some(why) = &right.refused else { return };
        let finding = format!("{}, for {}: {why}", right.command, right.purpose);
        match right.needed {
            true => self.bad("rights", &finding),
            false => self.warn("rights", &finding),
        }
    }
}

/// Whether an exchange goes unprotected over a network.
fn is_plain(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme_str() == Some("http") && !local
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::settings_of;

    async fn checked(arguments: &[&str]) -> (Vec<String>, u8) {
        found(settings_of(arguments).unwrap()).await
    }

    async fn found(settings: Serve) -> (Vec<String>, u8) {
        let (report, code) = report(&settings, None, &[]).await;
        (report.lines().to_vec(), code)
    }

    #[tokio::test]
    async fn without_redis_a_node_works() {
        let (lines, code) = checked(&[]).await;
        assert_eq!(code, 0, "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("ok    backplane: memory")));
    }

    #[tokio::test]
    async fn more_connections_than_files_are_pointed_out() {
        let (lines, code) = found(Serve { max_connections: usize::MAX, ..settings_of(&[]).unwrap() }).await;
        assert_eq!(code, 0, "a node takes fewer: {lines:?}");
        assert!(lines[0].starts_with("warn  file limit: "), "{lines:?}");
    }

    #[tokio::test]
    async fn an_absent_server_does_not_work() {
        let (lines, code) = checked(&["--redis", "unix:/nonexistent/redis.sock"]).await;
        assert_eq!(code, 1);
        assert!(lines.iter().any(|line| line.starts_with("FAIL  redis: ")), "{lines:?}");
    }
}
