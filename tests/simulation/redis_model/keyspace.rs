//! Keys with their values and their ends.

use super::reply::WRONG_TYPE;
use super::server::Server;
use super::stream::Stream;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What a key holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Text(Bytes),
    /// Fields with their values, in the order in which they have come, as Redis has them while they are few.
    Hash(Vec<(Bytes, Bytes)>),
    /// A stream.
    Stream(Box<Stream>),
}

impl Value {
    /// The name of its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "string",
            Value::Hash(_) => "hash",
            Value::Stream(_) => "stream",
        }
    }
}

/// A key's value, and when it ends.
#[derive(Clone, Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Its last millisecond since 1970.
    pub expires: Option<u64>,
}

/// The keys of one database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    items: BTreeMap<Bytes, Item>,
    expiries: BTreeSet<(u64, Bytes)>,
}

impl Server {
    /// A key's item, if it is there and has not ended.
    pub(super) fn item(&self, db: usize, key: &[u8]) -> Option<&Item> {
        self.databases[db].items.get(key).filter(|item| item.expires.is_none_or(|at| self.now <= at))
    }

    /// A key's value, to be changed.
    pub(super) fn value_mut(&mut self, db: usize, key: &[u8]) -> Option<&mut Value> {
        self.item(db, key)?;
        self.databases[db].items.get_mut(key).map(|item| &mut item.value)
    }

    /// The stream of a key.
    pub(super) fn stream(&self, db: usize, key: &[u8]) -> Result<Option<&Stream>, String> {
        match self.item(db, key).map(|item| &item.value) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WRONG_TYPE.to_owned()),
        }
    }

    /// The stream of a key, to be changed.
    pub(super) fn stream_mut(&mut self, db: usize, key: &[u8]) -> Result<Option<&mut Stream>, String> {
        match self.value_mut(db, key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WRONG_TYPE.to_owned()),
        }
    }

    /// The stream of a key, which is made if it is not there.
    pub(super) fn stream_made(&mut self, db: usize, key: &Bytes) -> Result<&mut Stream, String> {
        if self.item(db, key).is_none() {
            self.insert(db, key.clone(), Item { value: Value::Stream(Box::default()), expires: None });
        }
        self.stream_mut(db, key)?.ok_or_else(|| WRONG_TYPE.to_owned())
    }

    /// Puts an item in the place of what was there.
    pub(super) fn insert(&mut self, db: usize, key: Bytes, item: Item) {
        self.remove(db, &key);
        let database = &mut self.databases[db];
        database.expiries.extend(item.expires.map(|at| (at, key.clone())));
        database.items.insert(key.clone(), item);
        self.ready.push_back((db, key));
    }

    /// Takes an item away.
    pub(super) fn remove(&mut self, db: usize, key: &[u8]) -> Option<Item> {
        let database = &mut self.databases[db];
        let (key, item) = database.items.remove_entry(key)?;
        if let Some(at) = item.expires {
            database.expiries.remove(&(at, key));
        }
        Some(item)
    }

    /// Sets when a key ends; `None`: never.
    pub(super) fn set_expiry(&mut self, db: usize, key: &Bytes, at: Option<u64>) {
        let database = &mut self.databases[db];
        let Some(item) = database.items.get_mut(key) else { return };
        if let Some(before) = std::mem::replace(&mut item.expires, at) {
            database.expiries.remove(&(before, key.clone()));
        }
        database.expiries.extend(at.map(|at| (at, key.clone())));
    }

    /// Removes all keys of a database.
    pub(super) fn clear(&mut self, db: usize) {
        self.databases[db] = Database::default();
    }

    /// Keys of a database, ascending.
    pub(super) fn keys(&self, db: usize) -> impl Iterator<Item = &Bytes> {
        let items = self.databases[db].items.iter();
        items.filter(|(_, item)| item.expires.is_none_or(|at| self.now <= at)).map(|(key, _)| key)
    }

    /// The next moment after which a key is gone. A replica is told by its primary.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let first = |database: &Database| database.expiries.first().map(|(at, _)| *at);
        self.databases.iter().filter_map(first).min().filter(|_| self.identity.is_primary())
    }

    /// Removes what has ended.
    pub(super) fn expire(&mut self) {
        while self.next_expiry().is_some_and(|at| at < self.now) {
            for db in 0..self.databases.len() {
                while let Some((_, key)) = self.databases[db].expiries.first().filter(|(at, _)| *at < self.now).cloned()
                {
                    self.remove(db, &key);
                    self.modified(&key);
                    self.write_down_removal(db, &key);
                }
            }
        }
    }
}
