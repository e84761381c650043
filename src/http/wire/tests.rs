use super::*;
use crate::cors::Cors;
use crate::courier::memory_socket::{MemoryClient, memory_socket};
use hyper::HeaderMap;
use std::future::pending;
use std::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

const DELAY: Duration = Duration::from_secs(3);
const LINE: &[u8] = b"retry: 3000\n";
/// For whatever must come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn come_back(wire: Wire, end: impl Future<Output = ()>) {
    let cors = Cors::new(&[]).headers_for(&HeaderMap::new());
    let marks = Marks { chunked: true, says_close: true };
    wire.come_back(&cors, marks, LINE.to_vec(), &Clock::default(), end).await;
}

fn memory() -> (Wire, MemoryClient) {
    let (socket, client) = memory_socket(1 << 16);
    (Wire::Memory(socket), client)
}

#[tokio::test(start_paused = true)]
async fn who_is_to_come_back_reads_the_delay_at_once_and_the_end_when_it_comes() {
    let (wire, mut client) = memory();
    let begun = Instant::now();
    tokio::spawn(come_back(wire, sleep(DELAY)));
    let first = client.read(1 << 16).await.expect("an answer");
    assert!(first.ends_with(b"\r\n\r\nc\r\nretry: 3000\n\r\n"), "{:?}", String::from_utf8_lossy(&first));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(client.read(1 << 16).await, None, "no last chunk");
    assert!(begun.elapsed() >= DELAY);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_meanwhile_is_no_end_but_endless_talk_is() {
    let (wire, client) = memory();
    let begun = Instant::now();
    client.send(b"GET /events/b HTTP/1.1\r\nHost: node\r\n\r\n");
    come_back(wire, sleep(DELAY)).await;
    assert!(begun.elapsed() >= DELAY);
    let (wire, client) = memory();
    client.send(&vec![b'x'; UNHEARD_BYTES * UNHEARD_READS]);
    timeout(PATIENCE, come_back(wire, pending())).await.expect("an end");
}

#[tokio::test]
async fn who_hangs_up_is_waited_for_no_longer() {
    let (wire, client) = memory();
    drop(client);
    timeout(PATIENCE, come_back(wire, pending())).await.expect("an end");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
    let (socket, _) = listener.accept().expect("a client");
    socket.set_nonblocking(true).expect("a socket");
    let waiting = tokio::spawn(come_back(Wire::Tcp(ClientSocket::new(socket)), pending()));
    tokio::task::yield_now().await;
    drop(client);
    timeout(PATIENCE, waiting).await.expect("an end").expect("no panic");

    let (answer, answered) = oneshot::channel();
    let streams = IntGauge::new("streams", "Streams.").expect("a name");
    let wire = Wire::Stream(ResponseWriter::new(answer, Cutter::default(), streams.clone()));
    let waiting = tokio::spawn(come_back(wire, pending()));
    let answer = answered.await.expect("an answer");
    assert_eq!(streams.get(), 0, "it is no subscriber's");
    drop(answer);
    timeout(PATIENCE, waiting).await.expect("an end").expect("no panic");
}
