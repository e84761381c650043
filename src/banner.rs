//! What a node says when it starts: where it listens, what it shares, and how to try it.

use crate::auth::signing::Signer;
use crate::backplane::redis::access::{Access, Files};
use crate::backplane::redis::address::{Address, Host, Place};
use crate::backplane::redis::credential::Credential;
use crate::config::{AuthMode, Serve};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The start banner, with a line break at its end.
///
/// `listen` and `admin` are the bound addresses (port 0 resolved), `backplane` and `follow` are the names from
/// [`Facts`](crate::backplane::Facts).
pub fn banner(
    settings: &Serve,
    listen: &[SocketAddr],
    admin: SocketAddr,
    backplane: &str,
    follow: Option<&str>,
) -> String {
    let mut text = format!("Fantail {}\n", env!("CARGO_PKG_VERSION"));
    let scheme = if settings.transport.tls().is_some() { "https" } else { "http" };
    for address in listen {
        let _ = writeln!(text, "  clients     {scheme}://{address}/events/CHANNEL");
    }
    let _ = writeln!(text, "  admin       http://{admin} with the console, /livez /readyz /metrics /status");
    let _ = writeln!(text, "  backplane   {}", backplane_line(settings, backplane, follow));
    let _ = writeln!(text, "  publishing  {}", publishing_line(settings, listen));
    let client = listen.first().copied().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    let url = format!("{scheme}://{}/events/demo", reachable(client));
    let token = bearer(settings, "subscribe");
    let _ = writeln!(text, "Try it, in two terminals:\n  curl -N {token}{url}\n  {}", publish_line(settings, &url));
    text
}

/// The part of a line that shows a token for the channel `demo`, made on the spot; empty where tokens are not asked for.
fn bearer(settings: &Serve, may: &str) -> String {
    let auth = &settings.auth;
    if auth.mode != AuthMode::Jwt {
        return String::new();
    }
    let secret = auth.jwt_key.iter().find(|file| Signer::from_file(file, auth.jwt_algorithm).is_ok());
    // With a public key, and with a key server, this machine need not have what signs.
    let key = secret.map_or("PRIVATE_KEY".into(), |file| word(&file.display().to_string()));
    let algorithm = auth.jwt_algorithm.map(|algorithm| format!("{algorithm:?}"));
    let claim = if may == "subscribe" { &auth.claim_subscribe } else { &auth.claim_publish };
    let flags = [
        ("--jwt-algorithm", algorithm.as_deref()),
        ("--jwt-issuer", auth.jwt_issuer.first().map(String::as_str)),
        ("--jwt-audience", auth.jwt_audience.first().map(String::as_str)),
        (&*format!("--claim-{may}"), Some(claim.as_str()).filter(|claim| *claim != format!("fantail.{may}"))),
    ];
    let flags: String = flags.iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", word((*value)?)))).collect();
    format!("-H \"Authorization: Bearer $(fantail token --key {key} --{may} demo{flags})\" ")
}

fn backplane_line(settings: &Serve, name: &str, follow: Option<&str>) -> String {
    if settings.redis.is_none() {
        return "this process's memory: one node, and a restart forgets all (--redis URL makes a cluster)".into();
    }
    match follow {
        Some(follow) => format!("{name}, keys {}CHANNEL, followed by {follow}", settings.key_prefix),
        None => format!("{name}, keys {}CHANNEL, not reached yet", settings.key_prefix),
    }
}

fn publishing_line(settings: &Serve, listen: &[SocketAddr]) -> &'static str {
    match settings.may_publish() {
        true if settings.auth.mode != AuthMode::None => "over HTTP: allowed to those whom --auth grants it",
        true if listen.iter().all(|address| address.ip().is_loopback()) => {
            "over HTTP: allowed (--publish off forbids it)"
        }
        true => "over HTTP: allowed to EVERYBODY who reaches these addresses (--publish off forbids it)",
        false => "over HTTP: off (--publish on allows it)",
    }
}

/// The line that publishes to the channel `demo`.
fn publish_line(settings: &Serve, url: &str) -> String {
    if settings.may_publish() {
        return format!("curl -d 'hello' {}{url}", bearer(settings, "publish"));
    }
    let address = settings.redis.as_ref().and_then(|url| settings.redis_access.settings(url).address().ok());
    let Some(Address { place, access, database, .. }) = address else { return String::new() };
    let (secret, login) = login(&access);
    let (scheme, tls) = access.tls.as_ref().map_or(("redis", String::new()), |files| ("rediss", tls(files)));
    let db = if database > 0 { format!("/{database}") } else { String::new() };
    let at = |host: &Host| format!("-u {scheme}://{host}");
    let server = match &place {
        Place::Server(host) => format!("{}{db}", at(host)),
        Place::Unix(path) => format!("-s {} -n {database}", word(&path.display().to_string())),
        Place::Cluster(hosts) => format!("-c {}", at(&hosts[0])),
        Place::Sentinel(hosts, name) => {
            let name = quoted(name);
            let ask = format!("redis-cli{tls} {} SENTINEL GET-MASTER-ADDR-BY-NAME {name}", at(&hosts[0]));
            format!("-u {scheme}://$({ask} | paste -sd:){db}")
        }
    };
    format!("{secret}redis-cli{tls}{login} {server} XADD '{}demo' '*' data hello", settings.key_prefix)
}

/// How `redis-cli` is told who one is; the password stays for the reader to fill in.
fn login(access: &Access) -> (&'static str, String) {
    let user = access.username.as_ref().and_then(Credential::text).map(|user| format!(" --user {}", quoted(user)));
    let user = user.unwrap_or_default();
    if access.has_credentials() { ("REDISCLI_AUTH=PASSWORD ", user) } else { ("", user) }
}

/// A word of a shell's command, in quotes where it needs them.
fn word(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    if plain { text.to_owned() } else { quoted(text) }
}

/// A word of a shell's line, whatever stands in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn tls(files: &Files) -> String {
    let flags = [("--cacert", &files.ca), ("--cert", &files.cert), ("--key", &files.key)];
    let path = |file: &Path| quoted(&file.display().to_string());
    let given = flags.iter().filter_map(|(flag, file)| Some(format!(" {flag} {}", path(file.as_ref()?))));
    given.collect()
}

/// An address that a program on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::settings_of;

    fn of(flags: &[&str], listen: &str, backplane: &str, follow: Option<&str>) -> String {
        let settings = settings_of(flags).expect("good flags");
        banner(&settings, &[listen.parse().unwrap()], "127.0.0.1:9090".parse().unwrap(), backplane, follow)
    }

    #[test]
    fn a_trial_shows_both_curl_lines() {
        let text = of(&[], "127.0.0.1:8080", "memory", Some("memory"));
        assert!(text.contains("\n  curl -N http://127.0.0.1:8080/events/demo\n"), "{text}");
        assert!(text.ends_with("\n  curl -d 'hello' http://127.0.0.1:8080/events/demo\n"), "{text}");
        assert!(text.contains("over HTTP: allowed (") && text.contains("memory"), "{text}");
    }

    #[test]
    fn with_redis_and_publishing_off_the_second_line_is_xadd_and_no_password_shows() {
        let flags = ["--redis", "redis://u:secret@10.0.0.1:6379/2", "--listen", "0.0.0.0:80", "--key-prefix", "x:"];
        let text = of(&flags, "0.0.0.0:80", "redis://10.0.0.1:6379/2", Some("tracking"));
        assert!(text.contains("curl -N http://127.0.0.1:80/events/demo\n"), "{text}");
        let line =
            "REDISCLI_AUTH=PASSWORD redis-cli --user 'u' -u redis://10.0.0.1:6379/2 XADD 'x:demo' '*' data hello\n";
        assert!(text.ends_with(line), "{text}");
        assert!(text.contains("keys x:CHANNEL, followed by tracking") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn every_kind_of_redis_has_a_line_of_its_own() {
        let line = |url: &str, more: &[&str]| {
            let flags = [&["--redis", url][..], more].concat();
            of(&flags, "127.0.0.1:80", url, None).lines().last().unwrap().trim().to_owned()
        };
        let add = "XADD 'sse:demo' '*' data hello";
        assert_eq!(line("unix:/r.sock?db=3", &[]), format!("redis-cli -s /r.sock -n 3 {add}"));
        assert_eq!(line("redis-cluster://a,b", &[]), format!("redis-cli -c -u redis://a:6379 {add}"));
        let files = ["--redis-ca", "/ca", "--redis-cert", "/c", "--redis-key", "/k"];
        let tls = "--cacert '/ca' --cert '/c' --key '/k'";
        assert_eq!(line("rediss://[::1]", &files), format!("redis-cli {tls} -u rediss://[::1]:6379 {add}"));
        let ask = "redis-cli -u redis://a:26379 SENTINEL GET-MASTER-ADDR-BY-NAME 'm' | paste -sd:";
        assert_eq!(line("redis-sentinel://a,b/m/2", &[]), format!("redis-cli -u redis://$({ask})/2 {add}"));
    }

    #[test]
    fn with_tokens_both_lines_make_one() {
        let flags = ["--auth", "jwt", "--jwt-key", "/no key", "--jwt-issuer", "a b", "--claim-publish", "p"];
        let text = of(&flags, "127.0.0.1:80", "memory", Some("memory"));
        let line = |rest: &str| format!("Bearer $(fantail token --key PRIVATE_KEY {rest})\" http://127.0.0.1:80/");
        assert!(text.contains(&line("--subscribe demo --jwt-issuer 'a b'")), "{text}");
        assert!(text.contains(&line("--publish demo --jwt-issuer 'a b' --claim-publish p")), "{text}");
    }

    #[test]
    fn publishing_that_is_open_to_a_network_is_said_aloud() {
        let text = of(&["--listen", "0.0.0.0:80"], "0.0.0.0:80", "memory", None);
        assert!(text.contains("EVERYBODY"), "{text}");
        let flags = ["--listen", "0.0.0.0:80", "--auth", "forward", "--forward-url", "http://app"];
        let text = of(&flags, "0.0.0.0:80", "memory", None);
        assert!(text.contains("--auth grants it") && !text.contains("EVERYBODY"), "{text}");
    }
}
