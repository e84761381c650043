//! Orders to disconnect, and who must obey them: what was written to the control stream, and whom it concerns.

use super::world::{EPOCH_MS, World, field};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fantail::position::Position;
use serde_json::json;
use std::time::Duration;

/// The channel of orders.
pub const CONTROL: &str = "~control";
/// The key of all tokens.
pub const SECRET: &[u8] = b"a secret of a run, which is as long as the longest that is asked for";
/// Within this time a node that reads the control stream has carried out an order.
pub const OBEYED: Duration = Duration::from_secs(10);

/// Whom an order names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Subject,
    Token,
    Channel,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Target::Subject => "subject",
            Target::Token => "token",
            Target::Channel => "channel",
        }
    }
}

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    pub at: Duration,
    pub target: Target,
    pub name: String,
    /// Kept out until then; `None`: it may come back at once, but for a token.
    pub until: Option<Duration>,
    /// When the stream lost it: nodes that start later do not know it.
    pub gone: Option<Duration>,
}

/// Who a client says that it is.
#[derive(Clone, Debug)]
pub struct Holder {
    pub subject: String,
    pub token_id: String,
    pub expires: Duration,
}

impl Holder {
    /// Its token, signed; `epoch_s`: when the run began, in Unix seconds.
    pub fn token(&self, epoch_s: u64) -> String {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let exp = epoch_s + self.expires.as_secs();
        let claims = json!({"sub": self.subject, "jti": self.token_id, "exp": exp, "fantail": {"subscribe": ["*"], "publish": ["*"]}});
        let message = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes())))
    }
}

impl Order {
    pub fn concerns(&self, holder: &Holder, channels: &[&str]) -> bool {
        match self.target {
            Target::Subject => self.name == holder.subject,
            Target::Token => self.name == holder.token_id,
            Target::Channel => channels.contains(&self.name.as_str()),
        }
    }

    /// Whether it keeps that holder out at a moment.
    pub fn bars(&self, holder: &Holder, at: Duration) -> bool {
        let kept = match (self.target, self.until) {
            (Target::Channel, _) => false,
            (_, Some(until)) => at < until,
            (Target::Token, None) => true,
            (Target::Subject, None) => false,
        };
        kept && self.concerns(holder, &[])
    }

    /// Whether a node must have carried it out by now that has read the control stream without trouble since `calm`.
    pub fn must_be_known(&self, now: Duration, calm: Duration) -> bool {
        let begun = self.at.max(calm);
        now > begun + OBEYED && self.gone.is_none_or(|gone| gone > begun + OBEYED)
    }
}

impl World {
    /// Writes an order to the control stream.
    pub fn revoke(&self, target: Target, name: &str, for_ms: Option<u64>, behind_ms: u64) {
        let at = self.at();
        let until = for_ms.map(|ms| at + Duration::from_millis(ms));
        let mut fields = vec![field("disconnect", target.name()), field("name", name)];
        // Whole seconds.
        let until_s = until.map(|until| (EPOCH_MS + until.as_millis() as u64) / 1_000);
        if let Some(until_s) = until_s {
            fields.push(field("until", &until_s.to_string()));
        }
        let id = (behind_ms > 0).then(|| Position::new(self.redis.now_ms() - behind_ms, 0));
        if !self.redis.add(CONTROL, id, fields) {
            return;
        }
        let until = until_s.map(|until_s| Duration::from_millis(until_s * 1_000 - EPOCH_MS));
        let order = Order { at, target, name: name.to_owned(), until, gone: None };
        self.truth.lock().expect("nobody panics").orders.push(order);
    }

    /// The control stream loses what it has.
    pub fn lose_control(&self, whole: bool) {
        match whole {
            true => drop(self.redis.remove(CONTROL)),
            false => self.redis.trim(CONTROL, 0, false),
        }
        if self.redis.held(CONTROL).is_empty() {
            self.orders_are_gone(Duration::ZERO);
        }
    }

    /// Orders that were written after a moment are not in the control stream any more.
    pub fn orders_are_gone(&self, after: Duration) {
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        truth.orders.iter_mut().filter(|order| order.at >= after).for_each(|order| {
            order.gone.get_or_insert(at);
        });
    }
}
