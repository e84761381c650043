//! Feeds the floor from Redis with as little as it takes: a push says that a stream has something new, one `XREAD`
//! fetches it. Between the floor and the node, it shows how much of an event's way is Redis' and the machine's.

use crate::redis::encode;
use anyhow::{Result, bail, ensure};
use mio::net::TcpStream;
use redis_protocol::resp3::decode::complete::decode;
use redis_protocol::resp3::types::OwnedFrame;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

/// A connection that follows all streams of the prefix.
pub struct RedisFeed {
    pub stream: TcpStream,
    unread: Vec<u8>,
    /// The last id that was read of each stream.
    last: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Streams with something new; the first is being read.
    changed: VecDeque<Vec<u8>>,
}

impl RedisFeed {
    pub fn open(address: SocketAddr) -> Result<RedisFeed> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut bytes = Vec::new();
        encode(&mut bytes, &[b"HELLO", b"3"]);
        encode(&mut bytes, &[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"sse:"]);
        stream.write_all(&bytes)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(RedisFeed { stream, unread: Vec::new(), last: BTreeMap::new(), changed: VecDeque::new() })
    }

    /// Reads until nothing is left; data of new events, oldest first.
    pub fn take(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut part = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => bail!("Redis closed the connection"),
                Ok(read) => self.unread.extend_from_slice(&part[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut events = Vec::new();
        let mut used = 0;
        while let Some((frame, length)) = decode(&self.unread[used..])? {
            used += length;
            self.understand(frame, &mut events)?;
        }
        self.unread.drain(..used);
        Ok(events)
    }

    fn understand(&mut self, frame: OwnedFrame, events: &mut Vec<Vec<u8>>) -> Result<()> {
        match frame {
            OwnedFrame::Push { data, .. } => {
                for key in data.iter().flat_map(list).filter_map(text) {
                    let waiting = self.changed.iter().skip(1).any(|other| other == key);
                    if !waiting {
                        self.changed.push_back(key.to_vec());
                        if self.changed.len() == 1 {
                            self.ask()?;
                        }
                    }
                }
            }
            OwnedFrame::SimpleError { data, .. } => bail!("Redis: {data}"),
            // Of XREAD; the others are HELLO's, which comes before anything was asked for.
            reply if !self.changed.is_empty() => {
                let key = self.changed.pop_front().unwrap_or_default();
                if let OwnedFrame::Map { data, .. } = &reply {
                    for entry in data.values().flat_map(list) {
                        let [id, fields] = list(entry) else { bail!("an entry without fields") };
                        self.last.insert(key.clone(), text(id).unwrap_or_default().to_vec());
                        events.extend(list(fields).get(1).and_then(text).map(<[u8]>::to_vec));
                    }
                }
                if !self.changed.is_empty() {
                    self.ask()?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the first of the changed streams.
    fn ask(&mut self) -> Result<()> {
        let key = &self.changed[0];
        let after = self.last.get(key).map_or(&b"0"[..], Vec::as_slice);
        let mut bytes = Vec::new();
        encode(&mut bytes, &[b"XREAD", b"COUNT", b"1000", b"STREAMS", key, after]);
        let sent = self.stream.write(&bytes)?;
        ensure!(sent == bytes.len(), "Redis does not read");
        Ok(())
    }
}

fn list(frame: &OwnedFrame) -> &[OwnedFrame] {
    match frame {
        OwnedFrame::Array { data, .. } => data,
        _ => &[],
    }
}

fn text(frame: &OwnedFrame) -> Option<&[u8]> {
    match frame {
        OwnedFrame::BlobString { data, .. } => Some(data),
        _ => None,
    }
}
