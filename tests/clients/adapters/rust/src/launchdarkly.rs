//! eventsource-client, which is LaunchDarkly's and connects again by itself.

use crate::{Order, say};
use eventsource_client::{Client as _, ClientBuilder, Error, SSE};
use futures_util::TryStreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;
use serde_json::json;

pub async fn run(order: &Order) {
    let mut builder = ClientBuilder::for_url(&order.url).expect("a URL");
    for (name, value) in &order.headers {
        builder = builder.header(name, value).expect("a header");
    }
    if !order.last_event_id.is_empty() {
        builder = builder.last_event_id(order.last_event_id.clone());
    }
    let client = builder.build_with_transport(HyperTransport::builder().build_http().expect("a transport"));
    let mut stream = client.stream();
    loop {
        match stream.try_next().await {
            Ok(Some(SSE::Connected(_))) => say(&json!({"kind": "open"})),
            Ok(Some(SSE::Event(each))) => {
                let id = each.id.unwrap_or_default();
                say(&json!({"kind": "event", "type": each.event_type, "data": each.data, "id": id}));
            }
            Ok(Some(SSE::Comment(_))) => {}
            Ok(None) => break,
            Err(error) => {
                let status = match &error {
                    Error::UnexpectedResponse(answer, _) => Some(answer.status()),
                    _ => None,
                };
                say(&json!({"kind": "error", "status": status, "text": error.to_string()}));
            }
        }
    }
}
