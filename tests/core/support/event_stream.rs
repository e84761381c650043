//! An event-stream parser as the WHATWG HTML standard defines it (sections 9.2.5 and 9.2.6), written apart from the
//! encoder: what a browser's EventSource makes of bytes. It knows nothing of HTTP or of chunked coding.

/// What EventSource would dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The last event id at dispatch: an id counts for later events, too.
    pub id: String,
    /// The event type; `message` where none was given.
    pub event: String,
    pub data: String,
}

/// Takes a stream in pieces of any size; what is not ended by an empty line is never dispatched.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// A CR ended the last line; a LF that follows belongs to it, even in a later piece.
    after_cr: bool,
    /// The first line is over: a BOM is stripped from the very beginning alone.
    begun: bool,
    data: String,
    kind: String,
    /// The "last event ID buffer", which outlives an event.
    id: String,
    last_event_id: String,
    retry: Option<u64>,
    comments: usize,
    blocks: usize,
}

impl Parser {
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Takes the next bytes and returns what they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let second_of_crlf = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                _ if second_of_crlf => {}
                b'\r' | b'\n' => messages.extend(self.end_of_line()),
                _ => self.line.push(byte),
            }
        }
        messages
    }

    /// What a reconnect would send as `Last-Event-ID`.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last valid `retry:` in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// How many comment lines there were.
    pub fn comments(&self) -> usize {
        self.comments
    }

    /// Whether all that has come is whole lines of which none waits for a blank line.
    pub fn is_between_events(&self) -> bool {
        self.line.is_empty() && self.data.is_empty() && self.kind.is_empty() && self.id == self.last_event_id
    }

    /// How many empty lines there were: ends of blocks, dispatched or not.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    fn end_of_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        let bom_free = if self.begun { &line[..] } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) };
        self.begun = true;
        // No UTF-8 sequence spans a line end, so decoding by line is decoding the stream.
        let text = String::from_utf8_lossy(bom_free);
        if text.is_empty() {
            self.blocks += 1;
            return self.dispatch();
        }
        match text.split_once(':') {
            Some(("", _)) => self.comments += 1,
            Some((name, value)) => self.field(name, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(&text, ""),
        }
        None
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => self.retry = value.parse().ok().or(self.retry),
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Message> {
        self.last_event_id.clone_from(&self.id);
        let (mut data, mut event) = (std::mem::take(&mut self.data), std::mem::take(&mut self.kind));
        if data.is_empty() {
            return None;
        }
        data.pop();
        if event.is_empty() {
            "message".clone_into(&mut event);
        }
        Some(Message { id: self.last_event_id.clone(), event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, event: &str, data: &str) -> Message {
        Message { id: id.into(), event: event.into(), data: data.into() }
    }

    /// The whole at once, and byte by byte.
    fn parse(stream: &[u8]) -> (Vec<Message>, Parser) {
        let (mut whole, mut bytewise) = (Parser::new(), Parser::new());
        let messages = whole.feed(stream);
        let by_byte: Vec<_> = stream.iter().flat_map(|b| bytewise.feed(&[*b])).collect();
        assert_eq!(messages, by_byte);
        assert_eq!(whole.last_event_id(), bytewise.last_event_id());
        (messages, whole)
    }

    #[test]
    fn examples_of_the_standard() {
        let (m, p) =
            parse(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n");
        let expected = [message("1", "message", "first event"), message("", "message", "second event")];
        assert_eq!(m, [&expected[..], &[message("", "message", " third event")]].concat());
        assert_eq!((p.comments(), p.blocks()), (1, 4));
        let (m, _) = parse(b"data\n\ndata\ndata\n\ndata:");
        assert_eq!(m, [message("", "message", ""), message("", "message", "\n")]);
        assert_eq!(parse(b"data: YHOO\ndata: +2\ndata: 10\n\n").0, [message("", "message", "YHOO\n+2\n10")]);
    }

    #[test]
    fn line_ends_and_bom() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["\u{feff}event: a", "data: 1", "data: 2", "", "data: 3", "", ""].join(end);
            assert_eq!(parse(stream.as_bytes()).0, [message("", "a", "1\n2"), message("", "message", "3")], "{end:?}");
        }
        assert_eq!(parse(b"\r\n\r\ndata: 1\r\r\ndata: 2\n\r").0.len(), 2);
        // A second BOM is part of the field's name, which is then unknown.
        assert_eq!(parse("\u{feff}\u{feff}data: 1\n\n".as_bytes()).0, []);
        assert_eq!(parse("data: 1\n\u{feff}data: 2\n\n".as_bytes()).0, [message("", "message", "1")]);
    }

    #[test]
    fn ids() {
        let (m, p) = parse(b"id: 7\n\nevent: lost\n\ndata: x\n\nid: 8\0\ndata: y\n\nid: 9\ndata: cut off\n");
        assert_eq!(m, [message("7", "message", "x"), message("7", "message", "y")]);
        assert_eq!(p.last_event_id(), "7");
    }

    #[test]
    fn retry_and_unknown_fields() {
        let (m, p) = parse(b"retry: 100\nretry: 1x\nretry: -5\nretry:\nDATA: x\n data: x\nfoo: bar\nfoo\n\n");
        assert_eq!((m.len(), p.retry()), (0, Some(100)));
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(parse(b"data: a\xff\xe2\x82\ndata: b\n\n").0, [message("", "message", "a\u{fffd}\u{fffd}\nb")]);
    }
}
