//! Metrics of the process itself, under the names that every Prometheus client has.
//!
//! They are read from `/proc/self` when they are asked for; on a system without it they stay 0.

use std::{fs, time::SystemTime};

use prometheus::Gauge;

use super::Make;

/// Clock ticks per second in `/proc/self/stat`, which is the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) struct ProcessMetrics {
    resident: Gauge,
    virtual_size: Gauge,
    cpu: Gauge,
    threads: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    start: Gauge,
}

impl ProcessMetrics {
    pub fn new(make: &Make<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            resident: make.float_gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            virtual_size: make
                .float_gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            cpu: make.float_gauge("process_cpu_seconds_total", "User and system CPU time in seconds.")?,
            threads: make.float_gauge("process_threads", "Threads of the process.")?,
            open_files: make.float_gauge("process_open_fds", "Open file descriptors.")?,
            max_files: make.float_gauge("process_max_fds", "The most file descriptors that may be open.")?,
            start: make
                .float_gauge("process_start_time_seconds", "When the process began, in Unix seconds.")?,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.start.set(now.as_secs_f64());
        Ok(metrics)
    }

    pub fn update(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        set(&self.resident, kibibytes(&status, "VmRSS:"));
        set(&self.virtual_size, kibibytes(&status, "VmSize:"));
        set(&self.threads, number(&status, "Threads:"));
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        set(&self.max_files, number(&limits, "Max open files"));
        let files = fs::read_dir("/proc/self/fd").map(Iterator::count);
        // One of them is the listing itself.
        set(
            &self.open_files,
            files.ok().and_then(|count| u32::try_from(count).ok()).map(|count| f64::from(count) - 1.0),
        );
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        set(&self.cpu, cpu_seconds(&stat));
    }
}

fn set(gauge: &Gauge, value: Option<f64>) {
    if let Some(value) = value {
        gauge.set(value);
    }
}

fn number(text: &str, field: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, field: &str) -> Option<f64> {
    number(text, field).map(|kibibytes| kibibytes * 1024.0)
}

/// User and system time are the 14th and 15th field; the second one, in parentheses, may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_processs_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(kibibytes("VmSize:\t 20 kB\nVmRSS:\t  10 kB\n", "VmRSS:"), Some(10240.0));
        assert_eq!(
            number("Max open files            1024     4096     files", "Max open files"),
            Some(1024.0)
        );
        assert_eq!(cpu_seconds(""), None);
    }
}
