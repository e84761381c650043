//! What a client's frames mean.

use super::connection::{Block, Connection, Event, Phase};
use super::error_code::ErrorCode;
use super::frame::{self, ACK, END_HEADERS, END_STREAM, FrameHead, HEAD_BYTES, Kind, PAYLOAD_BYTES, PREFACE};
use super::head::{self, Head, Lines};
use super::settings::{MOST_WINDOW, initial_window};
use super::streams::{Gone, Stream, widen};
use hyper::{HeaderMap, StatusCode};

/// Bytes of a head as it comes: what its lines may have, and what marks them.
const BLOCK_BYTES: usize = head::HEAD_BYTES + (16 << 10);

/// What frames are read beside.
struct Turn<'a, O> {
    now_ms: u64,
    events: &'a mut Vec<Event<O>>,
}

impl<O: Default> Connection<O> {
    /// Takes bytes of the client, and adds what happened to `events`. An error ends the connection: the client is told by
    /// what is in [`out`](Connection::out), and nothing more of it counts.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64, events: &mut Vec<Event<O>>) -> Result<(), ErrorCode> {
        if self.phase == Phase::Broken {
            return Ok(());
        }
        self.read(bytes, &mut Turn { now_ms, events }).inspect_err(|code| {
            frame::push_go_away(&mut self.out, self.last, *code);
            (self.phase, self.block, self.partial) = (Phase::Broken, None, Vec::new());
        })
    }

    fn read(&mut self, mut bytes: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        if let Phase::Preface(have) = self.phase {
            let due = &PREFACE[usize::from(have)..];
            let length = due.len().min(bytes.len());
            if bytes[..length] != due[..length] {
                return Err(ErrorCode::Protocol);
            }
            bytes = &bytes[length..];
            self.phase = if length < due.len() { Phase::Preface(have + length as u8) } else { Phase::Settings };
        }
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some((head, length)) = whole(bytes)?
            {
                let (frame, rest) = bytes.split_at(length);
                self.frame(head, &frame[HEAD_BYTES..], turn)?;
                bytes = rest;
                continue;
            }
            bytes = self.gather(bytes)?;
            if let Some((head, length)) = whole(&self.partial)? {
                let frame = std::mem::take(&mut self.partial);
                self.frame(head, &frame[HEAD_BYTES..length], turn)?;
            }
        }
        Ok(())
    }

    /// Keeps what is missing of a frame, and no more; what is behind that.
    fn gather<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ErrorCode> {
        let mut bytes = bytes;
        let missing = HEAD_BYTES.saturating_sub(self.partial.len());
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(head);
        bytes = rest;
        if let Some(head) = self.partial.first_chunk() {
            let head = FrameHead::read(head);
            if head.length > PAYLOAD_BYTES {
                return Err(ErrorCode::FrameSize);
            }
            let missing = HEAD_BYTES + head.length - self.partial.len();
            let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
            self.partial.extend_from_slice(piece);
            bytes = rest;
        }
        Ok(bytes)
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        if self.phase == Phase::Settings {
            if head.kind != Kind::Settings || head.has(ACK) {
                return Err(ErrorCode::Protocol);
            }
            self.phase = Phase::Open;
        }
        if is_cheap(head) && !self.budgets.cheap.take(turn.now_ms) {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        if self.block.as_ref().is_some_and(|block| head.kind != Kind::Continuation || head.stream != block.stream) {
            return Err(ErrorCode::Protocol);
        }
        match head.kind {
            Kind::Data => self.data(head, payload, turn),
            Kind::Headers => self.headers(head, payload, turn),
            Kind::Continuation => self.continuation(head, payload, turn),
            Kind::Priority => priority(head, payload),
            Kind::Reset => self.reset_by_client(head, payload, turn),
            Kind::Settings => self.settings(head, payload),
            Kind::PushPromise => Err(ErrorCode::Protocol),
            Kind::Ping => self.ping(head, payload),
            Kind::GoAway if head.stream != 0 => Err(ErrorCode::Protocol),
            Kind::GoAway if head.length < 8 => Err(ErrorCode::FrameSize),
            // Its client opens no more streams; those that there are go on.
            Kind::GoAway | Kind::Other(_) => Ok(()),
            Kind::WindowUpdate => self.window_update(head, payload, turn),
        }
    }

    fn data(&mut self, head: FrameHead, payload: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        self.known(head.stream)?;
        let content = head.content(payload)?;
        let ends = head.has(END_STREAM);
        // Padding and what nobody takes count as well (section 6.9.1).
        self.receive -= payload.len() as i32;
        if self.receive < 0 {
            return Err(ErrorCode::FlowControl);
        }
        let refused = match self.streams.get_mut(head.stream) {
            None => match self.streams.late(head.stream, payload.len()) {
                // What was on its way is passed over. Beyond its window a client pours without end.
                Some(true) => {
                    self.give_back(payload.len());
                    return Ok(());
                }
                Some(false) => return Err(ErrorCode::FlowControl),
                None => Some(ErrorCode::StreamClosed),
            },
            Some(stream) => stream.take_in(payload.len(), content.len(), ends).err(),
        };
        if let Some(code) = refused {
            self.give_back(payload.len());
            return self.refuse(head.stream, code, turn);
        }
        self.taken(head.stream, payload.len() - content.len());
        if ends || !content.is_empty() {
            turn.events.push(Event::Data { stream: head.stream, bytes: content.to_vec(), ends });
        }
        Ok(())
    }

    fn headers(&mut self, head: FrameHead, payload: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        if head.stream.is_multiple_of(2) {
            return Err(ErrorCode::Protocol);
        }
        let content = head.content(payload)?;
        let ends = head.has(END_STREAM);
        if head.has(END_HEADERS) {
            return self.whole_head(head.stream, content, ends, turn);
        }
        self.block = Some(Box::new(Block { stream: head.stream, ends, bytes: content.to_vec() }));
        Ok(())
    }

    fn continuation(&mut self, head: FrameHead, payload: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        let mut block = self.block.take().ok_or(ErrorCode::Protocol)?;
        block.bytes.extend_from_slice(payload);
        if block.bytes.len() > BLOCK_BYTES {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        if head.has(END_HEADERS) {
            return self.whole_head(block.stream, &block.bytes, block.ends, turn);
        }
        self.block = Some(block);
        Ok(())
    }

    /// Reads a head, which must be read whatever becomes of it, since later ones may refer to it.
    fn whole_head(&mut self, id: u32, block: &[u8], ends: bool, turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        let mut lines = Lines::default();
        self.decoder.decode(block, |name, value| lines.push(name, value))?;
        if id <= self.last {
            return self.trailers(id, &lines, ends, turn);
        }
        self.last = id;
        let taken = self.streams.len() as u32 + self.working;
        if self.going || taken >= self.most_streams {
            // Said before anything was done, so that it may be asked again (section 8.7).
            frame::push_reset(&mut self.out, id, ErrorCode::RefusedStream);
            self.streams.remove(id, Gone::Reset);
            return if self.budgets.cheap.take(turn.now_ms) { Ok(()) } else { Err(ErrorCode::EnhanceYourCalm) };
        }
        match lines.end() {
            Head::Request(request, length) => {
                if ends && length.is_some_and(|length| length > 0) {
                    return self.refuse(id, ErrorCode::Protocol, turn);
                }
                turn.events.push(Event::Request { stream: id, request, ends });
                self.open(id, length, ends);
                Ok(())
            }
            Head::Malformed => self.refuse(id, ErrorCode::Protocol, turn),
            Head::TooLarge => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                let block = super::hpack::encode::head(status, &HeaderMap::new());
                frame::push_block(&mut self.out, id, &block, true);
                self.refuse(id, ErrorCode::NoError, turn)
            }
        }
    }

    /// A head on a stream that is there already, or was.
    fn trailers(&mut self, id: u32, lines: &Lines, ends: bool, turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        let code = match self.streams.get_mut(id) {
            None => {
                return match self.streams.gone(id) {
                    Some(Gone::Reset) => Ok(()),
                    Some(Gone::Ended) => Err(ErrorCode::StreamClosed),
                    None => Err(ErrorCode::Protocol),
                };
            }
            Some(stream) if stream.heard => ErrorCode::StreamClosed,
            Some(stream) => match ends && lines.are_trailers() && stream.left.is_none_or(|left| left == 0) {
                true => {
                    stream.heard = true;
                    turn.events.push(Event::Data { stream: id, bytes: Vec::new(), ends: true });
                    return Ok(());
                }
                false => ErrorCode::Protocol,
            },
        };
        self.refuse(id, code, turn)
    }

    fn reset_by_client(&mut self, head: FrameHead, payload: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        self.known(head.stream)?;
        if payload.len() != 4 {
            return Err(ErrorCode::FrameSize);
        }
        let Some(stream) = self.streams.remove(head.stream, Gone::Ended) else { return Ok(()) };
        turn.events.push(Event::Gone { stream: stream.id, owner: stream.owner });
        match stream.answered || self.budgets.rapid.take(turn.now_ms) {
            true => Ok(()),
            false => Err(ErrorCode::EnhanceYourCalm),
        }
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), ErrorCode> {
        if head.stream != 0 {
            return Err(ErrorCode::Protocol);
        }
        if head.has(ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(ErrorCode::FrameSize) };
        }
        if let Some(window) = initial_window(payload)? {
            if !self.streams.shift(i64::from(window) - i64::from(self.first_window)) {
                return Err(ErrorCode::FlowControl);
            }
            self.first_window = window;
        }
        frame::push(&mut self.out, Kind::Settings, ACK, 0, &[]);
        Ok(())
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), ErrorCode> {
        if head.stream != 0 {
            return Err(ErrorCode::Protocol);
        }
        if payload.len() != 8 {
            return Err(ErrorCode::FrameSize);
        }
        if !head.has(ACK) {
            frame::push(&mut self.out, Kind::Ping, ACK, 0, payload);
        }
        Ok(())
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8], turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        let by = u32::from_be_bytes(payload.try_into().map_err(|_| ErrorCode::FrameSize)?);
        let by = i64::from(by) & MOST_WINDOW;
        if head.stream == 0 {
            return match by {
                0 => Err(ErrorCode::Protocol),
                by if widen(&mut self.streams.send, by) => Ok(()),
                _ => Err(ErrorCode::FlowControl),
            };
        }
        self.known(head.stream)?;
        let Some(stream) = self.streams.get_mut(head.stream) else { return Ok(()) };
        match by {
            0 => self.refuse(head.stream, ErrorCode::Protocol, turn),
            by if widen(&mut stream.send, by) => Ok(()),
            _ => self.refuse(head.stream, ErrorCode::FlowControl, turn),
        }
    }

    /// A stream that the client has opened before.
    fn known(&self, stream: u32) -> Result<(), ErrorCode> {
        match stream != 0 && stream <= self.last {
            true => Ok(()),
            false => Err(ErrorCode::Protocol),
        }
    }

    /// Ends a stream by an error of the client's.
    fn refuse(&mut self, stream: u32, code: ErrorCode, turn: &mut Turn<'_, O>) -> Result<(), ErrorCode> {
        frame::push_reset(&mut self.out, stream, code);
        if let Some(stream) = self.streams.remove(stream, Gone::Reset) {
            turn.events.push(Event::Gone { stream: stream.id, owner: stream.owner });
        }
        match self.budgets.errors.take(turn.now_ms) {
            true => Ok(()),
            false => Err(ErrorCode::EnhanceYourCalm),
        }
    }
}

impl<O> Stream<O> {
    /// A piece of a body comes, which takes so many bytes on its way, and has so many.
    fn take_in(&mut self, counts: usize, bytes: usize, ends: bool) -> Result<(), ErrorCode> {
        if self.heard {
            return Err(ErrorCode::StreamClosed);
        }
        self.receive -= counts as i32;
        if self.receive < 0 {
            return Err(ErrorCode::FlowControl);
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes as u64).ok_or(ErrorCode::Protocol)?;
            if ends && *left > 0 {
                return Err(ErrorCode::Protocol);
            }
        }
        self.heard = ends;
        Ok(())
    }
}

/// The head of a whole frame at the beginning, and its length.
fn whole(bytes: &[u8]) -> Result<Option<(FrameHead, usize)>, ErrorCode> {
    let Some(head) = bytes.first_chunk() else { return Ok(None) };
    let head = FrameHead::read(head);
    if head.length > PAYLOAD_BYTES {
        return Err(ErrorCode::FrameSize);
    }
    let length = HEAD_BYTES + head.length;
    Ok((bytes.len() >= length).then_some((head, length)))
}

fn is_cheap(head: FrameHead) -> bool {
    match head.kind {
        Kind::Headers | Kind::Reset | Kind::WindowUpdate => false,
        Kind::Data => head.length == 0,
        _ => true,
    }
}

fn priority(head: FrameHead, payload: &[u8]) -> Result<(), ErrorCode> {
    let priority = payload.try_into().map_err(|_| ErrorCode::FrameSize)?;
    match head.stream == 0 || frame::depends_on(&priority) == head.stream {
        true => Err(ErrorCode::Protocol),
        false => Ok(()),
    }
}
