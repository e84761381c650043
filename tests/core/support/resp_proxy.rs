//! Between nodes and their Redis: sees each command with its words, and passes it on, answers it itself, hangs up, or
//! says nothing more. Replies stay in order; pushes are passed on as they come.

pub use super::relay::frame;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

/// What becomes of a command.
pub enum Act {
    Pass,
    /// The server's own answer is this, and Redis does not hear of the command.
    Say(Vec<u8>),
    HangUp,
    /// Nothing is answered on this connection any more.
    FallSilent,
}

/// An error reply.
pub fn error(text: &str) -> Act {
    Act::Say(format!("-{text}\r\n").into_bytes())
}

type Decide = Box<dyn FnMut(&[String]) -> Act + Send>;

/// Listens until the process ends.
pub struct RespProxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    decide: Decide,
    seen: Vec<Vec<String>>,
}

impl RespProxy {
    /// In front of a server on this port; `decide` is given the words of each command, its name in upper case.
    pub fn start(port: u16, decide: impl FnMut(&[String]) -> Act + Send + 'static) -> RespProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State { decide: Box::new(decide), seen: Vec::new() }));
        let proxy = RespProxy { address, state: state.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let state = state.clone();
                std::thread::spawn(move || {
                    let _ = serve(&client, &server, &state);
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                });
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What becomes of commands from now on.
    pub fn decide(&self, decide: impl FnMut(&[String]) -> Act + Send + 'static) {
        self.state.lock().unwrap().decide = Box::new(decide);
    }

    /// How many commands have come that begin with these words.
    pub fn count(&self, words: &[&str]) -> usize {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|seen| seen.iter().zip(words).filter(|(a, b)| a == b).count() == words.len()).count()
    }
}

fn serve(client: &TcpStream, server: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let to_client = Arc::new(Mutex::new(client.try_clone()?));
    let (replies, answered) = mpsc::channel();
    let (from_server, pushes) = (server.try_clone()?, to_client.clone());
    std::thread::spawn(move || {
        let mut reader = BufReader::new(&from_server);
        loop {
            let mut bytes = Vec::new();
            if frame(&mut reader, &mut bytes).is_err() {
                break;
            }
            let gone = match bytes[0] {
                b'>' => pushes.lock().unwrap().write_all(&bytes).is_err(),
                _ => replies.send(bytes).is_err(),
            };
            if gone {
                break;
            }
        }
        let _ = pushes.lock().unwrap().shutdown(Shutdown::Both);
    });
    let mut reader = BufReader::new(client);
    loop {
        let mut bytes = Vec::new();
        frame(&mut reader, &mut bytes)?;
        let words = words(&bytes);
        let act = {
            let mut state = state.lock().unwrap();
            state.seen.push(words.clone());
            (state.decide)(&words)
        };
        let reply = match act {
            Act::Pass => {
                (&mut &*server).write_all(&bytes)?;
                answered.recv().map_err(io::Error::other)?
            }
            Act::Say(reply) => reply,
            Act::HangUp => return Ok(()),
            Act::FallSilent => {
                while reader.read_until(b'\n', &mut Vec::new())? > 0 {}
                return Ok(());
            }
        };
        to_client.lock().unwrap().write_all(&reply)?;
    }
}

/// The words of a command, in an array or on a line; its name, and that of what it does, in upper case.
fn words(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut words: Vec<String> = match bytes[0] {
        b'*' => text.split("\r\n").skip(2).step_by(2).map(str::to_owned).collect(),
        _ => text.split_whitespace().map(str::to_owned).collect(),
    };
    words.iter_mut().take(2).for_each(|word| {
        if !word.contains(':') {
            word.make_ascii_uppercase();
        }
    });
    words
}
