//! Steps that make a stream's life hard to tell from another, and entries that are gone before anybody has read them.

use super::chance::Draw;
use super::truth::{Gone, How};
use super::world::{World, fields};
use fantail::position::Position;
use fastrand::Rng;

/// Between two ids of a stream that is filled again, in milliseconds.
const APART: u64 = 10;

impl World {
    /// A stream that is not there begins with entries whose ids lie around the newest that the channel had.
    pub fn refill(&self, channel: usize, count: usize) {
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        let Some(newest) = history.records.last().map(|record| record.id) else { return };
        if self.redis.last(&history.name) != Position::ZERO {
            return;
        }
        let first = newest.ms.saturating_sub(count as u64 / 2 * APART);
        for index in 0..count {
            let id = Position::new(first + index as u64 * APART, history.life);
            if self.redis.add(&history.name, Some(id), fields(channel, history.records.len(), b'a', 10)) {
                history.add(id, b'a', at);
            }
        }
    }

    /// What a stream holds is replaced by other entries of the same ids.
    pub fn rewrite(&self, channel: usize) {
        let at = self.at();
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        let (ids, number) = (self.redis.held(&history.name), history.records.len());
        let entry = |(index, id): (usize, &Position)| (*id, fields(channel, number + index, b'a', 10));
        let entries = ids.iter().enumerate().map(entry).collect();
        if !ids.is_empty() && self.redis.replace(&history.name, entries) {
            history.end_life(at, history.behind_ms);
            for id in ids {
                history.add(id, b'a', at);
            }
        }
    }

    /// Some entries come and go at once, before one that stays or behind it.
    pub fn fleeting(&self, channel: usize, count: usize, rng: &mut Rng) {
        let before = self.truth.lock().expect("nobody panics").channels[channel].records.len();
        if rng.once_in(3) {
            self.publish(channel, b'a', 10);
        }
        (0..count).for_each(|_| self.publish(channel, b'a', 10));
        let at = self.at();
        {
            let mut truth = self.truth.lock().expect("nobody panics");
            let history = &mut truth.channels[channel];
            let from = history.records.len().saturating_sub(count).max(before);
            let ids: Vec<Position> = history.records[from..].iter().map(|record| record.id).collect();
            for id in ids {
                let held = self.redis.held(&history.name).len();
                self.redis.delete(&history.name, id);
                if self.redis.held(&history.name).len() < held {
                    history.lose(id, Gone { at, how: How::Deleted });
                }
            }
        }
        if rng.bool() {
            self.publish(channel, b'a', 10);
        }
    }
}
