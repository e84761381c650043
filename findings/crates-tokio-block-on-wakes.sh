#!/usr/bin/env bash
# crates.io tokio 1.54.1, a runtime of one thread: a future that is given to `block_on` costs a system call each time that a task wakes it.
# Guess: on a runtime of one thread, what a task wakes is polled next, be it a task or the future that `block_on` waits for.
# Seen: a task's wake of another task costs nothing; a wake of `block_on`'s own future has the driver asked first, by an `epoll_wait`
# that does not wait. A thousand bytes that a task reads and another future answers are 1,000 calls of it where that future
# is spawned, and 2,000 where it is what `block_on` was given.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'E2'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
tokio = { version = "=1.54.1", default-features = false, features = ["rt", "net", "io-util", "sync"] }
[workspace]
E2
cat >src/main.rs <<'E2'
use std::io::{Read, Write};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const ROUNDS: usize = 1_000;

fn main() {
    let spawned = std::env::args().nth(1).as_deref() == Some("spawned");
    let (mut there, here) = std::os::unix::net::UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let peer = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            there.write_all(&[1]).unwrap();
            there.read_exact(&mut [0]).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async move {
        let (mut reads, mut writes) = tokio::net::UnixStream::from_std(here).unwrap().into_split();
        let came = Arc::new(Notify::new());
        let told = came.clone();
        tokio::spawn(async move {
            while reads.read_exact(&mut [0]).await.is_ok() {
                told.notify_one();
            }
        });
        let answers = async move {
            for _ in 0..ROUNDS {
                came.notified().await;
                writes.write_all(&[2]).await.unwrap();
            }
        };
        if spawned {
            tokio::spawn(answers).await.unwrap();
        } else {
            answers.await;
        }
    });
    peer.join().unwrap();
}
E2
timeout 600 cargo build -q
for how in spawned blocked-on; do
  strace -f -c -e trace=epoll_wait -o calls timeout 60 target/debug/probe "$how"
  awk -v how="$how" '$NF == "epoll_wait" { printf "%s: %.0f thousand calls of epoll_wait\n", how, $4 / 1000 }' calls
done | tee seen
diff seen - <<'E2'
spawned: 1 thousand calls of epoll_wait
blocked-on: 2 thousand calls of epoll_wait
E2
