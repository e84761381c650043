//! Where and with what it was measured.

use std::fmt;
use std::process::Command;

/// The machine and the versions of what ran on it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Machine {
    pub date: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub commit: String,
    pub versions: Vec<String>,
}

impl Machine {
    pub fn here() -> Machine {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
        let versions = [
            first_line("rustc", &["--version"]),
            first_line("redis-server", &["--version"]),
            first_line("nginx", &["-v"]),
        ];
        Machine {
            date: first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default(),
            cpu: cpu.map_or("unknown CPU".into(), |(_, name)| name.to_owned()),
            cores: crate::process::cores(),
            memory_gib: kib.div_ceil(1024 * 1024),
            kernel: first_line("uname", &["-sr"]).unwrap_or_default(),
            commit: first_line("git", &["describe", "--always", "--dirty"]).unwrap_or_else(|| "unknown".into()),
            versions: versions.into_iter().flatten().collect(),
        }
    }

    #[cfg(test)]
    pub fn for_tests() -> Machine {
        let text = String::from;
        Machine {
            date: text("today"),
            cpu: text("C"),
            cores: 2,
            memory_gib: 1,
            kernel: text("K"),
            commit: text("c0"),
            versions: vec![],
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; commit {}; {} cores, {}, {} GiB",
            self.date, self.commit, self.cores, self.cpu, self.memory_gib
        )?;
        write!(f, "; {}", self.kernel)?;
        self.versions.iter().try_for_each(|version| write!(f, "; {version}"))
    }
}

/// The first line that a program prints, on either stream.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let bytes = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&bytes).lines().next().map(str::to_owned)
}
