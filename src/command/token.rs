//! `fantail token`: a token for nodes with `--auth jwt`, to try them with. In earnest the application makes tokens.

use super::print_id;
use crate::auth::pattern::{Pattern, PatternError};
use crate::auth::settings::algorithm;
use crate::auth::signing::{Signer, SignerError, SigningError};
use crate::clock::Clock;
use crate::config::{self, Contradiction};
use clap::Args;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Prints a token. Those of its flags that nodes have too mean the same, and have the same variables.
#[derive(Args, Clone, Debug)]
pub struct Token {
    /// File with the key that signs: the shared secret that the nodes have, or the private half of their public key in PEM.
    #[arg(long, value_name = "PATH")]
    key: PathBuf,
    /// Patterns of channels to subscribe to, separated by commas; {sub} stands for the subject.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// Patterns of channels to publish to, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    publish: Vec<String>,
    /// The subject: who presents the token.
    #[arg(long, value_name = "TEXT")]
    sub: Option<String>,
    /// The token's id (jti), by which it can be revoked.
    #[arg(long, value_name = "TEXT")]
    jti: Option<String>,
    /// Lifetime of the token, 1s to 365days.
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    #[arg(value_parser = config::duration(config::SECOND..=365 * config::DAY))]
    ttl: Duration,
    /// Algorithm of a key that does not name its own. Default: HS256, RS256, or the curve's.
    #[arg(long, env = "FANTAIL_JWT_ALGORITHM", value_name = "NAME", value_parser = algorithm)]
    jwt_algorithm: Option<Algorithm>,
    /// The issuer (iss). Of several, the first.
    #[arg(long, env = "FANTAIL_JWT_ISSUER", value_delimiter = ',', value_name = "TEXT")]
    jwt_issuer: Vec<String>,
    /// The audience (aud). Of several, the first.
    #[arg(long, env = "FANTAIL_JWT_AUDIENCE", value_delimiter = ',', value_name = "TEXT")]
    jwt_audience: Vec<String>,
    /// Claim that names the subject.
    #[arg(long, env = "FANTAIL_CLAIM_SUBJECT", default_value = "sub", value_name = "NAME")]
    claim_subject: String,
    /// Claim with the patterns of channels to subscribe to.
    #[arg(long, env = "FANTAIL_CLAIM_SUBSCRIBE", default_value = "fantail.subscribe", value_name = "NAME")]
    claim_subscribe: String,
    /// Claim with the patterns of channels to publish to.
    #[arg(long, env = "FANTAIL_CLAIM_PUBLISH", default_value = "fantail.publish", value_name = "NAME")]
    claim_publish: String,
}

/// Why there is no token; names the flag and the file.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("--key {0}")]
    Key(#[from] SignerError),
    #[error("--key {path}: {why}", path = path.display())]
    Sign {
        path: PathBuf,
        #[source]
        why: SigningError,
    },
}

impl Token {
    /// Checks what concerns several flags, so that no token is printed that a node would refuse.
    pub(super) fn verify(&self) -> Result<(), Contradiction> {
        if self.subscribe.is_empty() && self.publish.is_empty() {
            return Err(Contradiction(
                "--subscribe or --publish is missing: a token without either grants nothing".into(),
            ));
        }
        for (flag, patterns) in [("--subscribe", &self.subscribe), ("--publish", &self.publish)] {
            for pattern in patterns {
                self.covers_something(pattern)
                    .map_err(|why| Contradiction(format!("{flag} {pattern:?}: {why}")))?
                    .ok_or_else(|| {
                        Contradiction(format!("{flag} {pattern:?}: {{sub}} needs a --sub that is one label"))
                    })?;
            }
        }
        Ok(())
    }

    fn covers_something(&self, pattern: &str) -> Result<Option<Pattern>, PatternError> {
        Pattern::parse(pattern, self.sub.as_deref())
    }

    fn claims(&self) -> Map<String, Value> {
        let text = |text: &str| Value::String(text.to_owned());
        let list = |patterns: &[String]| (!patterns.is_empty()).then(|| patterns.iter().map(|p| text(p)).collect());
        let end = Clock::default().since_epoch() + self.ttl;
        let claims = [
            (&*self.claim_subject, self.sub.as_deref().map(text)),
            ("exp", Some(end.as_secs().into())),
            ("jti", self.jti.as_deref().map(text)),
            ("iss", self.jwt_issuer.first().map(|issuer| text(issuer))),
            ("aud", self.jwt_audience.first().map(|audience| text(audience))),
            (&*self.claim_subscribe, list(&self.subscribe)),
            (&*self.claim_publish, list(&self.publish)),
        ];
        claims.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Prints the token, and nothing else, on stdout.
pub fn token(settings: &Token) -> ExitCode {
    print_id(signed(settings))
}

fn signed(settings: &Token) -> Result<String, TokenError> {
    let signer = Signer::from_file(&settings.key, settings.jwt_algorithm)?;
    signer.sign(&settings.claims()).map_err(|why| TokenError::Sign { path: settings.key.clone(), why })
}
