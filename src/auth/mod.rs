//! Authorization: what a request may do. Owns tokens, keys, the question to the application, and revocations.
//!
//! [`Auth::authorize`] is asked once per request, whatever carries it, and answers with a [`Grant`] or a refusal; a
//! subscriber keeps the grant's [`Identity`]. Nothing here fails open: what cannot be decided is refused.

mod claims;
pub mod control;
pub mod crypto;
pub mod fetch;
pub mod forward;
pub mod grant;
mod jwt;
mod key_source;
pub mod keys;
pub mod metrics;
pub mod order;
pub mod pattern;
pub mod renewal;
pub mod revocation;
pub mod sessions;
pub mod settings;
pub mod signing;
pub mod token;

pub use grant::{Action, Grant, Identity, Question};
pub use key_source::{KeySource, KeySourceError};

use crate::channel::Channel;
use crate::clock::Clock;
use crate::config::values::Switch;
use crate::cors::Cors;
use crate::outside::Outside;
use crate::problem::{Code, Problem};
use forward::{Forward, ForwardError};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderValue};
use jwt::Jwt;
use metrics::{AuthMetrics, Decided, Granted};
use order::ChangeMemory;
use pattern::{Pattern, Patterns};
use revocation::Revocations;
use settings::{AuthMode, AuthSettings};
use std::sync::Arc;
use std::time::Duration;
use token::{Source, Token};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long a request that is answered at once waits on a new node until that knows who has been revoked.
const REVOCATIONS_WAIT: Duration = Duration::from_secs(2);

/// Why nobody could decide; names the setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Keys(#[from] KeySourceError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Decides for one node.
pub struct Auth {
    judge: Judge,
    cookie: Option<String>,
    token_query: bool,
    public: Vec<Pattern>,
    cors: Arc<Cors>,
    metrics: Arc<AuthMetrics>,
    pub revocations: Arc<Revocations>,
    /// Changes of streams' channels that have been ordered.
    pub changes: Arc<ChangeMemory>,
}

enum Judge {
    Nobody,
    Jwt(Box<Jwt>),
    Forward(Box<Forward>),
}

impl Auth {
    /// Starts what keeps it able to decide, on `runtime`.
    pub fn start(
        settings: &AuthSettings,
        cors: Arc<Cors>,
        metrics: Arc<AuthMetrics>,
        outside: &Outside,
        runtime: &Handle,
    ) -> Result<Arc<Auth>, AuthError> {
        let clock = outside.clock.clone();
        let revocations = Arc::new(Revocations::new(clock.clone()));
        let judge = match settings.mode {
            AuthMode::None => Judge::Nobody,
            AuthMode::Jwt => {
                let keys = KeySource::start(settings, metrics.clone(), outside.random.clone(), runtime)?;
                Judge::Jwt(Box::new(Jwt::new(settings, keys, clock)))
            }
            AuthMode::Forward => Judge::Forward(Box::new(Forward::new(settings, metrics.clone(), clock)?)),
        };
        Ok(Arc::new(Auth {
            judge,
            cookie: settings.token_cookie.clone(),
            token_query: settings.token_query == Switch::On,
            public: settings.public.clone(),
            cors,
            metrics,
            revocations,
            changes: Arc::default(),
        }))
    }

    /// Everybody may do everything: for who reaches the operators' listener, and for tests of other parts.
    pub fn nobody(metrics: Arc<AuthMetrics>, clock: &Clock) -> Arc<Auth> {
        Arc::new(Auth {
            judge: Judge::Nobody,
            cookie: None,
            token_query: false,
            public: Vec::new(),
            cors: Arc::default(),
            metrics,
            revocations: Arc::new(Revocations::new(clock.clone())),
            changes: Arc::default(),
        })
    }

    /// Whether it must know the channels to decide at all.
    pub fn needs_channels(&self) -> bool {
        matches!(self.judge, Judge::Forward(_))
    }

    /// Whether a decision is neither waited for nor worth a thread's time.
    pub fn decides_at_once(&self) -> bool {
        matches!(self.judge, Judge::Nobody)
    }

    /// Why nobody can be let in now; `None`: it can decide.
    pub fn trouble(&self) -> Option<&'static str> {
        match &self.judge {
            Judge::Jwt(jwt) if jwt.keys.current().is_none() => Some("no keys for tokens have been fetched"),
            _ => None,
        }
    }

    /// For how long it has not been known who was revoked, where that keeps anybody from events; `None`: it is known.
    pub fn blind_for(&self) -> Option<Duration> {
        match self.judge {
            Judge::Nobody => None,
            Judge::Jwt(_) | Judge::Forward(_) => self.revocations.blind_for(),
        }
    }

    /// What a request may do; its channels are covered, or it is refused.
    ///
    /// Waits for the application, or for a fetch of keys, within their timeouts. Cancel safe. On a new node it may not be
    /// known yet who has been revoked: a subscriber waits for that after it has its head.
    pub async fn authorize(&self, question: Question<'_>) -> Result<Grant, Problem> {
        let result = self.decide(&question).await;
        self.counted(result)
    }

    /// Decides on a request that is answered at once: who may have been revoked is refused until that is known.
    pub async fn authorize_at_once(&self, question: Question<'_>) -> Result<Grant, Problem> {
        let result = match self.decide(&question).await {
            Ok(grant) => self.after_revocations(grant).await,
            refused => refused,
        };
        self.counted(result)
    }

    /// What a token grants that is to become a browser's cookie. It comes in `Authorization`, which no browser adds by itself.
    pub async fn authorize_session(&self, token: Option<&Token>) -> Result<Grant, Problem> {
        let result = match self.by_own_token(token).await {
            Ok(grant) => self.after_revocations(grant).await,
            refused => refused,
        };
        self.counted(result)
    }

    async fn by_own_token(&self, token: Option<&Token>) -> Result<Grant, Problem> {
        let seen = self.revocations.count();
        let (Judge::Jwt(jwt), Some(token)) = (&self.judge, token) else { return Err(no_token()) };
        let grant = jwt.grant(token).await?;
        self.refuse_revoked(&grant)?;
        Ok(Grant { seen, subscribe: grant.subscribe.and(&self.public), ..grant })
    }

    async fn after_revocations(&self, grant: Grant) -> Result<Grant, Problem> {
        let known_by_name = grant.subject.is_some() || grant.token_id.is_some();
        if known_by_name && !self.revocations.is_known() {
            if timeout(REVOCATIONS_WAIT, self.revocations.known()).await.is_err() {
                return Err(Problem::new(Code::AuthDown, "it is not known yet who has been revoked"));
            }
            self.refuse_revoked(&grant)?;
        }
        Ok(grant)
    }

    fn counted(&self, result: Result<Grant, Problem>) -> Result<Grant, Problem> {
        let outcome: Decided = match &result {
            Ok(grant) if grant.subject.is_none() && grant.expires_ms.is_none() => Granted::Anonymous.into(),
            Ok(_) => Granted::Known.into(),
            Err(problem) => problem.code.into(),
        };
        if !matches!(self.judge, Judge::Nobody) {
            self.metrics.auth.inc(outcome);
        }
        result
    }

    /// Whether a grant covers channels that were not known when it was asked for.
    pub fn check(&self, grant: &Grant, action: Action, channels: &[Channel]) -> Result<(), Problem> {
        let result = grant.check(action, channels);
        if let Err(problem) = &result {
            self.metrics.auth.inc(problem.code.into());
        }
        result
    }

    async fn decide(&self, question: &Question<'_>) -> Result<Grant, Problem> {
        // Before anything is decided: whatever is revoked from here on is looked at again later.
        let seen = self.revocations.count();
        let grant = match &self.judge {
            Judge::Nobody => Grant::everything(),
            Judge::Jwt(jwt) => self.by_token(jwt, question).await?,
            Judge::Forward(_) if self.is_public(question) => self.anonymous(),
            Judge::Forward(forward) => {
                if brings_ambient_credentials(question.headers) {
                    self.refuse_cross_site(question.headers)?;
                }
                let grant = forward.ask(question).await?;
                Grant { subscribe: grant.subscribe.and(&self.public), ..grant }
            }
        };
        self.refuse_revoked(&grant)?;
        if question.action == Action::Publish && grant.publish.is_nothing() {
            return Err(Problem::new(Code::Forbidden, "not allowed to publish to any channel"));
        }
        grant.check(question.action, question.channels)?;
        Ok(Grant { seen, ..grant })
    }

    fn refuse_revoked(&self, grant: &Grant) -> Result<(), Problem> {
        match self.revocations.bars(grant.subject.as_ref(), grant.token_id.as_ref()) {
            true => Err(Problem::new(Code::TokenRevoked, "the token or its subject has been revoked")),
            false => Ok(()),
        }
    }

    async fn by_token(&self, jwt: &Jwt, question: &Question<'_>) -> Result<Grant, Problem> {
        let query = if self.token_query { question.uri.query().unwrap_or_default() } else { "" };
        let Some((token, source)) = token::find(question.headers, query, self.cookie.as_deref())? else {
            return match self.is_public(question) {
                true => Ok(self.anonymous()),
                false => Err(no_token()),
            };
        };
        if source == Source::Cookie {
            self.refuse_cross_site(question.headers)?;
        }
        let grant = jwt.grant(&token).await?;
        Ok(Grant { subscribe: grant.subscribe.and(&self.public), ..grant })
    }

    /// What may be done by whoever shows nothing.
    fn anonymous(&self) -> Grant {
        Grant::of(Patterns::These(self.public.clone()), Patterns::nothing())
    }

    fn is_public(&self, question: &Question<'_>) -> bool {
        !question.channels.is_empty() && self.anonymous().check(question.action, question.channels).is_ok()
    }

    /// A browser sends cookies for whatever page asks it to, so that page must be one of ours.
    pub fn refuse_cross_site(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match self.cors.trusts(headers) {
            true => Ok(()),
            false => {
                let detail = "a page of another site asks with this browser's cookies; --cors-origin does not name it";
                Err(Problem::new(Code::CrossSite, detail))
            }
        }
    }
}

fn no_token() -> Problem {
    Problem::new(Code::Unauthorized, "a token is needed: Authorization: Bearer TOKEN")
}

/// Whether there are credentials that a browser adds by itself: cookies, or what it asked its user for once (RFC 7617).
fn brings_ambient_credentials(headers: &HeaderMap) -> bool {
    let is_bearer = |value: &HeaderValue| value.as_bytes().get(..7).is_some_and(|s| s.eq_ignore_ascii_case(b"bearer "));
    headers.contains_key(COOKIE) || headers.get_all(AUTHORIZATION).iter().any(|value| !is_bearer(value))
}
