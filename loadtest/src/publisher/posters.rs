//! Events by `POST`, over many connections with one request at a time on each. A channel has its connection, so that its
//! events keep their order; who is due while that one is busy waits for it, and nothing else does.

use super::stream;
use crate::centrifugo::publication;
use crate::clock;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// Connections: as many requests can be under way.
const CONNECTIONS: usize = 64;
/// Nanoseconds without any answer after which the server counts as stuck.
const LONGEST: u64 = 20_000_000_000;

/// The connections.
pub struct Posters {
    posters: Vec<Poster>,
    target: Target,
}

/// How an event is posted.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// To a path and the channel's name, its data as the body.
    Path(&'static str),
    /// To Centrifugo's API, which has the channel in the body.
    Centrifugo,
}

impl Target {
    fn request(self, channel: &str, data: &[u8]) -> Vec<u8> {
        let (path, body): (String, Cow<'_, [u8]>) = match self {
            Target::Path(path) => (format!("{path}{channel}"), data.into()),
            Target::Centrifugo => ("/api/publish".into(), publication(channel, data).into()),
        };
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

struct Poster {
    stream: TcpStream,
    busy: bool,
    /// Requests whose turn has not come.
    waiting: VecDeque<Vec<u8>>,
    answer: Vec<u8>,
}

impl Posters {
    pub fn open(address: SocketAddr, target: Target) -> Result<Posters> {
        let poster = |_| -> Result<Poster> {
            Ok(Poster { stream: stream(address)?, busy: false, waiting: VecDeque::new(), answer: Vec::new() })
        };
        Ok(Posters { posters: (0..CONNECTIONS).map(poster).collect::<Result<_>>()?, target })
    }

    /// Sends events, or puts them behind others of their connections.
    pub fn send(&mut self, prefix: &str, events: &[(u32, Vec<u8>)]) -> Result<()> {
        self.take_answers(0)?;
        for (channel, data) in events {
            let request = self.target.request(&format!("{prefix}{channel}"), data);
            let poster = &mut self.posters[*channel as usize % CONNECTIONS];
            poster.waiting.push_back(request);
            poster.next()?;
        }
        Ok(())
    }

    /// Lets time pass until a reading of the clock. Answers are looked at meanwhile only if somebody waits for one: each
    /// look takes time from the clients.
    pub fn attend(&mut self, until: u64) -> Result<()> {
        loop {
            let left = until.saturating_sub(clock::now());
            if left == 0 {
                return Ok(());
            }
            if self.posters.iter().all(|poster| poster.waiting.is_empty()) {
                clock::sleep_until(until);
                return Ok(());
            }
            self.take_answers(left)?;
        }
    }

    /// Waits until everything is sent and answered.
    pub fn settle(&mut self) -> Result<()> {
        while self.posters.iter().any(|poster| poster.busy) {
            ensure!(self.take_answers(LONGEST)?, "the server does not answer what is published");
        }
        Ok(())
    }

    /// Takes what is answered, waiting for so many nanoseconds at most; whether anything was.
    fn take_answers(&mut self, nanoseconds: u64) -> Result<bool> {
        let mut busy: Vec<&mut Poster> = self.posters.iter_mut().filter(|poster| poster.busy).collect();
        let mut sockets: Vec<PollFd<'_>> =
            busy.iter().map(|poster| PollFd::new(&poster.stream, PollFlags::IN)).collect();
        let limit =
            Timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as i64 };
        if sockets.is_empty() || retry_on_intr(|| poll(&mut sockets, Some(&limit)))? == 0 {
            return Ok(false);
        }
        let ready: Vec<bool> = sockets.iter().map(|socket| !socket.revents().is_empty()).collect();
        drop(sockets);
        for (poster, _) in busy.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            poster.read()?;
        }
        Ok(true)
    }
}

impl Poster {
    /// Sends the next request, if none is under way.
    fn next(&mut self) -> Result<()> {
        if self.busy {
            return Ok(());
        }
        if let Some(request) = self.waiting.pop_front() {
            self.stream.write_all(&request).context("publishing")?;
            self.busy = true;
        }
        Ok(())
    }

    /// Reads once; with the end of an answer the next request goes out.
    fn read(&mut self) -> Result<()> {
        let mut part = [0; 4096];
        let read = self.stream.read(&mut part)?;
        ensure!(read > 0, "the server closed a publishing connection");
        self.answer.extend_from_slice(&part[..read]);
        if is_accepted(&self.answer)? {
            self.answer.clear();
            self.busy = false;
            self.next()?;
        }
        Ok(())
    }
}

/// Whether a response with a body of known length is whole; fails unless it is a 2xx.
pub fn is_accepted(bytes: &[u8]) -> Result<bool> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(false) };
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(Ok(0), |h| std::str::from_utf8(h.value).unwrap_or("").parse())?;
    match response.code.unwrap_or(0) {
        200..300 => Ok(bytes.len() >= head + length),
        code => bail!("publishing was answered with {code}: {}", String::from_utf8_lossy(&bytes[head..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_answer_is_whole_with_its_body_and_a_refusal_is_an_error() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n17-0";
        assert!((0..answer.len()).all(|cut| !is_accepted(&answer[..cut]).unwrap()));
        assert!(is_accepted(answer).unwrap() && is_accepted(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap());
        assert!(is_accepted(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn a_channel_waits_for_its_own_connection_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut posters = Posters::open(listener.local_addr().unwrap(), Target::Path("/events/")).unwrap();
        let mut sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| listener.accept().unwrap().0).collect();
        posters.send("r1.", &[(0, b"first".to_vec()), (0, b"second".to_vec()), (1, b"other".to_vec())]).unwrap();
        let mut read = |channel: usize| {
            let mut part = [0; 4096];
            sockets[channel].set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            let read = sockets[channel].read(&mut part).unwrap();
            sockets[channel].write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8(part[..read].to_vec()).unwrap()
        };
        assert!(read(1).ends_with("\r\n\r\nother"));
        let first = read(0);
        assert!(first.starts_with("POST /events/r1.0 HTTP/1.1\r\n") && first.ends_with("\r\n\r\nfirst"), "{first}");
        while posters.posters[0].waiting.len() == 1 {
            posters.take_answers(LONGEST).unwrap();
        }
        assert!(read(0).ends_with("\r\n\r\nsecond"));
        posters.settle().unwrap();
    }
}
