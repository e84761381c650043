//! How Centrifugo is published to and subscribed to by HTTP: its API, and unidirectional SSE.

/// What stands before and behind an event's data in the body of `POST /api/publish`.
pub fn publication(channel: &str, data: &[u8]) -> Vec<u8> {
    [format!(r#"{{"channel":"{channel}","data":"#).as_bytes(), data, b"}"].concat()
}

/// The path with the names of channels that a subscriber asks with: a connect command, percent-encoded.
pub fn path(channels: &[String]) -> String {
    let subscriptions: Vec<String> = channels.iter().map(|channel| format!("%22{channel}%22:%7B%7D")).collect();
    format!("/connection/uni_sse?cf_connect=%7B%22subs%22:%7B{}%7D%7D", subscriptions.join(","))
}

/// An event's data within what is pushed, `{"channel":…,"pub":{"data":{"s":…"}}}`; `None` for pushes of other kinds.
pub fn published(push: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::find(push, br#"{"s":"#)?;
    let length = memchr::memmem::find(&push[start..], br#""}"#)? + 2;
    Some(&push[start..start + length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use serde_json::json;

    #[test]
    fn data_is_found_within_a_push_and_nothing_else_is() {
        let payload = Payload { sequence: 7, intended: 9, channel: 3 };
        let mut data = Vec::new();
        payload.write(&mut data, 90);
        let body: serde_json::Value = serde_json::from_slice(&publication("r1.3", &data)).unwrap();
        let push = json!({ "channel": "r1.3", "pub": { "data": "", "offset": 4 } }).to_string();
        let push = push.replace(r#""data":"""#, &format!(r#""data":{}"#, String::from_utf8(data.clone()).unwrap()));
        assert_eq!(body["channel"], "r1.3");
        assert_eq!(published(push.as_bytes()).and_then(Payload::read), Some(payload));
        assert_eq!(published(br#"{"connect":{"client":"1","subs":{"r1.3":{}}}}"#), None);
        assert_eq!(published(b"{}"), None);
    }
}
