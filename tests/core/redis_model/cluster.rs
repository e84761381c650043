//! Servers of a Cluster: who is sent elsewhere, and by which words, while a slot moves.

use super::both::now_ms;
use super::frames::Frame;
use super::line::Line;
use super::played::cluster::{Member, Peer, slot};
use super::played::{Role, Server, Version};
use crate::support::node::eventually;
use crate::support::redis::Redis;
use crate::support::topology::Cluster;
use bytes::Bytes;

/// Connections to each server.
const LINES: usize = 2;

/// Servers of a real Cluster, each with a played one that knows what it does.
struct Both {
    real: Cluster,
    played: Vec<Server>,
    lines: Vec<Vec<Line>>,
    history: Vec<String>,
}

fn number(frame: &Frame) -> usize {
    match frame {
        Frame::Line(b':', number) => number.parse().expect("a number"),
        other => panic!("no number: {other:?}"),
    }
}

fn text(frame: &Frame) -> String {
    match frame {
        Frame::Text(_, text) => String::from_utf8_lossy(text).into_owned(),
        Frame::Line(_, text) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}

fn list(frame: &Frame) -> &[Frame] {
    match frame {
        Frame::List(_, list) => list,
        other => panic!("no list: {other:?}"),
    }
}

fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

impl Both {
    /// Three primaries, and a replica of each.
    fn start() -> Both {
        let mut both = Both::of(Cluster::start_with(3, 1));
        eventually("all know of all replicas", || {
            let of = |at| both.only_real(at, &["CLUSTER", "SLOTS"]);
            (0..6).map(of).all(|slots| list(&slots).iter().all(|range| list(range).len() == 4))
        });
        both.play();
        both
    }

    fn of(real: Cluster) -> Both {
        let open = |server| (0..LINES).map(|_| Line::open(server)).collect();
        let lines: Vec<Vec<Line>> = real.servers.iter().map(open).collect();
        Both { real, played: Vec::new(), lines, history: Vec::new() }
    }

    /// Plays what the real ones know now.
    fn play(&mut self) {
        let peers = self.peers();
        self.played = (0..peers.len()).map(|own| self.like(own, peers.clone())).collect();
    }

    fn peers(&mut self) -> Vec<Peer> {
        let ids: Vec<String> =
            (0..self.lines.len()).map(|at| text(&self.only_real(at, &["CLUSTER", "MYID"]))).collect();
        let slots = self.only_real(0, &["CLUSTER", "SLOTS"]);
        let primary_of = |id: &str| {
            let of = |range: &Frame| {
                let nodes: Vec<String> = list(range)[2..].iter().map(|node| text(&list(node)[2])).collect();
                nodes[1..].iter().any(|replica| replica == id).then(|| nodes[0].clone())
            };
            list(&slots).iter().find_map(of)
        };
        let peer = |(at, id): (usize, &String)| Peer {
            id: id.clone(),
            host: "127.0.0.1".to_owned(),
            port: self.real.servers[at].port(),
            replica_of: primary_of(id),
        };
        ids.iter().enumerate().map(peer).collect()
    }

    /// A server that is played, with what the real one knows.
    fn like(&mut self, own: usize, peers: Vec<Peer>) -> Server {
        let mut server = Server::new(Version::V7_0);
        let index = |id: &str| peers.iter().position(|peer| peer.id == id).expect("one of them");
        let mut member = Member::new(own, peers.clone());
        for range in list(&self.only_real(own, &["CLUSTER", "SLOTS"])) {
            let [first, last, primary, ..] = list(range) else { panic!("a range has three parts") };
            for at in number(first)..=number(last) {
                member.set_owner(at as u16, Some(index(&text(&list(primary)[2]))));
            }
        }
        let info = text(&self.only_real(own, &["CLUSTER", "INFO"]));
        let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let current = line("cluster_current_epoch:").expect("an epoch");
        member.set_epochs(current, line("cluster_my_epoch:").expect("its own"));
        server.join(member);
        if peers[own].replica_of.is_some() {
            server.set_role(Role::Replica { host: String::new(), port: 0 });
        }
        for line in &self.lines[own] {
            server.number_connections_from(line.id.0);
            assert_eq!(server.connect(), line.id);
        }
        server
    }

    fn member(&mut self) -> &mut Member {
        self.played[0].member().expect("of a Cluster")
    }

    fn only_real(&mut self, at: usize, command: &[&str]) -> Frame {
        self.lines[at][0].send(&bytes(command));
        self.lines[at][0].frame()
    }

    /// Sends a command to a server and its like; what both say on that connection must be the same.
    fn ask(&mut self, at: usize, line: usize, command: &[&str]) -> Frame {
        self.history.push(format!("{at}.{line} {command:?}"));
        let (real, mut played) = self.said(at, line, command);
        assert_eq!(real, played, "{}", self.history.join("\n"));
        played.swap_remove(0)
    }

    fn said(&mut self, at: usize, line: usize, command: &[&str]) -> (Vec<Frame>, Vec<Frame>) {
        let (server, line) = (&mut self.played[at], &mut self.lines[at][line]);
        line.send(&bytes(command));
        server.execute(line.id, bytes(command).into_iter().map(Bytes::from).collect(), now_ms());
        let mut said = Vec::new();
        server.output(line.id).iter().for_each(|outgoing| outgoing.encode(&mut said));
        let played = Frame::all(&said);
        let real = played.iter().map(|_| line.frame()).collect();
        (real, played)
    }

    /// Moves a key as `MIGRATE` does; the played one by the commands that it is made of.
    fn migrate(&mut self, key: &str, from: usize, to: usize) {
        self.history.push(format!("{key} goes from {from} to {to}"));
        let port = self.real.servers[to].port().to_string();
        assert_eq!(text(&self.only_real(from, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])), "OK");
        let [giver, taker] = self.played.get_disjoint_mut([from, to]).expect("two of them");
        assert!(giver.migrate(taker, key.as_bytes(), now_ms()), "{key} is there");
    }

    /// What was pushed to a connection that is not asked anything now.
    fn pushed(&mut self, at: usize, line: usize) -> Frame {
        let (server, line) = (&mut self.played[at], &mut self.lines[at][line]);
        let mut said = Vec::new();
        server.output(line.id).iter().for_each(|outgoing| outgoing.encode(&mut said));
        let played = Frame::all(&said);
        assert_eq!(played, [line.frame()], "{}", self.history.join("\n"));
        played[0].clone()
    }
}

/// Two keys of one slot.
const A: &str = "sse:{x}:a";
const B: &str = "sse:{x}:b";

#[test]
fn a_cluster_sends_elsewhere_by_the_same_words() {
    let mut both = Both::start();
    let of = slot(A.as_bytes());
    let giver = (0..3).find(|at| both.played[*at].member().expect("of a cluster").owner(of) == Some(*at));
    let giver = giver.expect("an owner among the primaries");
    let (taker, third) = ((giver + 1) % 3, (giver + 2) % 3);
    it_is_told_who_has_what(&mut both);
    foreign_slots_are_refused(&mut both, giver, taker);
    a_slot_moves(&mut both, &of.to_string(), [giver, taker, third]);
    replicas_serve_who_wants_that(&mut both, taker);
}

fn it_is_told_who_has_what(both: &mut Both) {
    for at in 0..6 {
        both.ask(at, 0, &["CLUSTER", "MYID"]);
        both.ask(at, 0, &["CLUSTER", "SLOTS"]);
        same_info(both, at);
        // Real ones hear of it by and by that replicas have all.
        eventually("the same shards", || {
            let (real, played) = both.said(at, 0, &["CLUSTER", "SHARDS"]);
            shards(&real[0]) == shards(&played[0])
        });
    }
    for key in ["a", "{a}b", "a{b}c", "a{}b", "a{b", "a}b{c}{d}", "{{a}}", "", "sse:c17", "\u{e4}"] {
        both.ask(0, 0, &["CLUSTER", "KEYSLOT", key]);
    }
    both.ask(0, 1, &["HELLO", "3"]);
    both.ask(0, 1, &["CLUSTER", "SLOTS"]);
    both.ask(0, 1, &["HELLO", "2"]);
}

/// Shards with their servers, which real ones tell in an order of chance.
fn shards(reply: &Frame) -> Vec<String> {
    let shard = |shard: &Frame| {
        let mut nodes = list(&list(shard)[3]).to_vec();
        nodes.iter_mut().for_each(|node| node.blank("replication-offset"));
        nodes.sort_by_key(|node| format!("{node:?}"));
        format!("{:?} {nodes:?}", &list(shard)[..3])
    };
    let mut shards: Vec<String> = list(reply).iter().map(shard).collect();
    shards.sort();
    shards
}

fn same_info(both: &mut Both, at: usize) {
    let (real, played) = both.said(at, 0, &["CLUSTER", "INFO"]);
    let (real, played) = (text(&real[0]), text(&played[0]));
    let lines: Vec<&str> = real.lines().take(played.lines().count()).collect();
    assert_eq!(lines, played.lines().collect::<Vec<_>>(), "{at}");
}

fn foreign_slots_are_refused(both: &mut Both, giver: usize, taker: usize) {
    for (at, command) in [
        (taker, &["GET", A][..]),
        (taker, &["XADD", A, "1-1", "f", "v"]),
        (taker, &["XREAD", "COUNT", "1", "STREAMS", A, B, "0", "0"]),
        (taker, &["XINFO", "STREAM", A]),
        (taker, &["PING"]),
        (taker, &["ASKING"]),
        (taker, &["GET", A]),
        (giver, &["GET", A]),
        (giver, &["XREAD", "STREAMS", A, "other", "0", "0"]),
        (taker, &["XREAD", "STREAMS", A, "other", "0", "0"]),
        (giver, &["SELECT", "1"]),
        (giver, &["SELECT", "0"]),
        (giver, &["MULTI"]),
        (giver, &["SET", A, "1"]),
        (giver, &["EXEC"]),
        (taker, &["MULTI"]),
        (taker, &["SET", A, "1"]),
        (taker, &["EXEC"]),
        (giver, &["DEL", A]),
        (giver, &["CLUSTER", "COUNTKEYSINSLOT", "99999"]),
        (giver, &["CLUSTER", "SETSLOT", "99999", "STABLE"]),
        (giver, &["CLUSTER", "SETSLOT", "1", "NODE", "nobody"]),
        (giver, &["CLUSTER", "NOSUCH"]),
    ] {
        both.ask(at, 0, command);
    }
}

fn a_slot_moves(both: &mut Both, of: &str, [giver, taker, third]: [usize; 3]) {
    let ids: Vec<String> = (0..3).map(|at| both.real.id(at)).collect();
    let (from, to) = (ids[giver].as_str(), ids[taker].as_str());
    // Somebody follows one of the keys.
    both.ask(giver, 1, &["HELLO", "3"]);
    both.ask(giver, 1, &["CLIENT", "TRACKING", "ON"]);
    for key in [A, B] {
        both.ask(giver, 0, &["XADD", key, "1-1", "f", "v"]);
    }
    both.ask(giver, 1, &["XREAD", "STREAMS", A, "0"]);
    for (at, command) in [
        (giver, &["CLUSTER", "SETSLOT", of, "IMPORTING", to][..]),
        (taker, &["CLUSTER", "SETSLOT", of, "MIGRATING", from]),
        (taker, &["CLUSTER", "SETSLOT", of, "IMPORTING", "nobody"]),
        (giver, &["CLUSTER", "SETSLOT", of, "MIGRATING", "nobody"]),
        (giver, &["CLUSTER", "SETSLOT", of, "GOING", to]),
        (taker, &["CLUSTER", "SETSLOT", of, "IMPORTING", from]),
        (giver, &["CLUSTER", "SETSLOT", of, "MIGRATING", to]),
        (giver, &["CLUSTER", "SLOTS"]),
        (giver, &["CLUSTER", "SETSLOT", of, "NODE", to]),
        (giver, &["XREAD", "STREAMS", A, B, "0", "0"]),
    ] {
        both.ask(at, 0, command);
    }
    both.migrate(A, giver, taker);
    both.pushed(giver, 1);
    both.ask(giver, 0, &["CLUSTER", "GETKEYSINSLOT", of, "10"]);
    while_it_moves(both, [giver, taker, third]);
    both.migrate(B, giver, taker);
    for (at, command) in [
        (giver, &["XREAD", "STREAMS", A, B, "0", "0"][..]),
        (giver, &["CLUSTER", "COUNTKEYSINSLOT", of]),
        (taker, &["CLUSTER", "COUNTKEYSINSLOT", of]),
        (taker, &["CLUSTER", "SETSLOT", of, "NODE", to]),
        (taker, &["XREAD", "STREAMS", A, B, "0", "0"]),
        (taker, &["CLUSTER", "SLOTS"]),
    ] {
        both.ask(at, 0, command);
    }
    same_info(both, taker);
    // The giver hears of it at once, the others by and by.
    let port = format!(":{}", both.real.servers[taker].port());
    eventually("all know of it", || {
        (0..6).all(|at| at == taker || text(&both.only_real(at, &["GET", A])).ends_with(&port))
    });
    let epoch = both.played[taker].member().expect("of a cluster").epoch();
    for at in (0..6).filter(|at| *at != taker) {
        both.played[at].learn(of.parse().expect("a number"), taker, epoch);
        both.ask(at, 0, &["GET", A]);
        both.ask(at, 0, &["CLUSTER", "SLOTS"]);
    }
    both.ask(giver, 0, &["CLUSTER", "SETSLOT", of, "NODE", to]);
    both.ask(giver, 0, &["GET", A]);
    same_info(both, third);
}

fn while_it_moves(both: &mut Both, [giver, taker, third]: [usize; 3]) {
    for (at, command) in [
        (giver, &["XREAD", "STREAMS", A, "0"][..]),
        (giver, &["XREAD", "STREAMS", B, "0"]),
        (giver, &["XREAD", "STREAMS", A, B, "0", "0"]),
        (giver, &["XADD", A, "2-1", "f", "v"]),
        (giver, &["MULTI"]),
        (giver, &["XADD", A, "2-1", "f", "v"]),
        (giver, &["EXEC"]),
        (giver, &["MULTI"]),
        (giver, &["XADD", B, "2-1", "f", "v"]),
        (giver, &["XLEN", B]),
        (giver, &["EXEC"]),
        (taker, &["XREAD", "STREAMS", A, "0"]),
        (taker, &["ASKING"]),
        (taker, &["XREAD", "STREAMS", A, "0"]),
        (taker, &["XREAD", "STREAMS", A, "0"]),
        (taker, &["ASKING"]),
        (taker, &["XREAD", "STREAMS", A, B, "0", "0"]),
        (taker, &["ASKING"]),
        (taker, &["XREAD", "STREAMS", B, "0"]),
        (taker, &["ASKING"]),
        (taker, &["NOSUCH"]),
        (taker, &["XLEN", A]),
        (taker, &["ASKING"]),
        (taker, &["MULTI"]),
        (taker, &["XADD", A, "3-1", "f", "v"]),
        (taker, &["XLEN", A]),
        (taker, &["EXEC"]),
        (taker, &["XLEN", A]),
        (third, &["XLEN", A]),
        (third, &["ASKING"]),
        (third, &["XLEN", A]),
    ] {
        both.ask(at, 0, command);
    }
}

fn replicas_serve_who_wants_that(both: &mut Both, primary: usize) {
    let id = both.real.id(primary);
    let of = |server: &mut Server| server.member().expect("of a cluster").replica_of() == Some(&id);
    let at = (3..6).find(|at| of(&mut both.played[*at])).expect("a replica");
    for command in
        [&["XLEN", A][..], &["READONLY"], &["XADD", A, "9-1", "f", "v"], &["READWRITE"], &["XLEN", A], &["READONLY"]]
    {
        both.ask(at, 0, command);
    }
    eventually("it has what its primary has", || text(&both.only_real(at, &["XLEN", B])) == "2");
    let data = both.played[primary].clone();
    both.played[at].replace_data(&data);
    both.ask(at, 0, &["XLEN", B]);
    both.ask(at, 0, &["XREAD", "STREAMS", A, B, "0", "0"]);
}

/// A server that is alone in its Cluster, with a slot of its own or none.
#[test]
fn what_is_down_says_so() {
    let mut both =
        Both::of(Cluster { servers: vec![Redis::start_cluster_node(&["--cluster-announce-ip", "127.0.0.1"])] });
    both.play();
    both.member().set_ok(false);
    let commands = [&["GET", A][..], &["XREAD", "STREAMS", A, "other", "0", "0"], &["GET", "other"], &["PING"]];
    let ask_all = |both: &mut Both| commands.iter().for_each(|command| drop(both.ask(0, 0, command)));
    ask_all(&mut both);
    both.ask(0, 0, &["CLUSTER", "SLOTS"]);
    let of = slot(A.as_bytes());
    assert_eq!(text(&both.only_real(0, &["CLUSTER", "ADDSLOTS", &of.to_string()])), "OK");
    both.member().set_owner(of, Some(0));
    ask_all(&mut both);
    both.ask(0, 0, &["CLUSTER", "SLOTS"]);
    both.only_real(0, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    eventually("it is up", || both.only_real(0, &["GET", A]) == Frame::Line(b'$', "-1".to_owned()));
    both.member().set_ok(true);
    ask_all(&mut both);
}

/// Those of no Cluster say so.
#[test]
fn who_is_alone_has_no_slots() {
    let real = Redis::start();
    let mut both = super::both::Both::new(&real, "alone");
    for command in [&["CLUSTER", "SLOTS"][..], &["CLUSTER", "INFO"], &["ASKING"], &["READONLY"], &["CLUSTER"]] {
        both.ask(0, command);
    }
}
