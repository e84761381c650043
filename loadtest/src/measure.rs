//! What processes use, from /proc, and percentiles.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs;

/// CPU time of a process in nanoseconds, all its living threads; the scheduler's own account, not sampled.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let mut sum = 0;
    for task in tasks {
        // A thread may end meanwhile.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// CPU time of several processes.
pub fn cpu_ns_of(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|&pid| cpu_ns(pid)).sum()
}

/// Resident and anonymous memory of a process in KiB, exact (walks its page tables).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    pub rss: u64,
    pub anonymous: u64,
}

/// Memory of several processes together.
pub fn memory_of(pids: &[u32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid}"))?;
        sum.rss += field(&text, "Rss:").unwrap_or(0);
        sum.anonymous += field(&text, "Anonymous:").unwrap_or(0);
    }
    Ok(sum)
}

/// Resident memory in KiB as the kernel counts it on the fly; cheap.
pub fn resident_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * 4)
}

/// What the whole machine uses in KiB: everything but free memory, buffers and page cache. `MemAvailable` counts
/// socket inodes as reclaimable and so shows too little.
pub fn machine_used_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let value = |name| field(&text, name).unwrap_or(0);
    Ok(value("MemTotal:").saturating_sub(value("MemFree:") + value("Buffers:") + value("Cached:")))
}

/// Ticks of all cores since the machine started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    pub fn now() -> Result<Ticks> {
        Ok(Ticks::of(&fs::read_to_string("/proc/stat")?))
    }

    /// Of the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
    fn of(stat: &str) -> Ticks {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        Ticks { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// Which share the host gave to other machines since an earlier reading, in percent.
    pub fn stolen_percent(&self, earlier: &Ticks) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64 * 100.0
    }
}

/// `name:   123 kB` in a /proc file.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The children of a process (nginx's workers).
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A distribution in microseconds, as pairs of value and count in ascending order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Distribution {
    pub pairs: Vec<(u64, u64)>,
}

impl Distribution {
    /// Of pairs in any order, values repeated or not.
    pub fn of(pairs: &[(u64, u64)]) -> Distribution {
        let mut sums = std::collections::BTreeMap::new();
        for &(value, count) in pairs {
            *sums.entry(value).or_insert(0) += count;
        }
        Distribution { pairs: sums.into_iter().collect() }
    }

    pub fn count(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.1).sum()
    }

    /// The smallest value that is not below `share` (0 to 1) of all, in milliseconds; 0 if there is none.
    pub fn percentile(&self, share: f64) -> f64 {
        let due = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for &(value, count) in &self.pairs {
            seen += count;
            if seen >= due {
                return value as f64 / 1_000.0;
            }
        }
        0.0
    }
}

/// The middle of some numbers, of an even count the lower middle's mean with the upper; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let d = Distribution::of(&[(3_000, 1), (1_000, 98), (2_000, 1)]);
        assert_eq!((d.percentile(0.5), d.percentile(0.98), d.percentile(0.99)), (1.0, 1.0, 2.0));
        assert_eq!((d.percentile(0.991), d.percentile(1.0), d.count()), (3.0, 3.0, 100));
        assert_eq!(Distribution::of(&[(5, 1), (5, 2)]).pairs, [(5, 3)]);
        assert_eq!(Distribution::default().percentile(0.5), 0.0);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn what_the_host_took() {
        let before = Ticks::of("cpu  10 0 10 60 0 0 10 10 5 0\ncpu0 1 1 1 1 1 1 1 1\n");
        let after = Ticks::of("cpu  20 0 10 140 0 0 10 20 5 0\n");
        assert_eq!(after.stolen_percent(&before), 10.0);
        assert_eq!(before.stolen_percent(&after), 0.0);
        assert!(Ticks::now().unwrap().all > 0);
    }

    #[test]
    fn reads_its_own_process() {
        let own = std::process::id();
        assert!(memory_of(&[own]).unwrap().rss > 100);
        assert!(cpu_ns(own).unwrap() > 0);
        assert!(cpu_ns(u32::MAX).is_err());
    }
}
