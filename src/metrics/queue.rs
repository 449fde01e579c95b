//! Metrics of the queues that Applications wait in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use super::{Make, whole};

/// Queue and work times: from 10 µs to about 10 min, ten times as long each, as Kubernetes' own.
const BUCKETS: &[f64] = &[1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0];

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Applications to compare.
    Reconciliation,
    /// Applications to sync.
    Operation,
    /// Projects.
    Project,
}

impl Queue {
    const ALL: [Self; 3] = [Self::Reconciliation, Self::Operation, Self::Project];

    fn label(self) -> &'static str {
        match self {
            Self::Reconciliation => "app_reconciliation_queue",
            Self::Operation => "app_operation_processing_queue",
            Self::Project => "project_reconciliation_queue",
        }
    }
}

pub(super) struct QueueMetrics {
    depth: IntGaugeVec,
    adds: IntCounterVec,
    wait: HistogramVec,
    work: HistogramVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    retries: IntCounterVec,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    next: u64,
    since: HashMap<u64, (Queue, Instant)>,
}

/// A piece of work in progress; it ends when this is dropped.
pub struct Work {
    metrics: Arc<QueueMetrics>,
    id: u64,
}

impl QueueMetrics {
    pub fn new(make: &Make<'_>) -> Result<Self, prometheus::Error> {
        let name = &["name"];
        let metrics = Self {
            depth: make.gauges("workqueue_depth", "How many items wait.", name)?,
            adds: make.counters("workqueue_adds_total", "Items that were added.", name)?,
            wait: make.histograms(
                "workqueue_queue_duration_seconds",
                "Seconds that items waited.",
                BUCKETS,
                name,
            )?,
            work: make.histograms(
                "workqueue_work_duration_seconds",
                "Seconds that work took.",
                BUCKETS,
                name,
            )?,
            unfinished: make.float_gauges(
                "workqueue_unfinished_work_seconds",
                "Seconds of all work in progress together.",
                name,
            )?,
            longest: make.float_gauges(
                "workqueue_longest_running_processor_seconds",
                "Seconds of the longest work in progress.",
                name,
            )?,
            retries: make.counters("workqueue_retries_total", "Repetitions after failures.", name)?,
            running: Mutex::default(),
        };
        for queue in Queue::ALL {
            metrics.set_depth(queue, 0);
        }
        Ok(metrics)
    }

    pub fn set_depth(&self, queue: Queue, depth: usize) {
        self.depth.with_label_values(&[queue.label()]).set(whole(depth));
    }

    pub fn added(&self, queue: Queue) {
        self.adds.with_label_values(&[queue.label()]).inc();
    }

    pub fn retried(&self, queue: Queue) {
        self.retries.with_label_values(&[queue.label()]).inc();
    }

    pub fn begin(metrics: &Arc<Self>, queue: Queue, waited: Duration) -> Work {
        metrics.wait.with_label_values(&[queue.label()]).observe(waited.as_secs_f64());
        let mut running = metrics.lock();
        let id = running.next;
        running.next += 1;
        running.since.insert(id, (queue, Instant::now()));
        Work { metrics: Arc::clone(metrics), id }
    }

    /// Brings the metrics of work in progress up to date.
    pub fn update(&self) {
        let running = self.lock();
        for queue in Queue::ALL {
            let of_queue = running.since.values().filter(|(of, _)| *of == queue);
            let seconds: Vec<f64> = of_queue.map(|(_, since)| since.elapsed().as_secs_f64()).collect();
            self.unfinished.with_label_values(&[queue.label()]).set(seconds.iter().sum());
            self.longest.with_label_values(&[queue.label()]).set(seconds.into_iter().fold(0.0, f64::max));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let ended = self.metrics.lock().since.remove(&self.id);
        if let Some((queue, since)) = ended {
            self.metrics.work.with_label_values(&[queue.label()]).observe(since.elapsed().as_secs_f64());
        }
    }
}
