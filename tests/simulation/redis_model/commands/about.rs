//! What a server tells of itself.

use super::super::arguments::{integer, shown};
use super::super::replica::{Role, Tie};
use super::super::reply::{Answer, Reply, plain};
use super::super::server::Server;
use super::super::version::Version;
use super::Call;

/// Sections of `INFO` that are told, in order.
const SECTIONS: [&str; 5] = ["server", "clients", "memory", "replication", "commandstats"];

/// `INFO [section …]`: of each section what is read by anybody here.
pub fn info(server: &mut Server, call: &Call) -> Answer {
    let asked: Vec<String> = call.words[1..].iter().map(|word| shown(word).to_ascii_lowercase()).collect();
    let all = asked.is_empty() || asked.iter().any(|name| matches!(name.as_str(), "all" | "everything" | "default"));
    let wanted =
        SECTIONS.into_iter().filter(|name| asked.iter().any(|word| word == name) || all && *name != "commandstats");
    let sections: Vec<String> = wanted.map(|name| section(server, name)).collect();
    Ok(Reply::Lines(sections.join("\r\n")))
}

fn section(server: &Server, name: &str) -> String {
    let setting = |name: &str| server.settings.get(name).cloned().unwrap_or_default();
    let (title, lines) = match name {
        "server" => ("Server", about_process(server)),
        "clients" => {
            let blocked = server.connections.values().filter(|connection| connection.waits.is_some()).count();
            let lines = vec![
                ("connected_clients", server.connections.len().to_string()),
                ("maxclients", setting("maxclients")),
                ("blocked_clients", blocked.to_string()),
            ];
            ("Clients", lines)
        }
        "memory" => {
            let lines = vec![("maxmemory", setting("maxmemory")), ("maxmemory_policy", setting("maxmemory-policy"))];
            ("Memory", lines)
        }
        "replication" => ("Replication", about_replication(server)),
        _ => ("Commandstats", Vec::new()),
    };
    let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
    format!("# {title}\r\n{}", lines.concat())
}

fn about_process(server: &Server) -> Vec<(&'static str, String)> {
    let Version { valkey, .. } = server.version;
    let mode = if server.cluster.is_some() { "cluster" } else { "standalone" };
    let mut lines = vec![("redis_version", server.version.as_redis())];
    if valkey {
        lines.extend([("server_name", "valkey".to_owned()), ("valkey_version", server.version.to_string())]);
        lines.push(("server_mode", mode.to_owned()));
    } else {
        lines.push(("redis_mode", mode.to_owned()));
    }
    lines.push(("run_id", server.identity.run_id.clone()));
    lines.push(("server_time_usec", (server.now * 1000).to_string()));
    lines
}

fn about_replication(server: &Server) -> Vec<(&'static str, String)> {
    let mut lines = match &server.identity.role {
        Role::Primary => vec![("role", "master".to_owned()), ("connected_slaves", "0".to_owned())],
        Role::Replica { host, port } => vec![
            ("role", "slave".to_owned()),
            ("master_host", host.clone()),
            ("master_port", port.to_string()),
            ("master_link_status", if server.tie() == Tie::Up { "up" } else { "down" }.to_owned()),
            ("master_sync_in_progress", u8::from(server.tie() == Tie::Synchronizing).to_string()),
        ],
    };
    lines.push(("master_replid", server.identity.replication_id.clone()));
    lines.push(("master_repl_offset", server.identity.offset.to_string()));
    lines
}

/// `TIME`
pub fn time(server: &mut Server, _: &Call) -> Answer {
    let (seconds, micros) = (server.now / 1000, server.now % 1000 * 1000);
    Ok(Reply::List([seconds, micros].map(|part| Reply::text(part.to_string())).to_vec()))
}

/// `ROLE`
pub fn role(server: &mut Server, _: &Call) -> Answer {
    let offset = Reply::Number(server.identity.offset as i64);
    Ok(Reply::List(match &server.identity.role {
        Role::Primary => vec![Reply::word("master"), offset, Reply::List(Vec::new())],
        Role::Replica { host, port } => vec![
            Reply::word("slave"),
            Reply::text(host.clone()),
            Reply::Number(i64::from(*port)),
            Reply::word(match server.tie() {
                Tie::Up => "connected",
                Tie::Down => "connect",
                Tie::Synchronizing => "sync",
            }),
            if server.tie() == Tie::Up { offset } else { Reply::Number(-1) },
        ],
    }))
}

/// `CONFIG GET name …`: names as they are, without patterns.
pub fn config_get(server: &mut Server, call: &Call) -> Answer {
    let names = call.words[2..].iter().map(|word| shown(word).to_ascii_lowercase());
    let found = names.filter_map(|name| server.settings.get(&name).map(|value| (name, value.clone())));
    Ok(Reply::Map(found.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect()))
}

/// `CONFIG SET name value …`, of the settings that are known here.
pub fn config_set(server: &mut Server, call: &Call) -> Answer {
    let pairs = &call.words[2..];
    if pairs.len() % 2 == 1 {
        return plain("wrong number of arguments for 'config|set' command");
    }
    for pair in pairs.chunks_exact(2) {
        let name = shown(&pair[0]).to_ascii_lowercase();
        match server.settings.get_mut(&name) {
            Some(value) => *value = shown(&pair[1]),
            None => {
                server.unknown.insert(format!("the setting {name}"));
                return plain(format!("Unknown option or number of arguments for CONFIG SET - '{}'", shown(&pair[0])));
            }
        }
    }
    Ok(Reply::ok())
}

/// `EVALSHA` and its kin: nobody has loaded a script here.
pub fn no_script(server: &mut Server, call: &Call) -> Answer {
    integer(&call.words[2])?;
    let advice = if server.version.valkey { "" } else { " Please use EVAL." };
    Err(format!("NOSCRIPT No matching script.{advice}"))
}
