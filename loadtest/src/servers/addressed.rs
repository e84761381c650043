//! Whom a floor sends an event to where subscribers have channels of their own: found by the numbers of channels, in
//! requests and in events.

use crate::payload::Payload;
use std::collections::HashMap;

/// Sockets by the one channel that each has asked for.
#[derive(Default)]
pub struct Addressed {
    sockets: HashMap<u32, Vec<usize>>,
}

impl Addressed {
    pub fn add(&mut self, channel: u32, socket: usize) {
        self.sockets.entry(channel).or_default().push(socket);
    }

    pub fn remove(&mut self, channel: u32, socket: usize) {
        if let Some(sockets) = self.sockets.get_mut(&channel) {
            sockets.retain(|&other| other != socket);
        }
    }

    /// The sockets that an event with this data is for.
    pub fn of(&self, data: &[u8]) -> Vec<usize> {
        let channel = Payload::read(data).map(|payload| payload.channel);
        channel.and_then(|channel| self.sockets.get(&channel)).cloned().unwrap_or_default()
    }
}

/// The channel's number in a request's first line, `GET /events?channels=r1.17 HTTP/1.1`.
pub fn channel_asked(request: &[u8]) -> Option<u32> {
    let line = request.split(|&b| b == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    target.rsplit('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_the_sockets_of_its_channel() {
        let request = b"GET /events?channels=r1.17 HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(channel_asked(request), Some(17));
        assert_eq!(channel_asked(b"GET / HTTP/1.1\r\n\r\n"), None);
        let mut addressed = Addressed::default();
        addressed.add(17, 3);
        addressed.add(17, 4);
        addressed.add(18, 5);
        let mut data = Vec::new();
        Payload { sequence: 1, intended: 2, channel: 17 }.write(&mut data, 60);
        assert_eq!(addressed.of(&data), [3, 4]);
        addressed.remove(17, 3);
        assert_eq!(addressed.of(&data), [4]);
        assert!(addressed.of(b"no event").is_empty());
    }
}
