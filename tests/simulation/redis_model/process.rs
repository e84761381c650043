//! The way of one command: is it known, may it run now, is it only noted for a transaction, and what follows it.

use super::commands::Call;
use super::connection::{ConnectionId, Transaction, Words};
use super::faults::Refusal;
use super::replica::Role;
use super::reply::{Reply, plain};
use super::server::Server;
use super::table::{self, CONTROL, DENY_OOM, NO_AUTH, READ, Spec, WRITE};

/// Runs a command of a connection, and puts out its reply.
pub fn process(server: &mut Server, id: ConnectionId, words: Words) {
    if words.is_empty() || !server.connections.contains_key(&id) {
        return;
    }
    server.limit_tracked();
    let before = server.runs.replace(id);
    let asks = table::name(&words) == "asking";
    let reply = reply(server, id, words);
    server.reply(id, reply);
    server.runs = before;
    server.tell_later(id);
    if let Some(connection) = server.connections.get_mut(&id).filter(|connection| connection.transaction.is_none()) {
        // It holds for one command, or for one transaction.
        connection.asking &= asks;
    }
}

/// Runs a command once more that has waited, and puts out its reply if it does not wait again.
pub fn process_again(server: &mut Server, id: ConnectionId, words: Words) {
    let before = server.runs.replace(id);
    if let Ok(spec) = table::find(&words, server.version) {
        let reply = call(server, id, spec, &words, false);
        server.reply(id, reply);
    }
    server.runs = before;
    server.tell_later(id);
}

/// Runs a command that another server has written.
pub fn replay(server: &mut Server, id: ConnectionId, words: &Words) {
    if let Ok(spec) = table::find(words, server.version) {
        call(server, id, spec, words, true);
    }
}

/// Ends a connection: no further command of it is run.
pub fn close(server: &mut Server, id: ConnectionId) {
    if let Some(connection) = server.connections.get_mut(&id) {
        connection.is_closing = true;
        connection.waits = None;
        connection.behind.clear();
        server.rouse(id);
    }
}

fn reply(server: &mut Server, id: ConnectionId, words: Words) -> Reply {
    let spec = match table::find(&words, server.version) {
        Ok(spec) => spec,
        Err(error) => {
            server.unknown.insert(table::name(&words));
            break_transaction(server, id);
            return Reply::Error(error);
        }
    };
    if !spec.takes(words.len()) {
        break_transaction(server, id);
        return Reply::Error(format!("ERR wrong number of arguments for '{}' command", spec.name));
    }
    if let Some(elsewhere) = server.elsewhere(id, spec, &words) {
        match spec.name {
            "exec" => drop(take_transaction(server, id)),
            _ => break_transaction(server, id),
        }
        return Reply::Error(elsewhere);
    }
    if let Some(refusal) = refusal(server, id, spec) {
        break_transaction(server, id);
        return match spec.name {
            "exec" => {
                take_transaction(server, id);
                Reply::Error(format!("EXECABORT Transaction discarded because of: {refusal}"))
            }
            _ => Reply::Error(refusal),
        };
    }
    let Some(connection) = server.connections.get_mut(&id) else { return Reply::Later };
    match &mut connection.transaction {
        Some(transaction) if spec.flags & CONTROL == 0 => {
            if !transaction.is_broken {
                transaction.commands.push(words);
            }
            Reply::Status("QUEUED".to_owned())
        }
        _ => call(server, id, spec, &words, false),
    }
}

/// Why a command may not run now.
fn refusal(server: &Server, id: ConnectionId, spec: &Spec) -> Option<String> {
    let connection = server.connections.get(&id)?;
    if !connection.is_known && spec.flags & NO_AUTH == 0 {
        return Some("NOAUTH Authentication required.".to_owned());
    }
    let mut flags = spec.flags;
    if let Some(transaction) = &connection.transaction {
        match spec.name {
            "exec" => {
                flags |= transaction
                    .commands
                    .iter()
                    .filter_map(|words| table::find(words, server.version).ok())
                    .fold(0, joined)
            }
            "discard" | "quit" => {}
            // What is only noted takes memory, too.
            _ if !server.version.notes_without_memory() => flags |= DENY_OOM,
            _ => {}
        }
    }
    let is_replica = matches!(server.identity.role, Role::Replica { .. });
    let states = server.refusals.iter().copied().chain(is_replica.then_some(Refusal::ReadOnly));
    states.filter(|state| state.is_of(spec, flags)).min().map(|state| state.text().to_owned())
}

/// Of a transaction counts what any of its commands does.
fn joined(flags: u16, spec: &'static Spec) -> u16 {
    flags | spec.flags & (DENY_OOM | WRITE)
}

/// Runs a command. `nested`: within a transaction.
fn call(server: &mut Server, id: ConnectionId, spec: &'static Spec, words: &Words, nested: bool) -> Reply {
    let Some(connection) = server.connections.get(&id) else { return Reply::Later };
    let call = Call { id, words, db: connection.db, resp: connection.resp, nested };
    let answer = (spec.run)(server, &call);
    if spec.flags & READ != 0 {
        server.remember(id, &spec.keys.of(words));
    }
    if spec.flags & WRITE != 0 && answer.is_ok() {
        server.write_down(call.db, words.clone());
    }
    answer.into()
}

/// Begins a transaction.
pub fn multi(server: &mut Server, call: &Call) -> Result<Reply, String> {
    let (text, breaks) = server.version.nested_transaction();
    if server.is_in_transaction(call.id) {
        if breaks {
            break_transaction(server, call.id);
        }
        return plain(text);
    }
    if let Some(connection) = server.connections.get_mut(&call.id) {
        connection.transaction = Some(Transaction::default());
    }
    Ok(Reply::ok())
}

/// Runs what was noted since `MULTI`.
pub fn exec(server: &mut Server, at: &Call) -> Result<Reply, String> {
    let Some(transaction) = take_transaction(server, at.id) else { return plain("EXEC without MULTI") };
    if transaction.is_broken {
        return Err("EXECABORT Transaction discarded because of previous errors.".to_owned());
    }
    server.begin_record();
    let mut replies = Vec::with_capacity(transaction.commands.len());
    for words in &transaction.commands {
        if let Ok(spec) = table::find(words, server.version) {
            replies.push(call(server, at.id, spec, words, true));
        }
    }
    server.end_record();
    Ok(Reply::List(replies))
}

/// Forgets what was noted since `MULTI`.
pub fn discard(server: &mut Server, call: &Call) -> Result<Reply, String> {
    match take_transaction(server, call.id) {
        Some(_) => Ok(Reply::ok()),
        None => plain("DISCARD without MULTI"),
    }
}

fn take_transaction(server: &mut Server, id: ConnectionId) -> Option<Transaction> {
    server.connections.get_mut(&id)?.transaction.take()
}

fn break_transaction(server: &mut Server, id: ConnectionId) {
    let forgets = server.version.forgets_failed();
    if let Some(transaction) = server.connections.get_mut(&id).and_then(|connection| connection.transaction.as_mut()) {
        transaction.is_broken = true;
        if forgets {
            transaction.commands.clear();
        }
    }
}
