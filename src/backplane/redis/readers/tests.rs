//! Connections that idle, against a server that falls silent.

use super::*;
use crate::backplane::redis::Settings;
use crate::backplane::redis::connection::IDLE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_millis(300);

/// A server that answers each connection in one way; of the first one, the first command alone. How many have come.
async fn server() -> (Arc<Target>, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (come, count) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            come.send_modify(|count| *count += 1);
            let mut left = if *come.borrow() == 1 { 1 } else { usize::MAX };
            tokio::spawn(async move {
                let mut buffer = [0; 512];
                while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if left > 0 {
                        left -= 1;
                        client.write_all(b"+PONG\r\n").await.unwrap();
                    }
                }
            });
        }
    });
    (Arc::new(Target::new(Settings::new(&url).address().unwrap().fixed())), count)
}

async fn call(readers: &Arc<Readers>) {
    let mut loan = readers.take().await.unwrap();
    loan.ask(&Request::of([["PING"]])).await.unwrap();
    loan.connection().unwrap().reply(Taken::Skimmed).await.unwrap();
    loan.give_back();
}

#[tokio::test]
async fn what_leads_nowhere_any_more_is_replaced_before_it_is_needed() {
    let (target, come) = server().await;
    let readers = Arc::new(Readers::new(target.clone(), Arc::default(), PATIENCE, 4));
    call(&readers).await;
    readers.look(IDLE).await;
    assert_eq!(*come.borrow(), 1, "it has not idled");
    readers.look(Duration::ZERO).await;
    assert_eq!((*come.borrow(), readers.state.lock().idle.len()), (2, 1), "another one is there");
    call(&readers).await;
    readers.look(Duration::ZERO).await;
    call(&readers).await;
    assert_eq!(*come.borrow(), 2, "it is kept");
    // What there is of room is for the live connection.
    readers.leave();
    target.reserve(true);
    assert!(readers.take().await.is_err());
    target.reserve(false);
    call(&readers).await;
    assert_eq!(*come.borrow(), 3);
}
