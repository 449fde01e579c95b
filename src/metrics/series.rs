//! A metric whose series belong to something that may go: an Application, the state of a cluster.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::core::{MetricVec, MetricVecBuilder};

/// What series belong to: namespace and name of an Application, or a cluster's URL and nothing.
pub(super) type Owner = (String, String);

/// A metric with labels.
pub(super) trait Labelled {
    /// One of its series.
    type Metric;

    /// The series with these label values.
    fn with(&self, values: &[&str]) -> Self::Metric;

    /// Takes a series away.
    fn remove(&self, values: &[String]);
}

impl<B: MetricVecBuilder> Labelled for MetricVec<B> {
    type Metric = B::M;

    fn with(&self, values: &[&str]) -> B::M {
        self.with_label_values(values)
    }

    fn remove(&self, values: &[String]) {
        // It fails only for a series that is gone already.
        let _ = self.remove_label_values(values);
    }
}

/// A metric with labels, and which of its series belong to whom.
pub(super) struct Series<L> {
    metric: L,
    of_owner: Mutex<HashMap<Owner, HashSet<Vec<String>>>>,
}

impl<L: Labelled> Series<L> {
    pub fn new(metric: L) -> Self {
        Self { metric, of_owner: Mutex::default() }
    }

    /// The series with these label values, which belongs to `owner`.
    pub fn with(&self, owner: &Owner, values: &[&str]) -> L::Metric {
        let owned: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        self.lock().entry(owner.clone()).or_default().insert(owned);
        self.metric.with(values)
    }

    /// Takes away all series of an owner.
    pub fn forget(&self, owner: &Owner) {
        for values in self.lock().remove(owner).unwrap_or_default() {
            self.metric.remove(&values);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, HashSet<Vec<String>>>> {
        self.of_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
