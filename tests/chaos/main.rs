//! Chaos: real servers, nodes and clients, something broken on purpose, and a checker that knows what each client must
//! have got.
//!
//! Each case starts redis-server and three nodes, lets a publisher write numbered events and clients follow them, breaks
//! something (`standalone`, `overload`, `network`, `namespace`, `nodes`, `mixed`, `sentinel`, `cluster`, `shards`, `replica`), heals it, and checks three things: what every client got, by number and
//! by id (`checker`); how long it took until everybody got something again; what the nodes said of themselves
//! meanwhile (`health`). `tamper` tests the checker. `RESULTS.md` keeps the table of one run.
//!
//! `FANTAIL_TEST_SEED` repeats the random choices of a run, `FANTAIL_CHAOS_RESULTS=1` writes `RESULTS.md`,
//! `FANTAIL_CHAOS_READ=replica` has nodes read from replicas in all cases of Sentinel and Cluster.

mod arena;
mod checker;
mod cluster;
mod health;
mod load;
mod mixed;
mod namespace;
mod network;
mod nodes;
mod overload;
mod proxy;
mod publisher;
mod replica;
mod sentinel;
mod shards;
mod stall;
mod standalone;
mod subscriber;
#[path = "../core/support/mod.rs"]
mod support;
mod table;
mod tamper;
