//! Reading an event stream as EventSource does: WHATWG HTML, sections 9.2.5 and 9.2.6. Pure.

/// Bytes that one event may need here at most; a node's own limit is lower.
const EVENT_BYTES_MAX: usize = 80 << 20;

/// One event, as EventSource would dispatch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The last event id when it was dispatched, which may come from an earlier block.
    pub id: String,
    pub kind: String,
    pub data: String,
}

/// An event of more than [`EVENT_BYTES_MAX`] bytes, or bytes that are no event stream at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub struct TooLarge;

/// A parser that takes a stream in pieces of any size. One per connection.
#[derive(Debug)]
pub struct EventStream {
    line: Vec<u8>,
    /// The last byte was CR: LF after it belongs to it.
    after_cr: bool,
    first_line: bool,
    kind: String,
    data: String,
    id: String,
    last_event_id: String,
    retry_ms: Option<u64>,
    /// A line of this block is neither `retry:` nor a comment.
    says_more: bool,
    dismissed: bool,
}

impl EventStream {
    /// Begins a connection that resumes after `last_event_id`; empty where it does not resume.
    pub fn new(last_event_id: &str) -> EventStream {
        EventStream {
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            kind: String::new(),
            data: String::new(),
            id: last_event_id.to_owned(),
            last_event_id: last_event_id.to_owned(),
            retry_ms: None,
            says_more: false,
            dismissed: false,
        }
    }

    /// What a reconnect sends as `Last-Event-ID`.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnect delay that the server asked for last.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Whether a `retry:` between two events came last, by which a node asks to come back. What then breaks off was ended.
    pub fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// Takes the next piece; whole events are added to `events`.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Received>) -> Result<(), TooLarge> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', rest);
            let text = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + self.data.len() + text.len() > EVENT_BYTES_MAX {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(text);
            let Some(end) = end else {
                self.dismissed = false;
                break;
            };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(&line));
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Received> {
        let line = match std::mem::take(&mut self.first_line) {
            true => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        self.says_more |= !line.starts_with("retry:") && !line.starts_with(':');
        self.dismissed = !self.says_more && line.starts_with("retry:");
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry_ms = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
        None
    }

    /// At an empty line. A block without data moves the last event id and nothing else.
    fn dispatch(&mut self) -> Option<Received> {
        self.last_event_id.clone_from(&self.id);
        self.says_more = false;
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        // Ends in the line break of its last line, if there is any line.
        data.pop()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Received { id: self.last_event_id.clone(), kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(id: &str, kind: &str, data: &str) -> Received {
        Received { id: id.into(), kind: kind.into(), data: data.into() }
    }

    /// Whole, and cut at every byte.
    fn events(stream: &[u8]) -> (Vec<Received>, String, Option<u64>) {
        let mut whole = (Vec::new(), EventStream::new(""));
        whole.1.push(stream, &mut whole.0).unwrap();
        let mut cut = (Vec::new(), EventStream::new(""));
        for byte in stream {
            cut.1.push(&[*byte], &mut cut.0).unwrap();
        }
        assert_eq!(whole.0, cut.0);
        assert_eq!(whole.1.last_event_id(), cut.1.last_event_id());
        (whole.0, whole.1.last_event_id().to_owned(), whole.1.retry_ms())
    }

    #[test]
    fn the_examples_of_the_standard() {
        let stock = "data: YHOO\ndata: +2\ndata: 10\n\n";
        assert_eq!(events(stock.as_bytes()).0, [received("", "message", "YHOO\n+2\n10")]);
        let four = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let expected = [
            received("1", "message", "first event"),
            received("", "message", "second event"),
            received("", "message", " third event"),
        ];
        assert_eq!(events(four.as_bytes()).0, expected);
        let three = "data\n\ndata\ndata\n\ndata:";
        assert_eq!(events(three.as_bytes()).0, [received("", "message", ""), received("", "message", "\n")]);
        assert_eq!(
            events(b"data:test\n\ndata: test\n\n").0,
            [received("", "message", "test"), received("", "message", "test")]
        );
    }

    #[test]
    fn line_ends_and_byte_order_mark() {
        for stream in ["\u{feff}data: x\r\n\r\n", "data: x\r\r", "data: x\n\n", "data: x\r\n\n", "data: x\n\r"] {
            assert_eq!(events(stream.as_bytes()).0, [received("", "message", "x")], "{stream:?}");
        }
        assert_eq!(events("data: a\n\n\u{feff}data: b\n\n".as_bytes()).0.len(), 1, "a later mark is part of a name");
    }

    #[test]
    fn a_bare_id_moves_the_last_event_id_and_an_unfinished_block_does_not() {
        let (events, last, retry) =
            events(b"retry: 250\nid: 5-0\n\nretry: 1s\n\nevent: e\ndata: x\n\nid: 6-0\ndata: y\n");
        assert_eq!((events.len(), last.as_str(), retry), (1, "5-0", Some(250)));
        assert_eq!(events[0], received("5-0", "e", "x"));
    }

    #[test]
    fn a_delay_alone_at_the_end_is_the_invitation_to_come_back() {
        let dismissed = |text: &str| {
            let mut stream = EventStream::new("");
            stream.push(text.as_bytes(), &mut Vec::new()).unwrap();
            stream.is_dismissed()
        };
        for text in ["retry: 1\n", "retry: 1\n\n", "data: x\n\nretry: 1\n", ":\nretry: 1\r\n", ":\n\nretry: 1\n\n"] {
            assert!(dismissed(text), "{text:?}");
        }
        for text in [
            "",
            "\n",
            "retry: 1",
            "retry: 1\n:",
            "retry: 1\n:\n",
            "retry: 1\n\n:\n\n",
            "event: x\nretry: 1\n",
            "retry: 1\nid: 1\n\n",
            "retry: 1\n\nid: 1\n\n",
        ] {
            assert!(!dismissed(text), "{text:?}");
        }
    }

    #[test]
    fn an_id_with_nul_is_ignored_and_size_is_bounded() {
        assert_eq!(events(b"id: 1\n\nid: 2\0\ndata: x\n\n").0, [received("1", "message", "x")]);
        let mut stream = EventStream::new("");
        let piece = vec![b'x'; 1 << 20];
        let pushed = (0..81).map(|_| stream.push(&piece, &mut Vec::new())).collect::<Result<Vec<_>, _>>();
        assert_eq!(pushed, Err(TooLarge));
    }
}
