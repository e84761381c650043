//! Settings of who may do what: `--auth` and all that belongs to it.

use super::pattern::Pattern;
use crate::config::values::{
    Contradiction, DAY, ForwardedHeader, HOUR, MINUTE, SECOND, SHORTEST, Switch, ValueError, duration, number,
};
use clap::{Args, ValueEnum};
use hyper::Uri;
use hyper::header::HeaderName;
use jsonwebtoken::Algorithm;
use std::path::PathBuf;
use std::time::Duration;

/// Who decides what a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// Everybody may subscribe to everything.
    None,
    /// Signed tokens (JWT, RFC 7519).
    Jwt,
    /// The application, asked by a sub-request.
    Forward,
}

impl AuthMode {
    /// As the flag has it.
    pub fn name(self) -> &'static str {
        match self {
            AuthMode::None => "none",
            AuthMode::Jwt => "jwt",
            AuthMode::Forward => "forward",
        }
    }
}

/// Settings of authorization and of limits per client.
#[derive(Args, Clone, Debug)]
pub struct AuthSettings {
    /// Who decides what a client may do: nobody, a signed token, or the application, which the node asks.
    #[arg(long = "auth", env = "FANTAIL_AUTH", default_value = "none", value_enum, ignore_case = true)]
    #[arg(id = "auth", value_name = "MODE")]
    pub mode: AuthMode,
    /// Files with the keys of tokens, separated by commas: PEM, JWK Set, or a raw shared key. Reread when they change.
    #[arg(long, env = "FANTAIL_JWT_KEY", value_delimiter = ',', value_name = "PATH")]
    pub jwt_key: Vec<PathBuf>,
    /// URL of a JWK Set with the keys of tokens.
    #[arg(long, env = "FANTAIL_JWT_JWKS_URL", value_name = "URL", value_parser = http_url)]
    pub jwt_jwks_url: Option<Uri>,
    /// Interval between reads of the JWK Set, 10s to 1day.
    #[arg(long, env = "FANTAIL_JWT_REFRESH", default_value = "5m", value_name = "DURATION")]
    #[arg(value_parser = duration(10 * SECOND..=DAY))]
    pub jwt_refresh: Duration,
    /// Algorithm of keys that do not name theirs, such as HS512 or PS256. Default: HS256, RS256, or the curve's.
    #[arg(long, env = "FANTAIL_JWT_ALGORITHM", value_name = "NAME", value_parser = algorithm)]
    pub jwt_algorithm: Option<Algorithm>,
    /// Accepted issuers (iss), separated by commas. Default: any.
    #[arg(long, env = "FANTAIL_JWT_ISSUER", value_delimiter = ',', value_name = "TEXT")]
    pub jwt_issuer: Vec<String>,
    /// Accepted audiences (aud), separated by commas. A token must name one of them. Default: a token must have none.
    #[arg(long, env = "FANTAIL_JWT_AUDIENCE", value_delimiter = ',', value_name = "TEXT")]
    pub jwt_audience: Vec<String>,
    /// Allowed error of the issuer's clock, up to 5m.
    #[arg(long, env = "FANTAIL_JWT_LEEWAY", default_value = "5s", value_name = "DURATION")]
    #[arg(value_parser = duration(Duration::ZERO..=5 * MINUTE))]
    pub jwt_leeway: Duration,
    /// Claim that names the subject.
    #[arg(long, env = "FANTAIL_CLAIM_SUBJECT", default_value = "sub", value_name = "NAME")]
    pub claim_subject: String,
    /// Claim with the patterns of channels to subscribe to. A dot leads into a nested claim.
    #[arg(long, env = "FANTAIL_CLAIM_SUBSCRIBE", default_value = "fantail.subscribe", value_name = "NAME")]
    pub claim_subscribe: String,
    /// Claim with the patterns of channels to publish to.
    #[arg(long, env = "FANTAIL_CLAIM_PUBLISH", default_value = "fantail.publish", value_name = "NAME")]
    pub claim_publish: String,
    /// Claim with the channels of a request that names none.
    #[arg(long, env = "FANTAIL_CLAIM_CHANNELS", default_value = "fantail.channels", value_name = "NAME")]
    pub claim_channels: String,
    /// Claim with conditions on the fields of events, in the form of the parameter where.
    #[arg(long, env = "FANTAIL_CLAIM_WHERE", default_value = "fantail.where", value_name = "NAME")]
    pub claim_where: String,
    /// Claim with the subject's limits.
    #[arg(long, env = "FANTAIL_CLAIM_LIMITS", default_value = "fantail.limits", value_name = "NAME")]
    pub claim_limits: String,
    /// Cookie that may carry the token.
    #[arg(long, env = "FANTAIL_TOKEN_COOKIE", value_name = "NAME", value_parser = cookie_name)]
    pub token_cookie: Option<String>,
    /// Whether the parameter token of the URL may carry the token.
    #[arg(long, env = "FANTAIL_TOKEN_QUERY", default_value = "on", value_enum, ignore_case = true)]
    pub token_query: Switch,
    /// Time before the end of a grant at which its subscriber is told, up to 1h; half of what is left passes first. 0s: never.
    #[arg(long, env = "FANTAIL_TOKEN_EXPIRING", default_value = "30s", value_name = "DURATION")]
    #[arg(value_parser = duration(Duration::ZERO..=HOUR))]
    pub token_expiring: Duration,
    /// Channels that anybody may subscribe to without a token: patterns, separated by commas.
    #[arg(long, env = "FANTAIL_PUBLIC", value_delimiter = ',', value_name = "PATTERN", value_parser = public_pattern)]
    pub public: Vec<Pattern>,
    /// URL of the application that the node asks for each subscription and publication.
    #[arg(long, env = "FANTAIL_FORWARD_URL", value_name = "URL", value_parser = http_url)]
    pub forward_url: Option<Uri>,
    /// Request headers that the application receives, separated by commas. It always receives cookies.
    #[arg(long, env = "FANTAIL_FORWARD_HEADERS", value_delimiter = ',', value_name = "NAME")]
    #[arg(default_value = "authorization", value_parser = header_name)]
    pub forward_headers: Vec<HeaderName>,
    /// Time that the application has for its answer, 100ms to 1m.
    #[arg(long, env = "FANTAIL_FORWARD_TIMEOUT", default_value = "2s", value_name = "DURATION")]
    #[arg(value_parser = duration(SHORTEST..=MINUTE))]
    pub forward_timeout: Duration,
    /// Time for which the application's answer serves the same question again, up to 1h. 0s: never.
    #[arg(long, env = "FANTAIL_FORWARD_CACHE", default_value = "5s", value_name = "DURATION")]
    #[arg(value_parser = duration(Duration::ZERO..=HOUR))]
    pub forward_cache: Duration,
    /// Concurrent questions to the application, 1 to 10000.
    #[arg(long, env = "FANTAIL_FORWARD_CONCURRENCY", default_value = "100", value_name = "N")]
    #[arg(value_parser = number(1..=10_000_usize))]
    pub forward_concurrency: usize,
    /// File with the authorities to trust at the key server and the application. Default: the system's.
    #[arg(long, env = "FANTAIL_AUTH_CA", value_name = "PATH")]
    pub auth_ca: Option<PathBuf>,
    /// The header in which --trusted-proxies name the client. The node ignores the other one.
    #[arg(long, env = "FANTAIL_FORWARDED_HEADER", default_value = "x-forwarded-for", value_enum, ignore_case = true)]
    pub forwarded_header: ForwardedHeader,
    /// Concurrent subscribers of one subject, up to 10000000. 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CONNECTIONS_PER_SUBJECT", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_000_usize))]
    pub max_connections_per_subject: usize,
    /// Channels of all subscribers of one address, up to 10000000. 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CHANNELS_PER_ADDRESS", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_000_usize))]
    pub max_channels_per_address: usize,
    /// Channels of all subscribers of one subject, up to 10000000. 0: no limit.
    #[arg(long, env = "FANTAIL_MAX_CHANNELS_PER_SUBJECT", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=10_000_000_usize))]
    pub max_channels_per_subject: usize,
    /// Subscriptions, HEAD requests for them, and pages of history per second of one address, up to 1000000. 0: no
    /// limit.
    #[arg(long, env = "FANTAIL_SUBSCRIBE_RATE", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=1_000_000_u32))]
    pub subscribe_rate: u32,
    /// Subscriptions per second of one subject, up to 1000000. 0: no limit.
    #[arg(long, env = "FANTAIL_SUBSCRIBE_RATE_PER_SUBJECT", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=1_000_000_u32))]
    pub subscribe_rate_per_subject: u32,
    /// Events that one subject may publish over HTTP per second, up to 1000000. 0: no limit.
    #[arg(long, env = "FANTAIL_PUBLISH_RATE_PER_SUBJECT", default_value = "0", value_name = "N")]
    #[arg(value_parser = number(0..=1_000_000_u32))]
    pub publish_rate_per_subject: u32,
}

impl AuthSettings {
    /// Checks what concerns several settings.
    pub(crate) fn verify(&self) -> Result<(), Contradiction> {
        let wrong = |text: &str| Err(Contradiction(text.to_owned()));
        let (jwt, forward) = (self.mode == AuthMode::Jwt, self.mode == AuthMode::Forward);
        let has_key = !self.jwt_key.is_empty() || self.jwt_jwks_url.is_some();
        if jwt && !has_key {
            return wrong("--auth jwt: it needs --jwt-key or --jwt-jwks-url");
        }
        if !self.jwt_key.is_empty() && self.jwt_jwks_url.is_some() {
            return wrong("--jwt-key and --jwt-jwks-url exclude each other");
        }
        // Most likely --auth was forgotten, and everybody could read everything.
        if !jwt && has_key {
            let flag = if self.jwt_key.is_empty() { "--jwt-jwks-url" } else { "--jwt-key" };
            return wrong(&format!("{flag}: it needs --auth jwt"));
        }
        if !jwt && self.token_cookie.is_some() {
            return wrong("--token-cookie: it needs --auth jwt");
        }
        if forward && self.forward_url.is_none() {
            return wrong("--auth forward: it needs --forward-url");
        }
        if !forward && self.forward_url.is_some() {
            return wrong("--forward-url: it needs --auth forward");
        }
        if self.mode == AuthMode::None && !self.public.is_empty() {
            return wrong("--public: it needs --auth jwt or --auth forward");
        }
        Ok(())
    }
}

/// `http://` or `https://`, without credentials: those would stand in logs.
fn http_url(text: &str) -> Result<Uri, ValueError> {
    let no_url = || ValueError::new("not a URL such as https://app.example.org/auth");
    let uri: Uri = text.parse().map_err(|_| no_url())?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            Err(ValueError::new("a URL with a user in it is not taken"))
        }
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(no_url()),
    }
}

/// The name of an algorithm of tokens.
pub(crate) fn algorithm(text: &str) -> Result<Algorithm, ValueError> {
    let known = "use one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
    text.parse().map_err(|_| ValueError::new(known))
}

/// A token of RFC 9110, section 5.6.2.
fn cookie_name(text: &str) -> Result<String, ValueError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match !text.is_empty() && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new("not a cookie's name")),
    }
}

fn public_pattern(text: &str) -> Result<Pattern, ValueError> {
    let nobody = || ValueError::new("{sub} means nothing here: who has no token has no subject");
    Pattern::parse(text, None).map_err(|error| ValueError::new(error.to_string()))?.ok_or_else(nobody)
}

fn header_name(text: &str) -> Result<HeaderName, ValueError> {
    text.parse().map_err(|_| ValueError::new("not the name of a header"))
}
