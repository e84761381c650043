//! Adapters for clients in Rust; see tests/clients/README.md. The first argument names the library, the second is the order.

mod launchdarkly;
mod reqwest_adapter;

use serde_json::{Value, json};

pub struct Order {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub last_event_id: String,
}

impl Order {
    fn read(text: &str) -> Order {
        let order: Value = serde_json::from_str(text).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let headers = order["headers"].as_object().into_iter().flatten();
        Order {
            url: text(&order["url"]),
            headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
            last_event_id: text(&order["last_event_id"]),
        }
    }
}

pub fn say(line: &Value) {
    println!("{line}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let [name, order] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("a name and an order");
    let order = Order::read(&order);
    match name.as_str() {
        "launchdarkly-rust" => launchdarkly::run(&order).await,
        "reqwest-eventsource" => reqwest_adapter::run(&order).await,
        _ => panic!("there is no {name}"),
    }
    say(&json!({"kind": "closed"}));
}
