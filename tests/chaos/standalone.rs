//! Faults of one redis-server that nodes and publisher reach without anything between.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::publisher::{CHANNELS, Servers, key};
use crate::support::redis::Redis;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const LONG: Duration = Duration::from_secs(5);

/// Opens an arena on a server, does the rest, judges.
fn on(redis: Redis, case: Case, body: impl FnOnce(&mut Arena, &Redis)) {
    let turn = turn();
    let redis = Arc::new(redis);
    let port = redis.port();
    let mut arena = Arena::open(case, turn, runtime(), vec![redis.url(); NODES], Servers::one(port));
    body(&mut arena, &redis);
    arena.close(|_| BTreeSet::new());
}

/// A server that keeps what it acknowledged.
fn durable() -> Redis {
    Redis::start_persistent()
}

/// Waits for a part of an outage: this is the fault, not a wait for something.
fn last(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn redis_killed_and_restarted_with_its_data() {
    on(durable(), Case::exact("SIGKILL of Redis, restart with AOF"), |arena, redis| {
        for away in [Duration::ZERO, 4 * SECOND] {
            let fault = Instant::now();
            redis.stop();
            if away > Duration::ZERO {
                arena.expect_down(fault);
                arena.add_late_clients();
                last(away.saturating_sub(fault.elapsed()));
            }
            redis.run();
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

#[test]
fn redis_killed_and_restarted_empty() {
    on(Redis::start(), Case::lossy("SIGKILL of Redis, restart empty", &["missing", "reset"]), |arena, redis| {
        for away in [Duration::ZERO, 2 * SECOND] {
            redis.stop();
            last(away);
            redis.run();
            arena.healed(Instant::now());
        }
    });
}

#[test]
fn redis_frozen() {
    on(durable(), Case::exact("SIGSTOP of Redis for 5 s"), |arena, redis| {
        let fault = Instant::now();
        redis.freeze();
        arena.expect_down(fault);
        arena.add_late_clients();
        last(LONG.saturating_sub(fault.elapsed()));
        redis.thaw();
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
    });
}

#[test]
fn connections_killed() {
    on(durable(), Case::exact("CLIENT KILL of all connections"), |arena, redis| {
        for kind in ["normal", "normal", "pubsub", "normal"] {
            redis.command(&["CLIENT", "KILL", "TYPE", kind]);
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

#[test]
fn clients_paused() {
    on(durable(), Case::exact("CLIENT PAUSE for 4 s"), |arena, redis| {
        let fault = Instant::now();
        redis.command(&["CLIENT", "PAUSE", "4000"]);
        arena.expect_down(fault);
        arena.add_late_clients();
        last((4 * SECOND).saturating_sub(fault.elapsed()));
        let healed = Instant::now();
        arena.healed(healed);
        arena.expect_up(healed);
        redis.command(&["CLIENT", "PAUSE", "1500", "WRITE"]);
        last(Duration::from_millis(1_500));
        arena.healed(Instant::now());
    });
}

#[test]
fn everything_flushed() {
    on(Redis::start(), Case::lossy("FLUSHALL", &["missing", "reset"]), |arena, redis| {
        for _ in 0..4 {
            redis.command(&["FLUSHALL"]);
            arena.healed(Instant::now());
        }
    });
}

#[test]
fn streams_deleted_and_made_anew() {
    on(Redis::start(), Case::lossy("DEL of a stream, made anew", &["missing", "reset"]), |arena, redis| {
        for round in 0..6 {
            let key = key(round % CHANNELS);
            if round % 2 == 0 {
                redis.command(&["DEL", &key]);
            } else {
                // Never a moment without the key, so that no read can find it missing.
                let anew: [&[&str]; 4] =
                    [&["MULTI"], &["DEL", &key], &["XGROUP", "CREATE", &key, "g", "0", "MKSTREAM"], &["EXEC"]];
                redis.pipeline(&anew);
            }
            arena.healed(Instant::now());
        }
    });
}

#[test]
fn history_trimmed_under_readers() {
    on(Redis::start(), Case::lossy("XTRIM under readers", &["trimmed"]), |arena, redis| {
        for round in 0..120 {
            last(Duration::from_millis(20));
            let keep = arena.rng.usize(0..3).to_string();
            let key = key(arena.rng.usize(0..CHANNELS));
            if round % 8 == 0 {
                arena.storm();
            }
            redis.command(&["XTRIM", &key, "MAXLEN", &keep]);
            if round % 30 == 29 {
                arena.healed(Instant::now());
            }
        }
    });
}

#[test]
fn ids_set_forward() {
    on(Redis::start(), Case::exact("XSETID forward"), |arena, redis| {
        for round in 0..4 {
            let key = key(round);
            let ahead = now_ms() + 60_000;
            redis.command(&["XSETID", &key, &format!("{ahead}-0")]);
            arena.healed(Instant::now());
            arena.storm();
            arena.healed(Instant::now());
        }
    });
}

#[test]
fn ids_set_back() {
    let case = Case::lossy("XTRIM to nothing and XSETID back", &["trimmed", "reset", "missing"]);
    on(Redis::start(), case, |arena, redis| {
        for round in 0..4 {
            let key = key(round);
            let back = format!("{}-0", now_ms() - 600_000);
            let commands: [&[&str]; 4] =
                [&["MULTI"], &["XTRIM", &key, "MAXLEN", "0"], &["XSETID", &key, &back], &["EXEC"]];
            redis.pipeline(&commands);
            arena.healed(Instant::now());
            arena.storm();
            arena.healed(Instant::now());
        }
    });
}

#[test]
fn an_older_snapshot_restored() {
    on(Redis::start(), Case::lossy("restore of an older RDB", &["reset", "missing"]), |arena, redis| {
        for _ in 0..2 {
            redis.command(&["SAVE"]);
            arena.healed(Instant::now());
            arena.healed(Instant::now());
            redis.restart();
            arena.healed(Instant::now());
        }
    });
}

#[test]
fn large_entries() {
    // Fewer events come, so more time goes by until the next one.
    let case = Case { bound: 3 * SECOND, ..Case::exact("entries of 1 MiB, reconnects") };
    on(Redis::start(), case, |arena, redis| {
        arena.publisher.pad(1 << 20);
        last(2 * SECOND);
        arena.healed(Instant::now());
        arena.storm();
        arena.healed(Instant::now());
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        last(2 * SECOND);
        arena.publisher.pad(0);
        arena.healed(Instant::now());
    });
}

#[test]
fn memory_full() {
    on(Redis::start(), Case::exact("maxmemory reached, noeviction"), |arena, redis| {
        for _ in 0..2 {
            redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
            arena.storm();
            last(3 * SECOND);
            arena.add_late_clients();
            redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
            let healed = Instant::now();
            arena.healed(healed);
            arena.expect_up(healed);
        }
    });
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}
