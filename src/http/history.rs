//! Past events of a channel as JSON: `GET /history/{channel}`, for scrolling back in a log or a chat.
//!
//! Owns the request's meaning and the answer: `reading` takes it from the stream in pieces, `writing` writes it as it
//! is read, [`budget`] bounds what all pages take of a node. Who may read is decided before, by the rule for subscribing.

pub mod budget;
mod page;
mod reading;
mod writing;

use self::budget::Turn;
pub use self::page::Page;
use self::page::shown;
use self::reading::Reading;
pub use self::writing::{Answer, Pages};
use crate::backplane::{BackplaneError, Entry};
use crate::frame::{plain_data, plain_type};
use crate::hub::Hub;
use serde_json::{Value, json};
use std::sync::Arc;

impl Page {
    /// Reads all of it, as JSON; oldest first, and whether there is more in that direction.
    pub async fn read(self, hub: Arc<Hub>, turn: Arc<Turn>) -> Result<(Vec<Value>, bool), BackplaneError> {
        let field = self.field.clone();
        let mut reading = Reading::new(self, hub, turn);
        let mut events = Vec::new();
        while let Some(piece) = reading.next().await? {
            events.extend(piece.entries.iter().map(|entry| event(entry, field.as_deref())));
        }
        Ok((events, reading.more()))
    }
}

/// An event as pages and the console have it in JSON.
fn event(entry: &Entry, field: Option<&str>) -> Value {
    let event = shown(entry, field);
    let mut json = json!({
        "id": entry.position.to_string(),
        "event": plain_type(event.kind.as_deref()),
        "data": plain_data(&event),
    });
    if event.last {
        json["final"] = true.into();
    }
    json
}
