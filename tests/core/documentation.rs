//! docs/reference against the binary: every setting with its variable and default, every metric, parameter and event.

use crate::support::program;
use fantail::auth::token;
use fantail::control_event::NAMES;
use fantail::problem::Code;
use fantail::subscription::Parameter;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;

const FLAGS: &str = include_str!("../../docs/reference/flags.md");
const ERRORS: &str = include_str!("../../docs/reference/errors.md");
const HTTP: &str = include_str!("../../docs/reference/http.md");
const METRICS: &str = include_str!("../../docs/reference/metrics.md");
const STREAM: &str = include_str!("../../docs/reference/stream.md");

/// What is said of one flag: its group, its environment variable and its default.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    group: String,
    variable: String,
    default: String,
}

/// The cells of a table row, without the backquotes around a whole cell.
fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect()
}

fn documented_settings() -> BTreeMap<String, Setting> {
    let mut group = String::new();
    let mut settings = BTreeMap::new();
    for line in FLAGS.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            group = heading.to_owned();
        } else if line.starts_with("| `--") {
            let cells = cells(line);
            let name = cells[0].split(' ').next().expect("a flag").to_owned();
            let (variable, default) = (cells[1].to_owned(), cells[2].to_owned());
            settings.insert(name, Setting { group: group.clone(), variable, default });
        }
    }
    settings
}

fn help() -> String {
    let output = program::fantail().args(["serve", "--help"]).output().expect("the binary");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

/// Reads `--help`: a line with a group, a line that begins with a flag, and `[env: …]` and `[default: …]` below it.
fn settings_in_help() -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    let (mut group, mut flag) = (String::new(), String::new());
    for line in help().lines() {
        if let Some(heading) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            group = heading.to_owned();
        }
        let line = line.trim();
        if line.starts_with("--") || line.starts_with("-h, ") {
            flag = line.split(' ').find(|word| word.starts_with("--")).expect("a long flag").to_owned();
            let (variable, default) = (String::new(), "–".into());
            settings.insert(flag.clone(), Setting { group: group.clone(), variable, default });
        }
        for (key, value) in line.split('[').filter_map(|part| part.trim().strip_suffix(']')?.split_once(": ")) {
            let setting = settings.get_mut(&flag).expect("a flag above");
            match key {
                "env" => setting.variable = value.to_owned(),
                "default" => setting.default = value.to_owned(),
                _ => {}
            }
        }
    }
    settings.remove("--help");
    settings
}

#[test]
fn the_settings_table_is_what_the_binary_takes() {
    let (documented, real) = (documented_settings(), settings_in_help());
    assert!(real.len() > 25, "the help was read: {real:?}");
    for (flag, setting) in &real {
        assert_eq!(documented.get(flag), Some(setting), "flags.md, row of {flag}");
    }
    let unknown: Vec<_> = documented.keys().filter(|flag| !real.contains_key(*flag)).collect();
    assert!(unknown.is_empty(), "flags.md names flags that do not exist: {unknown:?}");
}

/// The rows of the table with this head, as cells.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let mut lines = HTTP.lines();
    assert!(lines.any(|line| line == head), "http.md has no table {head:?}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn the_parameters_table_is_what_a_subscription_takes() {
    let rows = table("| parameter | meaning |");
    let documented: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    let names = Parameter::ALL.map(Parameter::name);
    assert_eq!(documented, names.into_iter().chain([token::PARAMETER]).collect(), "http.md on the left");
}

#[test]
fn the_table_of_events_is_what_nodes_tell() {
    let documented: Vec<(&str, &str)> =
        table("| event | sent when | data |").iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(documented, NAMES, "http.md on the left");
    let said = STREAM.split("event: fantail.").skip(1);
    for name in said.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default()) {
        assert!(NAMES.iter().any(|(known, _)| known.strip_prefix("fantail.") == Some(name)), "fantail.{name}");
    }
}

#[test]
fn the_errors_table_is_what_clients_get() {
    let rows = ERRORS.lines().filter(|line| line.starts_with("| ") && line.contains('`')).map(cells);
    let documented: BTreeSet<(String, String)> = rows.map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let known = Code::ALL.map(|code| (code.status().as_u16().to_string(), code.as_str().to_owned()));
    assert_eq!(documented, known.into_iter().collect(), "errors.md on the left");
}

#[test]
fn every_setting_has_the_variable_of_its_name() {
    for (flag, setting) in settings_in_help() {
        let expected = format!("FANTAIL_{}", flag.trim_start_matches('-').to_ascii_uppercase().replace('-', "_"));
        assert_eq!(setting.variable, expected);
    }
}

/// A node that is ended with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a node on ports that the system chooses; returns it and the admin address from its banner.
fn node() -> (Node, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = program::fantail();
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
    let node = Node(command.spawn().expect("the binary"));
    // The builder holds the pipe's other end; without it the reading ends if the node does.
    drop(command);
    let mut seen = String::new();
    let mut lines = BufReader::new(reader).lines();
    loop {
        let line = lines.next().and_then(Result::ok).unwrap_or_else(|| panic!("no admin address in: {seen}"));
        if let Some(address) = line.trim().strip_prefix("admin ").and_then(|rest| rest.trim().strip_prefix("http://")) {
            let address = address.split(' ').next().expect("an address").to_owned();
            // The node must never wait for somebody to read its log.
            std::thread::spawn(move || lines.for_each(drop));
            return (node, address);
        }
        seen.push_str(&line);
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin listener");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_metrics_table_is_what_a_node_exposes() {
    let (_node, admin) = node();
    let exposed: BTreeSet<String> = get(&admin, "/metrics")
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE fantail_"))
        .map(|rest| format!("fantail_{}", rest.split(' ').next().expect("a name")))
        .collect();
    let rows = METRICS.lines().filter(|line| line.starts_with("| `fantail_"));
    let documented: BTreeSet<String> =
        rows.map(|row| cells(row)[0].split('{').next().expect("a name").to_owned()).collect();
    assert_eq!(documented, exposed, "metrics.md on the left, /metrics on the right");
}
