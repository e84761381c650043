//! Feeds the floor from Redis with as little as it takes: a push says that a stream has something new, one `XREAD`
//! fetches it, and of all streams that changed while the one before it was under way. Between the floor and the node, it shows how much of an event's way is Redis' and the machine's.

use crate::redis::encode;
use anyhow::{Result, bail, ensure};
use mio::net::TcpStream;
use redis_protocol::resp3::decode::complete::decode;
use redis_protocol::resp3::types::OwnedFrame;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

/// Reads from Redis until nothing is left for now.
pub fn read_all(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Result<()> {
    let mut part = [0; 64 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => bail!("Redis closed the connection"),
            Ok(read) => unread.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A connection that follows all streams of the prefix.
pub struct RedisFeed {
    pub stream: TcpStream,
    unread: Vec<u8>,
    /// The last id that was read of each stream.
    last: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Streams with something new.
    changed: BTreeSet<Vec<u8>>,
    /// Whether streams are being read.
    asked: bool,
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
        Ok(RedisFeed { stream, unread: Vec::new(), last: BTreeMap::new(), changed: BTreeSet::new(), asked: false })
    }

    /// Reads until nothing is left; data of new events, oldest first.
    pub fn take(&mut self) -> Result<Vec<Vec<u8>>> {
        read_all(&mut self.stream, &mut self.unread)?;
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
                self.changed.extend(data.iter().flat_map(list).filter_map(text).map(<[u8]>::to_vec));
                self.ask()?;
            }
            OwnedFrame::SimpleError { data, .. } => bail!("Redis: {data}"),
            // Of XREAD; the others are HELLO's, which comes before anything was asked for.
            reply if self.asked => {
                self.asked = false;
                if let OwnedFrame::Map { data, .. } = &reply {
                    for (key, entries) in data {
                        self.take_entries(text(key).unwrap_or_default(), list(entries), events)?;
                    }
                }
                self.ask()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_entries(&mut self, key: &[u8], entries: &[OwnedFrame], events: &mut Vec<Vec<u8>>) -> Result<()> {
        for entry in entries {
            let [id, fields] = list(entry) else { bail!("an entry without fields") };
            self.last.insert(key.to_vec(), text(id).unwrap_or_default().to_vec());
            events.extend(list(fields).get(1).and_then(text).map(<[u8]>::to_vec));
        }
        Ok(())
    }

    /// Reads the changed streams, unless some are being read.
    fn ask(&mut self) -> Result<()> {
        if self.asked || self.changed.is_empty() {
            return Ok(());
        }
        let keys: Vec<Vec<u8>> = std::mem::take(&mut self.changed).into_iter().collect();
        let after = keys.iter().map(|key| self.last.get(key).map_or(&b"0"[..], Vec::as_slice));
        let fixed: [&[u8]; 4] = [b"XREAD", b"COUNT", b"1000", b"STREAMS"];
        let parts: Vec<&[u8]> = fixed.into_iter().chain(keys.iter().map(Vec::as_slice)).chain(after).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, &parts);
        let sent = self.stream.write(&bytes)?;
        ensure!(sent == bytes.len(), "Redis does not read");
        self.asked = true;
        Ok(())
    }
}

fn list(frame: &OwnedFrame) -> &[OwnedFrame] {
    match frame {
        OwnedFrame::Array { data, .. } => data,
        _ => &[],
    }
}

pub fn text(frame: &OwnedFrame) -> Option<&[u8]> {
    match frame {
        OwnedFrame::BlobString { data, .. } => Some(data),
        _ => None,
    }
}
