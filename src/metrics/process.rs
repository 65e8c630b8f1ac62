//! The process in numbers, as Linux tells them in `/proc/self`.
//!
//! Invariant: what cannot be read is left out, never 0. Read by hand: the crates for it turn on features of crates that the engine
//! shares, or need another allocator's view.

use std::fmt;
use std::fs;

use super::catalogue::*;
use super::exposition::{Exposition, Value};

/// Clock ticks per second in `/proc`: Linux shows 100 to programs on every architecture that the hub runs on.
const TICKS: f64 = 100.0;

/// What `/proc` says of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    started_at: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    threads: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

pub(super) fn expose(out: &mut Exposition<'_>) -> fmt::Result {
    let p = Process::read();
    out.family(&CPU, p.cpu_seconds.map(|v| (Vec::new(), Value::Amount(v))))?;
    out.known(&RESIDENT, p.resident_bytes)?;
    out.known(&VIRTUAL, p.virtual_bytes)?;
    out.known(&FDS, p.open_fds)?;
    out.known(&FDS_MOST, p.max_fds)?;
    out.known(&STARTED, p.started_at)?;
    out.known(&THREADS, p.threads)?;
    let words = vec![env!("CARGO_PKG_VERSION").into(), std::env::consts::OS.into(), std::env::consts::ARCH.into()];
    out.family(&BUILD, [(words, Value::Info)])
}

impl Process {
    fn read() -> Process {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let files = fs::read_dir("/proc/self/fd");
        let stat = text("/proc/self/stat");
        let booted = line(&text("/proc/stat"), "btime ");
        Process {
            open_fds: files.ok().map(|files| files.count() as f64),
            ..Process::of(&stat, &text("/proc/self/status"), &text("/proc/self/limits"), booted)
        }
    }

    fn of(stat: &str, status: &str, limits: &str, booted: Option<f64>) -> Process {
        // The name in parentheses may hold anything, blanks and parentheses included. After it comes field 3.
        let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok().map(|n| n / TICKS);
        let kib = |name: &str| line(status, name).map(|n| n * 1024.0);
        Process {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, kernel)| user + kernel),
            started_at: ticks(22).zip(booted).map(|(after, booted)| booted + after),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            threads: line(status, "Threads:"),
            open_fds: None,
            max_fds: line(limits, "Max open files"),
        }
    }
}

/// The first number of the line that begins so.
fn line(text: &str, begins: &str) -> Option<f64> {
    let rest = text.lines().find_map(|l| l.strip_prefix(begins))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read_whatever_the_program_is_called() {
        let stat = "7 (a ) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 1 2 3";
        let status = "Name:\tkoh\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n";
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 4096       files\n";
        let process = Process::of(stat, status, limits, Some(1000.0));
        let wanted = Process {
            cpu_seconds: Some(3.0),
            started_at: Some(1123.45),
            resident_bytes: Some(1_048_576.0),
            virtual_bytes: Some(2_097_152.0),
            threads: Some(9.0),
            open_fds: None,
            max_fds: Some(1024.0),
        };
        assert_eq!(process, wanted);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        assert_eq!(Process::of("", "", "Max open files  unlimited  unlimited", None), Process::default());
    }
}
