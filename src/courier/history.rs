//! Pages of history, for legs that are behind the tail.

use super::key::SubscriberId;
use super::state::Courier;
use super::subscriber::Route;
use crate::hub::page::Page;
use crate::planted::{self, Fault};
use std::sync::Weak;

impl Courier {
    /// History came for a leg behind the tail; legs may have come and gone since it asked.
    pub fn turn_page(&mut self, id: SubscriberId, here: &Weak<()>, mut page: Page) {
        if planted::is(Fault::PageTurnedTwice) {
            page.frames.extend_from_within(..);
        }
        if !self.subscribers.has(id) {
            return;
        }
        let key = id.key;
        let Some(composed) = self.subscribers.composed_mut(key) else { return };
        let Some(behind) = composed.behind_that_asked(here) else { return };
        behind.take(page);
        if !self.subscribers[key].blocked {
            self.flow(key, None);
        }
    }

    /// Gives back the pages of those whose sockets are full: they cannot use them now, and others could.
    pub fn give_pages_back(&mut self) {
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| subscriber.blocked) {
            let Route::Composed(composed) = &mut subscriber.route else { continue };
            let behind = composed.rest.iter_mut().flat_map(|rest| &mut rest.behind);
            behind.for_each(|(_, behind)| behind.give_back());
        }
    }
}
