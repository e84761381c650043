//! `CLIENT`: what a connection is called, what it follows, who waits, who is ended.

use super::super::arguments::{Rest, integer, is, shown, upper};
use super::super::connection::ConnectionId;
use super::super::process;
use super::super::reply::{Answer, NO_INTEGER, Reply, SYNTAX, plain};
use super::super::server::Server;
use super::super::table;
use super::super::tracking::Follows;
use super::Call;

/// `CLIENT ID`
pub fn id(_: &mut Server, call: &Call) -> Answer {
    Ok(Reply::Number(call.id.0 as i64))
}

/// `CLIENT GETNAME`
pub fn get_name(server: &mut Server, call: &Call) -> Answer {
    let name = server.connections.get(&call.id).map(|connection| connection.name.clone());
    Ok(name.filter(|name| !name.is_empty()).map_or(Reply::Nil, Reply::Text))
}

/// `CLIENT SETNAME name`
pub fn set_name(server: &mut Server, call: &Call) -> Answer {
    let name = &call.words[2];
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return plain("Client names cannot contain spaces, newlines or special characters.");
    }
    if let Some(connection) = server.connections.get_mut(&call.id) {
        connection.name = name.clone();
    }
    Ok(Reply::ok())
}

/// `CLIENT SETINFO attribute value`, which nobody reads here.
pub fn set_info(server: &mut Server, call: &Call) -> Answer {
    if !server.version.knows_client_info() {
        return no_such_part(call);
    }
    match upper(&call.words[2]).as_slice() {
        b"LIB-NAME" | b"LIB-VER" => Ok(Reply::ok()),
        _ => plain(format!("Unrecognized option '{}'", shown(&call.words[2]))),
    }
}

/// `CLIENT NO-TOUCH ON|OFF`
pub fn no_touch(server: &mut Server, call: &Call) -> Answer {
    if !server.version.knows_client_info() {
        return no_such_part(call);
    }
    on_or_off(server, call)
}

fn no_such_part(call: &Call) -> Answer {
    let part = shown(&call.words[1]);
    plain(format!("unknown subcommand '{part}'. Try CLIENT HELP."))
}

/// `CLIENT NO-EVICT ON|OFF`, which changes nothing here.
pub fn on_or_off(_: &mut Server, call: &Call) -> Answer {
    match upper(&call.words[2]).as_slice() {
        b"ON" | b"OFF" => Ok(Reply::ok()),
        _ => Err(SYNTAX.to_owned()),
    }
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`
pub fn unblock(server: &mut Server, call: &Call) -> Answer {
    let reply = match &call.words[3..] {
        [] => Reply::NilList,
        // Valkey does not look at more words than one.
        [_, _, ..] if server.version.valkey => Reply::NilList,
        [how] if is(how, "timeout") => Reply::NilList,
        [how] if is(how, "error") => Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned()),
        [_] => return plain("CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => {
            let part = shown(&call.words[1]);
            return plain(format!("unknown subcommand or wrong number of arguments for '{part}'. Try CLIENT HELP."));
        }
    };
    let id = integer(&call.words[2])?;
    Ok(Reply::flag(server.end_wait(ConnectionId(id as u64), reply)))
}

/// `CLIENT KILL ID id` and `CLIENT KILL TYPE normal`
pub fn kill(server: &mut Server, call: &Call) -> Answer {
    let [how, whom] = &call.words[2..] else { return not_played(server, call) };
    let whom: Vec<ConnectionId> = match upper(how).as_slice() {
        b"ID" => match integer(whom) {
            Ok(id @ 1..) => vec![ConnectionId(id as u64)],
            _ => return plain("client-id should be greater than 0"),
        },
        b"TYPE" if is(whom, "normal") => server.connections().collect(),
        _ => return not_played(server, call),
    };
    let mut killed = 0;
    // SKIPME is on by default.
    for id in whom.into_iter().filter(|id| *id != call.id) {
        killed += i64::from(server.is_there(id));
        process::close(server, id);
    }
    Ok(Reply::Number(killed))
}

fn not_played(server: &mut Server, call: &Call) -> Answer {
    server.unknown.insert(format!("an option of {}", table::name(call.words)));
    Err(SYNTAX.to_owned())
}

/// `CLIENT GETREDIR`
pub fn get_redirect(server: &mut Server, call: &Call) -> Answer {
    let follows = server.connections.get(&call.id).and_then(|connection| connection.follows);
    Ok(Reply::Number(follows.map_or(-1, |follows| follows.redirect.map_or(0, |id| id.0 as i64))))
}

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [NOLOOP]`
pub fn tracking(server: &mut Server, call: &Call) -> Answer {
    let mut follows = Follows::default();
    let mut rest = Rest::new(call.words, 3);
    while let Some(option) = rest.next() {
        match (upper(option).as_slice(), rest.left()) {
            (b"REDIRECT", 1..) => {
                if follows.redirect.is_some() {
                    return plain("A client can only redirect to a single other client");
                }
                let id = rest.number().map_err(|_| NO_INTEGER.to_owned())?;
                if !server.is_there(ConnectionId(id as u64)) {
                    return plain("The client ID you want redirect to does not exist");
                }
                follows.redirect = Some(ConnectionId(id as u64));
            }
            (b"NOLOOP", _) => follows.no_loop = true,
            (b"BCAST" | b"OPTIN" | b"OPTOUT" | b"PREFIX", _) => return not_played(server, call),
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    let follows = match upper(&call.words[2]).as_slice() {
        b"ON" => Some(follows),
        b"OFF" => None,
        _ => return Err(SYNTAX.to_owned()),
    };
    if let Some(connection) = server.connections.get_mut(&call.id) {
        connection.follows = follows;
    }
    Ok(Reply::ok())
}

/// `CLIENT TRACKINGINFO`
pub fn tracking_info(server: &mut Server, call: &Call) -> Answer {
    let follows = server.connections.get(&call.id).and_then(|connection| connection.follows);
    let mut flags = vec![Reply::word(if follows.is_some() { "on" } else { "off" })];
    flags.extend(follows.filter(|follows| follows.no_loop).map(|_| Reply::word("noloop")));
    flags.extend(follows.filter(|follows| follows.is_broken).map(|_| Reply::word("broken_redirect")));
    let redirect = follows.map_or(-1, |follows| follows.redirect.map_or(0, |id| id.0 as i64));
    Ok(Reply::Map(vec![
        (Reply::word("flags"), Reply::Set(flags)),
        (Reply::word("redirect"), Reply::Number(redirect)),
        (Reply::word("prefixes"), Reply::List(Vec::new())),
    ]))
}
