//! Metrics whose series belong to something that may go: an Application, a cluster.
//!
//! A thousand Applications have tens of thousands of such series, so a series costs a pointer for each of its labels
//! and a number: the values of labels are kept once for all, and the text is made when it is asked for, some owners
//! at a time.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What series belong to: namespace and name of an Application, or a cluster's URL and nothing.
pub(super) type Owner = (String, String);

/// Owners whose series are written out at once.
const OWNERS_AT_ONCE: usize = 32;
/// Texts are looked through for those that nobody uses when there are twice as many as after the last time.
const FEW_TEXTS: usize = 1024;

/// What a value says.
#[derive(Clone, Copy, Debug)]
pub(super) enum SeriesKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Label values, each kept once.
#[derive(Default)]
pub(super) struct Texts(Mutex<(HashSet<Arc<str>>, usize)>);

impl Texts {
    fn shared(&self, text: &str) -> Arc<str> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (texts, few) = &mut *guard;
        if let Some(known) = texts.get(text) {
            return Arc::clone(known);
        }
        if texts.len() >= (*few).max(FEW_TEXTS) {
            texts.retain(|text| Arc::strong_count(text) > 1);
            *few = texts.len() * 2;
        }
        let text: Arc<str> = text.into();
        texts.insert(Arc::clone(&text));
        text
    }
}

/// One series: the values of its labels, and its own.
type One = (Box<[Arc<str>]>, f64);

/// A metric and its series.
pub(super) struct Series {
    name: &'static str,
    help: &'static str,
    kind: SeriesKind,
    labels: Vec<String>,
    texts: Arc<Texts>,
    of_owner: Mutex<BTreeMap<Owner, Vec<One>>>,
}

impl Series {
    /// A metric without series. Labels are written in the order in which they are given.
    pub fn new(
        texts: &Arc<Texts>,
        kind: SeriesKind,
        name: &'static str,
        help: &'static str,
        labels: &[&str],
    ) -> Self {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Self { name, help, kind, labels, texts: Arc::clone(texts), of_owner: Mutex::default() }
    }

    /// Adds to the series of `owner` whose labels have these values.
    pub fn add(&self, owner: &Owner, values: &[&str], more: f64) {
        let mut of_owner = self.lock();
        if !of_owner.contains_key(owner) {
            of_owner.insert(owner.clone(), Vec::new());
        }
        let Some(series) = of_owner.get_mut(owner) else { return };
        let is_this = |(known, _): &&mut One| known.iter().map(AsRef::as_ref).eq(values.iter().copied());
        if let Some((_, value)) = series.iter_mut().find(is_this) {
            *value += more;
        } else {
            series.reserve_exact(1);
            series.push((self.shared(values), more));
        }
    }

    /// Gives `owner` these series, with the values of their labels, in place of those that it had.
    pub fn replace<'v>(&self, owner: &Owner, series: impl IntoIterator<Item = (&'v [&'v str], f64)>) {
        let series: Vec<One> =
            series.into_iter().map(|(values, value)| (self.shared(values), value)).collect();
        self.lock().insert(owner.clone(), series);
    }

    fn shared(&self, values: &[&str]) -> Box<[Arc<str>]> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        values.iter().map(|text| self.texts.shared(text)).collect()
    }

    /// Takes away all series of an owner.
    pub fn forget(&self, owner: &Owner) {
        self.lock().remove(owner);
    }

    /// The text of the next owners' series after `last`, and the last of these owners; `None` when there are no more.
    pub fn text_after(&self, last: Option<&Owner>) -> Option<(String, Owner)> {
        let of_owner = self.lock();
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = of_owner.range::<Owner, _>((after, Bound::Unbounded));
        let mut text = String::new();
        if last.is_none() {
            let kind = match self.kind {
                SeriesKind::Counter => "counter",
                SeriesKind::Gauge => "gauge",
            };
            let _ = write!(text, "# HELP {0} {1}\n# TYPE {0} {kind}\n", self.name, self.help);
        }
        let mut reached = None;
        for (owner, series) in rest.filter(|(_, series)| !series.is_empty()).take(OWNERS_AT_ONCE) {
            for (values, value) in series {
                self.write(&mut text, values, *value);
            }
            reached = Some(owner);
        }
        Some((text, reached?.clone()))
    }

    // Writing to a string cannot fail.
    fn write(&self, text: &mut String, values: &[Arc<str>], value: f64) {
        text.push_str(self.name);
        let mut before = '{';
        for (label, value) in self.labels.iter().zip(values) {
            let _ = write!(text, "{before}{label}=\"{}\"", Escaped(value));
            before = ',';
        }
        let _ = writeln!(text, "}} {value}");
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Owner, Vec<One>>> {
        self.of_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A label's value as the text format wants it.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            match part.char_indices().next_back() {
                Some((at, '\\')) => write!(f, "{}\\\\", part.get(..at).unwrap_or_default())?,
                Some((at, '"')) => write!(f, "{}\\\"", part.get(..at).unwrap_or_default())?,
                Some((at, '\n')) => write!(f, "{}\\n", part.get(..at).unwrap_or_default())?,
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[&str]) -> Series {
        Series::new(&Arc::default(), SeriesKind::Counter, "things_total", "Things.", labels)
    }

    fn owner(name: &str) -> Owner {
        ("argocd".to_owned(), name.to_owned())
    }

    fn lines(series: &Series) -> Vec<String> {
        let mut lines = Vec::new();
        let mut last = None;
        while let Some((text, reached)) = series.text_after(last.as_ref()) {
            lines.extend(text.lines().map(str::to_owned));
            last = Some(reached);
        }
        lines
    }

    #[test]
    fn a_series_is_counted_under_its_labels() {
        let series = series(&["a", "b"]);
        series.add(&owner("x"), &["1", "2"], 1.0);
        series.add(&owner("x"), &["1", "2"], 0.5);
        series.add(&owner("x"), &["1", "3"], 1.0);
        let expected = [
            "# HELP things_total Things.",
            "# TYPE things_total counter",
            "things_total{a=\"1\",b=\"2\"} 1.5",
            "things_total{a=\"1\",b=\"3\"} 1",
        ];
        assert_eq!(lines(&series), expected);
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let series = series(&["a"]);
        series.add(&owner("x"), &["back\\slash \"quote\"\nline"], 1.0);
        assert_eq!(lines(&series)[2], r#"things_total{a="back\\slash \"quote\"\nline"} 1"#);
    }

    #[test]
    fn every_owner_is_written_once_however_many_there_are() {
        let series = series(&["a"]);
        let count = OWNERS_AT_ONCE * 3 + 1;
        for number in 0..count {
            series.add(&owner(&number.to_string()), &[&number.to_string()], 1.0);
        }
        let lines = lines(&series);
        let distinct: HashSet<&String> = lines.iter().collect();
        assert_eq!((lines.len(), distinct.len()), (count + 2, count + 2));
    }

    #[test]
    fn a_metric_without_series_is_not_mentioned() {
        let series = series(&["a"]);
        series.add(&owner("x"), &["1"], 1.0);
        series.forget(&owner("x"));
        series.replace(&owner("y"), []);
        assert!(lines(&series).is_empty());
    }

    #[test]
    fn a_text_that_no_series_has_is_not_kept_for_ever() {
        let texts = Arc::default();
        let series = Series::new(&texts, SeriesKind::Gauge, "things", "Things.", &["a"]);
        for number in 0..FEW_TEXTS * 3 {
            series.replace(&owner("x"), [(&[&*number.to_string()][..], 1.0)]);
        }
        assert!(texts.0.lock().unwrap().0.len() <= FEW_TEXTS);
    }
}
