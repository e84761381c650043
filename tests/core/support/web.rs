//! A web server of a test's own: answers what it is told to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Runs until the process ends; what is left of it is a thread in `accept`.
pub struct Web {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    status: u16,
    kind: String,
    body: String,
    /// Takes requests, and answers none.
    silent: bool,
    requests: Vec<Asked>,
    held: Vec<TcpStream>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Web {
    pub fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State { status: 200, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                std::thread::spawn(move || {
                    let _ = serve(socket, &state);
                });
            }
        });
        Web { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it answers from now on.
    pub fn answers(&self, status: u16, kind: &str, body: &str) {
        let mut state = self.state.lock().unwrap();
        (state.status, state.kind, state.body, state.silent) = (status, kind.into(), body.into(), false);
    }

    /// From now on it answers nothing.
    pub fn falls_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    pub fn last(&self) -> Asked {
        self.state.lock().unwrap().requests.last().expect("it was asked").clone()
    }
}

fn serve(socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, n)| n.parse().ok());
        std::io::copy(&mut (&mut reader).take(length.unwrap_or(0)), &mut std::io::sink())?;
        let answer = {
            let mut state = state.lock().unwrap();
            state.requests.push(Asked { target, headers });
            if state.silent {
                state.held.push(socket);
                return Ok(());
            }
            let kind = if state.kind.is_empty() { String::new() } else { format!("Content-Type: {}\r\n", state.kind) };
            let State { status, body, .. } = &*state;
            format!("HTTP/1.1 {status} X\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        (&socket).write_all(answer.as_bytes())?;
    }
}
