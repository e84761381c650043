//! Parts of a composed subscriber's body that nobody else gets: `id:` lines with its positions, comments.

use super::subscriber::{Composed, Rest};
use crate::cursor::{Place, name_hash, write_changed, write_cursor, write_position};
use crate::gzip::Gzip;
use crate::planted::{self, Fault};

/// A comment. Behind it is no blank line, which some clients take for an event.
const BEAT: &[u8] = b":\n";

impl Composed {
    /// The `id:` line of where all legs are, and of where it stands in channels whose legs are still to come.
    pub fn write_id(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"id: ");
        match self.terms.ids {
            None => self.legs.iter().for_each(|leg| write_position(into, leg.position)),
            Some(form) => {
                let places = self.legs.iter().map(|leg| Place {
                    channel: &leg.feed.channel,
                    hash: leg.feed.hash,
                    at: leg.position,
                });
                let owed = self.ticket().filter(|_| !planted::is(Fault::HeldForgotten));
                let owed = owed.map_or(&[][..], |ticket| &ticket.owed);
                let late = owed.iter().map(|(channel, at)| Place { channel, hash: name_hash(channel), at: *at });
                match self.changed() {
                    Some(changed) => write_changed(into, form, places.chain(late), &changed.changes),
                    None => write_cursor(into, form, places.chain(late)),
                }
            }
        }
        into.push(b'\n');
    }

    /// The `id:` line as a part of the body, compressed where the body is.
    pub fn write_own_id(&mut self, into: &mut Vec<u8>) {
        let mark = self.gzip().map(|_| Gzip::room(into));
        self.write_id(into);
        if let (Some(mark), Some(gzip)) = (mark, gzip_of(&mut self.rest)) {
            gzip.stored_from(mark, into);
        }
    }

    /// Writes a comment, or the id that a filter's skips have advanced to, which counts from its blank line on; or the `event` that a
    /// heartbeat is, behind such an id.
    pub fn write_beat(&mut self, event: Option<&str>, into: &mut Vec<u8>) {
        let skipped = std::mem::take(&mut self.skipped);
        if skipped {
            self.write_own_id(into);
        }
        let rest = if skipped { b"\n" } else { BEAT };
        self.write_own(event.map_or(rest, str::as_bytes), into);
    }

    /// Writes a part of the body that nobody else gets, compressed where the body is.
    pub fn write_own(&mut self, plain: &[u8], into: &mut Vec<u8>) {
        match gzip_of(&mut self.rest) {
            None => into.extend_from_slice(plain),
            Some(gzip) => gzip.stored(plain, into),
        }
    }
}

fn gzip_of(rest: &mut Option<Box<Rest>>) -> Option<&mut Gzip> {
    rest.as_mut()?.gzip.as_mut()
}
