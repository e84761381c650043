//! `fantail tail`: an EventSource for the terminal. Events go to stdout, everything else to stderr.
//!
//! It goes on where EventSource gives up: a node that is full, draining or gone is tried again.

mod connection;
mod event_stream;
mod follower;
mod redirect;
mod settings;
mod show;

pub use settings::Tail;

use super::FAILURE;
use connection::End;
use follower::{Follower, say};
use std::os::fd::AsFd;
use std::process::ExitCode;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;
use tokio::signal::unix::{SignalKind, signal};

/// Prints events until the channels are finished, stdout is closed, or a signal comes.
pub async fn tail(settings: Tail) -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        say("signals cannot be caught");
        return ExitCode::from(FAILURE);
    };
    let follower = match Follower::new(settings) {
        Ok(follower) => follower,
        Err(wrong) => {
            say(&wrong.to_string());
            return ExitCode::from(FAILURE);
        }
    };
    tokio::select! {
        code = follow(follower) => code,
        () = unread() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::SUCCESS,
    }
}

/// Ends when the reader of stdout is gone, events or not; never where that cannot be told, as with a file.
async fn unread() {
    // A copy that is only watched, so that stdout itself stays blocking.
    let copy = std::io::stdout().as_fd().try_clone_to_owned();
    match copy.and_then(Sender::from_owned_fd_unchecked) {
        Ok(stdout) if stdout.ready(Interest::ERROR).await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// Follows from connection to connection.
async fn follow(mut follower: Follower) -> ExitCode {
    loop {
        match follower.connection().await {
            End::Finished => {
                say("finished: the server wants no reconnect");
                return ExitCode::SUCCESS;
            }
            End::Unread => return ExitCode::SUCCESS,
            End::Refused(why) => {
                say(&format!("{}: {why}", follower.url()));
                return ExitCode::from(FAILURE);
            }
            End::Lost { why, opened, retry_after } => {
                let lost = follower.url().to_owned();
                follower.turn = follower.turn.wrapping_add(1);
                follower.failures = if opened { 0 } else { follower.failures + 1 };
                let delay = follower.delay(retry_after);
                let after = match follower.last_event_id.as_str() {
                    "" => String::new(),
                    id => format!(" after {id}"),
                };
                say(&format!("{lost}: {why}; going on at {}{after} in {delay:.1?}", follower.url()));
                tokio::time::sleep(delay).await;
            }
        }
    }
}
