//! A value that others wait on: tokio's `watch`, but that those who wait are woken in the order in which they came. tokio wakes
//! them in a random order, which no simulation can repeat.

use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// Everybody who could change the value has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody changes the value any more")]
pub struct Closed;

/// Changes the value. Clones change the same one.
#[derive(Clone)]
pub struct Sender<T> {
    /// `None` while it is dropped.
    value: Option<watch::Sender<T>>,
    bell: Arc<Notify>,
}

/// Sees the value, and waits until it changes.
#[derive(Clone)]
pub struct Receiver<T> {
    value: watch::Receiver<T>,
    bell: Arc<Notify>,
}

impl<T> Sender<T> {
    pub fn new(value: T) -> Sender<T> {
        Sender { value: Some(watch::Sender::new(value)), bell: Arc::default() }
    }

    fn value(&self) -> &watch::Sender<T> {
        self.value.as_ref().expect("there until it is dropped")
    }

    /// The value, locked: whoever changes it waits while it is borrowed.
    pub fn borrow(&self) -> watch::Ref<'_, T> {
        self.value().borrow()
    }

    /// Somebody who sees the value from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { value: self.value().subscribe(), bell: self.bell.clone() }
    }

    /// Takes another value, and wakes all who wait; the one before.
    pub fn send_replace(&self, value: T) -> T {
        let before = self.value().send_replace(value);
        self.bell.notify_waiters();
        before
    }

    /// Changes the value, and wakes all who wait.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.value().send_modify(change);
        self.bell.notify_waiters();
    }

    /// Changes the value if `change` says that it did so, and wakes all who wait; whether it did.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let changed = self.value().send_if_modified(change);
        if changed {
            self.bell.notify_waiters();
        }
        changed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.value = None;
        self.bell.notify_waiters();
    }
}

impl<T> Receiver<T> {
    /// The value, locked: whoever changes it waits while it is borrowed.
    pub fn borrow(&self) -> watch::Ref<'_, T> {
        self.value.borrow()
    }

    /// The value, locked, which then counts as seen.
    pub fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.value.borrow_and_update()
    }

    /// Whether there is a value that was not seen.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        self.value.has_changed().map_err(|_| Closed)
    }

    /// Waits until there is a value that was not seen; it then counts as seen. Cancel safe.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Made first: it hears every change from here on.
            let heard = self.bell.notified();
            if self.has_changed()? {
                self.value.mark_unchanged();
                return Ok(());
            }
            heard.await;
        }
    }
}

impl<T: Clone> Receiver<T> {
    /// Waits for a value of that kind, which then counts as seen. Cancel safe.
    pub async fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<T, Closed> {
        loop {
            {
                let value = self.borrow_and_update();
                if is_it(&value) {
                    return Ok(value.clone());
                }
            }
            self.changed().await?;
        }
    }
}

/// A value, and one who sees it.
#[cfg(feature = "testing")]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[tokio::test]
    async fn all_are_woken_in_the_order_in_which_they_came() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |number: usize| {
            let (mut receiver, order) = (receiver.clone(), order.clone());
            tokio::spawn(async move {
                receiver.changed().await.unwrap();
                order.lock().push(number);
            })
        };
        let waiting: Vec<_> = (0..40).map(wait).collect();
        tokio::task::yield_now().await;
        sender.send_replace(1);
        for one in waiting {
            one.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_end_is_told() {
        let (sender, mut receiver) = channel(0);
        sender.send_replace(1);
        receiver.changed().await.unwrap();
        assert!(!sender.send_if_modified(|_| false));
        sender.send_modify(|value| *value += 1);
        assert_eq!(receiver.wait_for(|value| *value == 2).await, Ok(2));
        let waiting = tokio::spawn(async move { (receiver.changed().await, receiver.wait_for(|v| *v == 3).await) });
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(waiting.await.unwrap(), (Err(Closed), Err(Closed)));
    }
}
