//! Tokens: verified with the node's keys, then read into a grant (RFC 7519; RFC 8725 for what goes wrong).

use super::claims::{self, Names};
use super::grant::Grant;
use super::key_source::KeySource;
use super::keys::{KeySet, MAX_KEYS};
use super::settings::AuthSettings;
use super::token::{Token, bad};
use crate::clock::Clock;
use crate::problem::{Code, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Reads tokens.
pub struct Jwt {
    pub keys: Arc<KeySource>,
    names: Names,
    issuer: Vec<String>,
    audience: Vec<String>,
    leeway_s: u64,
    clock: Clock,
}

impl Jwt {
    pub fn new(settings: &AuthSettings, keys: Arc<KeySource>, clock: Clock) -> Jwt {
        super::crypto::install();
        let names = Names {
            subject: settings.claim_subject.clone(),
            subscribe: settings.claim_subscribe.clone(),
            publish: settings.claim_publish.clone(),
            channels: settings.claim_channels.clone(),
            conditions: settings.claim_where.clone(),
            limits: settings.claim_limits.clone(),
        };
        let leeway_s = settings.jwt_leeway.as_secs();
        let (issuer, audience) = (settings.jwt_issuer.clone(), settings.jwt_audience.clone());
        Jwt { keys, names, issuer, audience, leeway_s, clock }
    }

    /// The grant of a token. May wait for a fetch of keys where the token names one that is not known.
    pub async fn grant(&self, token: &Token) -> Result<Grant, Problem> {
        let header = header(token.as_str())?;
        let Some(keys) = self.keys.with(header.kid.as_deref()).await else {
            return Err(Problem::new(Code::AuthDown, "no keys have been fetched yet to verify tokens with"));
        };
        let claims = self.verify(token.as_str(), &header, &keys)?;
        let mut grant = claims::grant(&claims, &self.names).map_err(|why| bad(&why.to_string()))?;
        grant.expires_ms = Some(self.end_ms(&claims)?);
        if grant.quota.connections.is_some() && grant.holder().is_none() {
            // Nothing names it, so it is counted by itself.
            let digest = digest(&SHA256, token.as_str().as_bytes());
            grant.quota.by = Some(URL_SAFE_NO_PAD.encode(digest).into());
        }
        Ok(grant)
    }

    fn verify(&self, token: &str, header: &Header, keys: &KeySet) -> Result<Map<String, Value>, Problem> {
        let mut validation = Validation::new(header.alg);
        // The library asks the system for the time; `in_time` asks the node's clock.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = vec!["exp"];
        if !self.issuer.is_empty() {
            validation.set_issuer(&self.issuer);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        let mut refusal = None;
        for key in keys.candidates(header.kid.as_deref(), header.alg).take(MAX_KEYS) {
            match decode::<Map<String, Value>>(token, &key.decoding, &validation) {
                Ok(data) => return self.in_time(&data.claims).map(|()| data.claims),
                // The next key may fit; anything else would be the same with it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => {
                    refusal = Some(explain(error.kind()));
                    break;
                }
            }
        }
        Err(refusal.unwrap_or_else(|| match keys.knows(header.kid.as_deref()) {
            true => bad("no key of this node verifies its signature"),
            false => bad("it names a key (kid) that is not known"),
        }))
    }

    /// Whether a token is neither over (RFC 7519, section 4.1.4) nor to come (4.1.5), give or take the leeway.
    fn in_time(&self, claims: &Map<String, Value>) -> Result<(), Problem> {
        let second = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|second| *second >= 0.0) {
                Some(second) => Ok(Some(second.round() as u64)),
                None => Err(explain(&ErrorKind::InvalidClaimFormat(name.into()))),
            },
        };
        let now = self.clock.since_epoch().as_secs();
        if second("exp")?.is_some_and(|exp| exp.saturating_add(self.leeway_s) < now) {
            return Err(explain(&ErrorKind::ExpiredSignature));
        }
        if second("nbf")?.is_some_and(|nbf| nbf > now.saturating_add(self.leeway_s)) {
            return Err(explain(&ErrorKind::ImmatureSignature));
        }
        Ok(())
    }

    /// At `exp`; a token that was taken after it, for the sake of clocks, serves as long as it is taken.
    fn end_ms(&self, claims: &Map<String, Value>) -> Result<u64, Problem> {
        let exp = claims.get("exp").and_then(Value::as_f64).ok_or_else(|| bad("claim exp is no number"))?;
        let end = (exp * 1000.0) as u64;
        Ok(if self.clock.unix_ms() < end { end } else { end.saturating_add(self.leeway_s * 1000) })
    }
}

/// The header, which says nothing that is believed but which key to try.
fn header(token: &str) -> Result<Header, Problem> {
    let header = decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidAlgorithm => bad("its algorithm is not taken"),
        _ => bad("it is no signed JWT, or its algorithm is not taken"),
    })?;
    // RFC 7515, section 4.1.11: what is critical and not understood is refused, and here nothing is.
    match header.crit {
        Some(_) => Err(bad("its header has critical extensions")),
        None => Ok(header),
    }
}

/// What its owner is told of a token whose claims are refused.
fn explain(kind: &ErrorKind) -> Problem {
    match kind {
        ErrorKind::ExpiredSignature => Problem::new(Code::TokenExpired, "the token has expired"),
        ErrorKind::ImmatureSignature => bad("it is not valid yet (nbf); is this machine's clock right?"),
        ErrorKind::InvalidIssuer => bad("its issuer (iss) is not one of --jwt-issuer"),
        ErrorKind::InvalidAudience => bad("its audience (aud) is none of --jwt-audience"),
        ErrorKind::MissingRequiredClaim(claim) => bad(&format!("it has no claim {claim}")),
        ErrorKind::InvalidClaimFormat(claim) => bad(&format!("claim {claim} has a wrong form")),
        ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::Base64(_) => bad("its claims cannot be read"),
        _ => bad("it cannot be verified"),
    }
}
