//! What the kernel and the runtime say of this process, for `/metrics`: read when it is asked for, kept by nobody.
//!
//! Written as text, beside the recorder's: its counters are whole numbers, and seconds of processor time are not.

use std::fmt::Write as _;
use std::fs;

use tokio::runtime::{Handle, RuntimeMetrics};

crate::metrics! {
    /// Processor time used by this process.
    Counter CPU = "process_cpu_seconds_total" in "seconds";
    /// Memory of this process that is in RAM.
    Gauge RESIDENT = "process_resident_memory_bytes" in "bytes";
    /// Address space of this process.
    Gauge VIRTUAL = "process_virtual_memory_bytes" in "bytes";
    /// Files and sockets that this process has open.
    Gauge FILES = "process_open_fds" in "descriptors";
    /// Files and sockets that this process may have open.
    Gauge FILES_MAX = "process_max_fds" in "descriptors";
    /// Threads of this process.
    Gauge THREADS = "process_threads" in "threads";
    /// When this process started, in seconds since 1970.
    Gauge STARTED = "process_start_time_seconds" in "seconds";
    /// Threads that run tasks.
    Gauge WORKERS = "terse_runtime_workers" in "threads";
    /// Tasks that are alive: about one a connection, and some tens.
    Gauge TASKS = "terse_runtime_tasks" in "tasks";
    /// Tasks that are ready and wait for a thread, without those that wait in a thread's own queue.
    Gauge QUEUE = "terse_runtime_queue_len" in "tasks";
    /// Time that the threads were busy with tasks: its rate is at most their number.
    Counter BUSY = "terse_runtime_busy_seconds_total" in "seconds";
}

/// Ticks of a second in `/proc/PID/stat`: part of Linux's interface, whatever the kernel counts in.
const TICKS_PER_S: f64 = 100.0;

/// Appends what can be read; what cannot is left out.
pub(crate) fn render(text: &mut String) {
    let values = of_kernel().into_iter().chain(Handle::try_current().ok().into_iter().flat_map(|runtime| of_runtime(&runtime.metrics())));
    for (name, value) in values {
        let Some(metric) = METRICS.iter().find(|metric| metric.name() == name) else { continue };
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}\n{name} {value}\n", metric.help(), metric.kind());
    }
}

type Value = (&'static str, f64);

fn of_kernel() -> Vec<Value> {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (stat, status, limits) = (read("stat"), read("status"), read("limits"));
    let mut values = Vec::new();
    // Behind the name in parentheses, which may hold anything; the first field there is the third.
    let fields: Vec<f64> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().map(|it| it.parse().unwrap_or(0.0)).collect();
    let field = |number: usize| number.checked_sub(3).and_then(|at| fields.get(at)).copied();
    values.extend(field(14).zip(field(15)).map(|(user, system)| (CPU, (user + system) / TICKS_PER_S)));
    values.extend(kib(&status, "VmRSS:").map(|bytes| (RESIDENT, bytes)));
    values.extend(kib(&status, "VmSize:").map(|bytes| (VIRTUAL, bytes)));
    // The folder itself is open while it is read.
    values.extend(fs::read_dir("/proc/self/fd").ok().map(|files| (FILES, count(files.count().saturating_sub(1)))));
    values.extend(number_after(&limits, "Max open files").map(|files| (FILES_MAX, files)));
    values.extend(field(20).map(|threads| (THREADS, threads)));
    let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| number_after(&stat, "btime"));
    values.extend(booted.zip(field(22)).map(|(booted, after)| (STARTED, booted + after / TICKS_PER_S)));
    values
}

fn of_runtime(runtime: &RuntimeMetrics) -> [Value; 4] {
    let busy = (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum();
    [
        (WORKERS, count(runtime.num_workers())),
        (TASKS, count(runtime.num_alive_tasks())),
        (QUEUE, count(runtime.global_queue_depth())),
        (BUSY, busy),
    ]
}

/// The number in the line that begins with `start`; `unlimited` is infinite.
fn number_after(text: &str, start: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    let number = rest.split_whitespace().next()?;
    if number == "unlimited" { Some(f64::INFINITY) } else { number.parse().ok() }
}

fn kib(status: &str, start: &str) -> Option<f64> {
    number_after(status, start).map(|kib| kib * 1_024.0)
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_of_the_list_is_told_with_type_and_help() {
        let mut text = String::new();
        render(&mut text);
        for metric in METRICS {
            let name = metric.name();
            assert!(text.contains(&format!("# TYPE {name} {}\n", metric.kind())), "{name} in {text}");
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{name} {value}");
        }
    }

    #[test]
    fn what_the_kernel_says_is_plausible() {
        let values = of_kernel();
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).unwrap().1;
        assert!(value(RESIDENT) > 1e5 && value(VIRTUAL) >= value(RESIDENT));
        assert!(value(FILES) >= 3.0 && value(FILES_MAX) >= value(FILES));
        assert!(value(THREADS) >= 1.0);
        assert!(value(STARTED) > 1.7e9);
    }

    #[test]
    fn a_limit_may_be_none() {
        assert_eq!(number_after("Max open files   unlimited  unlimited  files\n", "Max open files"), Some(f64::INFINITY));
        assert_eq!(number_after("", "Max open files"), None);
    }
}
