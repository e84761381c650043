//! reqwest-eventsource, which connects again by itself.

use crate::{Order, say};
use futures_util::StreamExt as _;
use reqwest_eventsource::{Error, Event, EventSource, ReadyState};
use serde_json::{Value, json};

fn event(each: &Event) -> Value {
    match each {
        Event::Open => json!({"kind": "open"}),
        Event::Message(m) => json!({"kind": "event", "type": m.event, "data": m.data, "id": m.id}),
    }
}

pub async fn run(order: &Order) {
    let mut request = reqwest::Client::new().get(&order.url);
    for (name, value) in &order.headers {
        request = request.header(name, value);
    }
    if !order.last_event_id.is_empty() {
        request = request.header("Last-Event-ID", &order.last_event_id);
    }
    let mut source = EventSource::new(request).expect("a request that can be repeated");
    while let Some(next) = source.next().await {
        match next {
            Ok(each) => say(&event(&each)),
            Err(error) => {
                let status = match &error {
                    Error::InvalidStatusCode(status, _) => Some(status.as_u16()),
                    _ => None,
                };
                say(&json!({"kind": "error", "status": status, "text": error.to_string()}));
                if source.ready_state() == ReadyState::Closed {
                    break;
                }
            }
        }
    }
}
