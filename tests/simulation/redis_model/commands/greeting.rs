//! How a connection begins: who it is, in which protocol it speaks, of which database.

use super::super::arguments::{Rest, integer, shown, upper};
use super::super::process;
use super::super::replica::Role;
use super::super::reply::{Answer, NO_INTEGER, Reply, Resp, plain};
use super::super::server::Server;
use super::Call;
use bytes::Bytes;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const WHO_ARE_YOU: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
     AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";

/// `AUTH [user] password`
pub fn auth(server: &mut Server, call: &Call) -> Answer {
    let (user, password) = match &call.words[1..] {
        [_] if !server.users.contains_key(b"default".as_slice()) => {
            return plain(
                "AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            );
        }
        [password] => (Bytes::from_static(b"default"), password.clone()),
        [user, password] => (user.clone(), password.clone()),
        _ => return plain("syntax error"),
    };
    log_in(server, call, &user, &password)?;
    Ok(Reply::ok())
}

fn log_in(server: &mut Server, call: &Call, user: &Bytes, password: &Bytes) -> Result<(), String> {
    let is_right = match server.users.get(user) {
        Some(known) => known == password,
        // Who wants no password takes any.
        None => user.as_ref() == b"default",
    };
    match server.connections.get_mut(&call.id) {
        Some(connection) if is_right => {
            connection.is_known = true;
            Ok(())
        }
        _ => Err(WRONG_PASSWORD.to_owned()),
    }
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
pub fn hello(server: &mut Server, call: &Call) -> Answer {
    let mut rest = Rest::new(call.words, 1);
    let mut resp = None;
    if let Some(version) = rest.next() {
        resp = Some(match integer(version) {
            Ok(2) => Resp::Two,
            Ok(3) => Resp::Three,
            Ok(_) => return Err("NOPROTO unsupported protocol version".to_owned()),
            Err(_) => return plain("Protocol version is not an integer or out of range"),
        });
    }
    let (mut login, mut name) = (None, None);
    while let Some(option) = rest.next() {
        match (upper(option).as_slice(), rest.left()) {
            (b"AUTH", 2..) => login = Some((rest.value()?.clone(), rest.value()?.clone())),
            (b"SETNAME", 1..) => name = Some(rest.value()?.clone()),
            _ => return plain(format!("Syntax error in HELLO option '{}'", shown(option))),
        }
    }
    if let Some((user, password)) = login {
        log_in(server, call, &user, &password)?;
    }
    let version = server.version;
    let role = if server.identity.role == Role::Primary { "master" } else { "replica" };
    let Some(connection) = server.connections.get_mut(&call.id) else { return Ok(Reply::Later) };
    if !connection.is_known {
        return Err(WHO_ARE_YOU.to_owned());
    }
    connection.name = name.unwrap_or_else(|| connection.name.clone());
    connection.resp = resp.unwrap_or(connection.resp);
    let pairs = [
        ("server", Reply::word(if version.valkey { "valkey" } else { "redis" })),
        ("version", Reply::text(version.to_string())),
        ("proto", Reply::Number(if connection.resp == Resp::Three { 3 } else { 2 })),
        ("id", Reply::Number(call.id.0 as i64)),
        ("mode", Reply::word(if server.cluster.is_some() { "cluster" } else { "standalone" })),
        ("role", Reply::word(role)),
        ("modules", Reply::List(version.module().into_iter().map(module).collect())),
    ];
    Ok(named(pairs))
}

fn module((name, path): (&'static str, &'static str)) -> Reply {
    let list = Reply::List(Vec::new());
    named([("name", Reply::word(name)), ("ver", Reply::Number(1)), ("path", Reply::word(path)), ("args", list)])
}

fn named<const N: usize>(pairs: [(&'static str, Reply); N]) -> Reply {
    Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::word(name), value)).collect())
}

/// `SELECT index`
pub fn select(server: &mut Server, call: &Call) -> Answer {
    let index = integer(call.key()).map_err(|_| NO_INTEGER.to_owned())?;
    let databases = server.databases.len();
    if server.cluster.is_some() && index != 0 {
        return plain("SELECT is not allowed in cluster mode");
    }
    let Some(connection) = server.connections.get_mut(&call.id) else { return Ok(Reply::Later) };
    match usize::try_from(index).ok().filter(|index| *index < databases) {
        Some(index) => {
            connection.db = index;
            Ok(Reply::ok())
        }
        None => plain("DB index is out of range"),
    }
}

/// `PING [message]`
pub fn ping(_: &mut Server, call: &Call) -> Answer {
    match &call.words[1..] {
        [] => Ok(Reply::Status("PONG".to_owned())),
        [message] => Ok(Reply::Text(message.clone())),
        _ => plain("wrong number of arguments for 'ping' command"),
    }
}

/// `ECHO message`
pub fn echo(_: &mut Server, call: &Call) -> Answer {
    Ok(Reply::Text(call.key().clone()))
}

/// `QUIT`
pub fn quit(server: &mut Server, call: &Call) -> Answer {
    server.reply(call.id, Reply::ok());
    process::close(server, call.id);
    Ok(Reply::Later)
}
