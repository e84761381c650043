//! All commands that are known: how many words each takes, what it is, which of its words are keys.

use super::arguments::shown;
use super::commands::{self as run, Call};
use super::process;
use super::reply::Answer;
use super::server::Server;
use super::version::Version;
use bytes::Bytes;

/// It changes data.
pub const WRITE: u16 = 1;
/// It reads keys, which are followed then.
pub const READ: u16 = 2;
/// It takes memory, and is refused where there is none.
pub const DENY_OOM: u16 = 4;
/// It runs while data is loaded, and on a replica that has lost its primary.
pub const LOADING: u16 = 8;
/// It runs while a script does.
pub const ALLOW_BUSY: u16 = 16;
/// It runs for who has not logged in.
pub const NO_AUTH: u16 = 32;
/// It runs at once within a transaction.
pub const CONTROL: u16 = 64;
/// It is about a slot that is being taken over, without `ASKING`.
pub const ASKING: u16 = 128;

/// Which words of a command are keys.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    None,
    /// The word at this place.
    At(usize),
    /// The first two.
    Two,
    /// All words behind the command.
    All,
    /// The first half of what follows `STREAMS`.
    Streams,
}

impl Keys {
    /// The keys of a command.
    pub fn of(self, words: &[Bytes]) -> Vec<Bytes> {
        match self {
            Keys::None => Vec::new(),
            Keys::At(at) => words.get(at).cloned().into_iter().collect(),
            Keys::Two => words.iter().skip(1).take(2).cloned().collect(),
            Keys::All => words[1..].to_vec(),
            Keys::Streams => {
                let Some(at) = streams(words) else { return Vec::new() };
                let rest = &words[at + 1..];
                if rest.len().is_multiple_of(2) { rest[..rest.len() / 2].to_vec() } else { Vec::new() }
            }
        }
    }
}

/// Where `STREAMS` stands, if nothing before it is wrong.
fn streams(words: &[Bytes]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += match words.get(at)?.to_ascii_uppercase().as_slice() {
            b"STREAMS" => return Some(at),
            b"NOACK" => 1,
            b"BLOCK" | b"COUNT" => 2,
            b"GROUP" => 3,
            _ => return None,
        };
    }
}

/// One command.
pub struct Spec {
    /// Its name; behind a `|` that of a part.
    pub name: &'static str,
    /// How many words it has; negative: at least so many.
    arity: i32,
    /// What it is.
    pub flags: u16,
    /// Its keys.
    pub keys: Keys,
    /// What it does.
    pub run: fn(&mut Server, &Call) -> Answer,
}

impl Spec {
    /// Whether it takes so many words.
    pub fn takes(&self, words: usize) -> bool {
        match usize::try_from(self.arity) {
            Ok(exactly) => words == exactly,
            Err(_) => words >= self.arity.unsigned_abs() as usize,
        }
    }
}

const fn of(name: &'static str, arity: i32, flags: u16, keys: Keys, run: fn(&mut Server, &Call) -> Answer) -> Spec {
    Spec { name, arity, flags, keys, run }
}

const ANY: u16 = LOADING | ALLOW_BUSY;
const GROW: u16 = WRITE | DENY_OOM;

static COMMANDS: &[Spec] = &[
    of("auth", -2, ANY | NO_AUTH, Keys::None, run::greeting::auth),
    of("hello", -1, ANY | NO_AUTH, Keys::None, run::greeting::hello),
    of("quit", -1, ANY | NO_AUTH | CONTROL, Keys::None, run::greeting::quit),
    of("select", 2, LOADING, Keys::None, run::greeting::select),
    of("ping", -1, 0, Keys::None, run::greeting::ping),
    of("echo", 2, LOADING, Keys::None, run::greeting::echo),
    of("multi", 1, ANY | CONTROL, Keys::None, process::multi),
    of("exec", 1, LOADING | CONTROL, Keys::None, process::exec),
    of("discard", 1, ANY | CONTROL, Keys::None, process::discard),
    of("client|id", 2, LOADING, Keys::None, run::client::id),
    of("client|getname", 2, LOADING, Keys::None, run::client::get_name),
    of("client|setname", 3, LOADING, Keys::None, run::client::set_name),
    of("client|setinfo", 4, LOADING, Keys::None, run::client::set_info),
    of("client|no-evict", 3, LOADING, Keys::None, run::client::on_or_off),
    of("client|no-touch", 3, LOADING, Keys::None, run::client::no_touch),
    of("client|unblock", -3, LOADING, Keys::None, run::client::unblock),
    of("client|kill", -3, LOADING, Keys::None, run::client::kill),
    of("client|getredir", 2, LOADING, Keys::None, run::client::get_redirect),
    of("client|tracking", -3, LOADING, Keys::None, run::client::tracking),
    of("client|trackinginfo", 2, LOADING, Keys::None, run::client::tracking_info),
    of("info", -1, LOADING, Keys::None, run::about::info),
    of("time", 1, LOADING, Keys::None, run::about::time),
    of("role", 1, LOADING, Keys::None, run::about::role),
    of("config|get", -3, LOADING, Keys::None, run::about::config_get),
    of("config|set", -4, LOADING, Keys::None, run::about::config_set),
    of("asking", 1, LOADING, Keys::None, run::cluster::asking),
    of("readonly", 1, LOADING, Keys::None, run::cluster::read_only),
    of("readwrite", 1, LOADING, Keys::None, run::cluster::read_only),
    of("cluster|myid", 2, LOADING, Keys::None, run::cluster::own_id),
    of("cluster|info", 2, LOADING, Keys::None, run::cluster::info),
    of("cluster|slots", 2, LOADING, Keys::None, run::cluster::slots),
    of("cluster|shards", 2, LOADING, Keys::None, run::cluster::shards),
    of("cluster|keyslot", 3, LOADING, Keys::None, run::cluster::key_slot),
    of("cluster|countkeysinslot", 3, LOADING, Keys::None, run::cluster::count_keys),
    of("cluster|getkeysinslot", 4, LOADING, Keys::None, run::cluster::keys),
    of("cluster|setslot", -4, LOADING, Keys::None, run::cluster::set_slot),
    of("dbsize", 1, READ, Keys::None, run::keys::size),
    of("flushall", -1, WRITE, Keys::None, run::keys::flush_all),
    of("flushdb", -1, WRITE, Keys::None, run::keys::flush),
    of("evalsha", -3, 0, Keys::None, run::about::no_script),
    of("evalsha_ro", -3, 0, Keys::None, run::about::no_script),
    of("get", 2, READ, Keys::At(1), run::strings::get),
    of("set", -3, GROW, Keys::At(1), run::strings::set),
    of("del", -2, WRITE, Keys::All, run::keys::delete),
    of("unlink", -2, WRITE, Keys::All, run::keys::delete),
    of("exists", -2, READ, Keys::All, run::keys::exists),
    of("type", 2, READ, Keys::At(1), run::keys::kind),
    of("rename", 3, WRITE, Keys::Two, run::keys::rename),
    of("renamenx", 3, WRITE, Keys::Two, run::keys::rename_new),
    of("copy", -3, GROW, Keys::Two, run::keys::copy),
    of("dump", 2, READ, Keys::At(1), run::dump::dump),
    of("restore", -4, GROW, Keys::At(1), run::dump::restore),
    of("restore-asking", -4, GROW | ASKING, Keys::At(1), run::dump::restore),
    of("expire", -3, WRITE, Keys::At(1), run::expiry::expire),
    of("pexpire", -3, WRITE, Keys::At(1), run::expiry::pexpire),
    of("expireat", -3, WRITE, Keys::At(1), run::expiry::expire_at),
    of("pexpireat", -3, WRITE, Keys::At(1), run::expiry::pexpire_at),
    of("persist", 2, WRITE, Keys::At(1), run::expiry::persist),
    of("ttl", 2, READ, Keys::At(1), run::expiry::ttl),
    of("pttl", 2, READ, Keys::At(1), run::expiry::pttl),
    of("expiretime", 2, READ, Keys::At(1), run::expiry::expire_time),
    of("pexpiretime", 2, READ, Keys::At(1), run::expiry::pexpire_time),
    of("hset", -4, GROW, Keys::At(1), run::hashes::set),
    of("hdel", -3, WRITE, Keys::At(1), run::hashes::delete),
    of("hget", 3, READ, Keys::At(1), run::hashes::get),
    of("hmget", -3, READ, Keys::At(1), run::hashes::get_some),
    of("hgetall", 2, READ, Keys::At(1), run::hashes::get_all),
    of("hlen", 2, READ, Keys::At(1), run::hashes::length),
    of("hexists", 3, READ, Keys::At(1), run::hashes::exists),
    of("xadd", -5, GROW, Keys::At(1), run::stream_write::add),
    of("xtrim", -4, WRITE, Keys::At(1), run::stream_write::trim),
    of("xdel", -3, WRITE, Keys::At(1), run::stream_write::delete),
    of("xdelex", -5, WRITE, Keys::At(1), run::stream_references::delete),
    of("xackdel", -6, WRITE, Keys::At(1), run::stream_references::acknowledge_and_delete),
    of("xsetid", -3, GROW, Keys::At(1), run::stream_write::set_id),
    of("xlen", 2, READ, Keys::At(1), run::stream_read::length),
    of("xrange", -4, READ, Keys::At(1), run::stream_read::range),
    of("xrevrange", -4, READ, Keys::At(1), run::stream_read::range_back),
    of("xread", -4, READ, Keys::Streams, run::stream_read::read),
    of("xinfo|stream", -3, READ, Keys::At(2), run::stream_read::info),
    of("xgroup|create", -5, GROW, Keys::At(2), run::groups::create),
    of("xgroup|setid", -5, WRITE, Keys::At(2), run::groups::set_id),
    of("xgroup|destroy", 4, WRITE, Keys::At(2), run::groups::destroy),
    of("xgroup|createconsumer", 5, GROW, Keys::At(2), run::groups::create_consumer),
    of("xgroup|delconsumer", 5, WRITE, Keys::At(2), run::groups::delete_consumer),
    of("xreadgroup", -7, WRITE, Keys::Streams, run::groups::read),
    of("xack", -4, WRITE, Keys::At(1), run::groups::acknowledge),
];

/// Commands that have parts.
const CONTAINERS: [&str; 5] = ["client", "cluster", "config", "xinfo", "xgroup"];

/// The command that these words begin with; else what is said to who sends it.
pub fn find(words: &[Bytes], version: Version) -> Result<&'static Spec, String> {
    let name = name(words);
    if let Some(spec) = COMMANDS.iter().find(|spec| spec.name == name) {
        return Ok(spec);
    }
    match name.split_once('|') {
        Some((of, _)) => {
            Err(format!("ERR unknown subcommand '{:.128}'. Try {} HELP.", shown(&words[1]), of.to_ascii_uppercase()))
        }
        None if CONTAINERS.contains(&name.as_str()) => {
            Err(format!("ERR wrong number of arguments for '{name}' command"))
        }
        None => Err(unknown(words, version)),
    }
}

/// The name of a command, with that of its part.
pub fn name(words: &[Bytes]) -> String {
    let lower = |word: &Bytes| shown(word).to_ascii_lowercase();
    let name = words.first().map(lower).unwrap_or_default();
    match words.get(1).filter(|_| CONTAINERS.contains(&name.as_str())) {
        Some(part) => format!("{name}|{}", lower(part)),
        None => name,
    }
}

/// What is said of a command that is not known.
pub fn unknown(words: &[Bytes], version: Version) -> String {
    if words.len() == 1 && version.tells_no_arguments() {
        return format!("ERR unknown command '{:.128}'", shown(&words[0]));
    }
    let mut arguments = String::new();
    for word in &words[1..] {
        if arguments.len() >= 128 {
            break;
        }
        let room = 128 - arguments.len();
        arguments += &format!("'{}' ", shown(&word[..word.len().min(room)]));
    }
    format!("ERR unknown command '{:.128}', with args beginning with: {arguments}", shown(&words[0]))
}
