//! reqwest-eventsource, which connects again by itself; see tests/clients/README.md.

use futures_util::StreamExt as _;
use reqwest_eventsource::{Error, Event, EventSource, ReadyState};
use serde_json::{Value, json};

fn event(each: &Event) -> Value {
    match each {
        Event::Open => json!({"kind": "open"}),
        Event::Message(m) => json!({"kind": "event", "type": m.event, "data": m.data, "id": m.id}),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let order: Value = serde_json::from_str(&std::env::args().nth(1).expect("an order")).expect("JSON");
    let mut request = reqwest::Client::new().get(order["url"].as_str().expect("a URL"));
    for (name, value) in order["headers"].as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("text"));
    }
    if let Some(id) = order["last_event_id"].as_str().filter(|id| !id.is_empty()) {
        request = request.header("Last-Event-ID", id);
    }
    let mut source = EventSource::new(request).expect("a request that can be repeated");
    while let Some(next) = source.next().await {
        match next {
            Ok(each) => println!("{}", event(&each)),
            Err(error) => {
                let status = match &error {
                    Error::InvalidStatusCode(status, _) => Some(status.as_u16()),
                    _ => None,
                };
                println!("{}", json!({"kind": "error", "status": status, "text": error.to_string()}));
                if source.ready_state() == ReadyState::Closed {
                    break;
                }
            }
        }
    }
    println!("{}", json!({"kind": "closed"}));
}
