//! Where Skiff and Argo CD judge an Application differently.
//!
//! ```text
//! what Skiff found ─┐
//!                   ├─▶ equal │ different │ doubtful │ not comparable
//! Argo CD's status ─┘
//! ```
//!
//! Only verdicts on the same are compared: the same sources at the same revisions, while nothing is being synced or
//! deleted. Whatever else differs is a matter of time and is looked at again when Argo CD writes its next status.
//! Without a dry run some differences between declared and live objects are guesses; a verdict that hangs on guesses
//! alone is doubtful.

use std::{collections::BTreeMap, fmt::Display};

use jiff::Timestamp;

use crate::{
    api::{
        Application, ApplicationCondition, ApplicationSource, ApplicationStatus, ComparedTo,
        HealthStatusCode, ResourceStatus, SyncStatusCode, names, refresh,
    },
    object::ObjectKey,
};

/// The errors that a comparison shows as conditions.
const ERRORS: &[&str] =
    &[names::CONDITION_INVALID_SPEC_ERROR, names::CONDITION_COMPARISON_ERROR, names::CONDITION_UNKNOWN_ERROR];
/// Fields that are named of an object that differs from what is declared.
const FIELDS: usize = 5;

/// How two verdicts on an Application compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Agreement {
    /// They are different.
    Different,
    /// They are different if what Skiff found without a dry run is right.
    Doubtful,
    /// They are not about the same, or one of them is not there yet.
    NotComparable,
    /// They are the same.
    Equal,
}

impl Agreement {
    /// All of them, what matters most first.
    pub(super) const ALL: [Self; 4] = [Self::Different, Self::Doubtful, Self::NotComparable, Self::Equal];

    /// The word for it in metrics and in the report's counts.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::Doubtful => "doubtful",
            Self::NotComparable => "notComparable",
            Self::Equal => "equal",
        }
    }
}

/// What Skiff found.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    /// The commit of each source; empty where that did not become known.
    pub(super) revisions: Vec<String>,
    pub(super) sync: SyncStatusCode,
    pub(super) health: HealthStatusCode,
    pub(super) rows: Vec<ResourceStatus>,
    pub(super) conditions: Vec<ApplicationCondition>,
    /// The fields in which objects differ from what is declared, where no dry run has settled that.
    pub(super) guessed: BTreeMap<ObjectKey, Vec<String>>,
    /// Why other objects are out of sync, which is certain.
    pub(super) known: BTreeMap<ObjectKey, &'static str>,
    /// Since when it could not be compared, where it could not.
    pub(super) failing_since: Option<Timestamp>,
    /// What whoever migrates should know of the Application, whatever the verdicts are.
    pub(super) notes: Vec<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What differs: `sync status`, or an object and what of it.
    pub(super) of: String,
    pub(super) skiff: String,
    pub(super) argo_cd: String,
    /// What Skiff's side rests on.
    pub(super) because: Vec<String>,
    is_guess: bool,
}

impl Difference {
    pub(super) fn new(of: impl Into<String>, skiff: &dyn Display, argo_cd: &dyn Display) -> Self {
        let (skiff, argo_cd) = (skiff.to_string(), argo_cd.to_string());
        Self { of: of.into(), skiff, argo_cd, because: Vec::new(), is_guess: false }
    }
}

/// What became of one comparison of verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) agreement: Agreement,
    /// The revisions that were compared, as far as they are known.
    pub(super) revisions: Vec<String>,
    pub(super) compared_at: Timestamp,
    /// Why it is not comparable.
    pub(super) why: String,
    pub(super) differences: Vec<Difference>,
    pub(super) notes: Vec<String>,
}

impl Outcome {
    /// One that says why there is nothing to compare.
    pub(super) fn not_comparable(why: impl Into<String>, now: Timestamp) -> Self {
        Self {
            agreement: Agreement::NotComparable,
            revisions: Vec::new(),
            compared_at: now,
            why: why.into(),
            differences: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What it says, whenever that was found.
    pub(super) fn without_time(&self) -> Self {
        Self { compared_at: Timestamp::UNIX_EPOCH, ..self.clone() }
    }
}

/// Why an Application cannot be judged by anybody now, whatever is found of it.
pub(super) fn obstacle(application: &Application) -> Option<&'static str> {
    let state = application.status.operation_state.as_ref();
    if application.is_terminating() {
        Some("it is being deleted")
    } else if refresh::is_skipped(application) {
        Some("its annotation argocd.argoproj.io/skip-reconcile keeps everybody from looking at it")
    } else if application.operation.is_some() || state.is_some_and(|state| !state.phase.is_completed()) {
        Some("an operation is running")
    } else if refresh::requested(application).is_some() {
        Some("a refresh is asked for and not answered yet")
    } else if application.status.sync.is_none() {
        Some("Argo CD has not compared it yet")
    } else {
        None
    }
}

/// Compares what Skiff found with what Argo CD says of the same sources.
pub(super) fn compare(
    ours: &Ours,
    theirs: &ApplicationStatus,
    source: Option<&ApplicationSource>,
    sources: &[ApplicationSource],
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome {
        agreement: Agreement::Equal,
        revisions: ours.revisions.clone(),
        compared_at: now,
        why: String::new(),
        differences: Vec::new(),
        notes: ours.notes.clone(),
    };
    if let Some(why) = too_early(ours, theirs, source, sources) {
        (outcome.agreement, outcome.why) = (Agreement::NotComparable, why);
        return outcome;
    }
    let rows = rows(ours, theirs);
    let differences = &mut outcome.differences;
    if ours.sync != theirs.sync_code() {
        let is_certain = |difference: &Difference| difference.skiff == OUT_OF_SYNC && !difference.is_guess;
        let mut difference = Difference::new("sync status", &ours.sync, &theirs.sync_code());
        difference.is_guess = ours.sync == SyncStatusCode::OutOfSync
            && theirs.sync_code() == SyncStatusCode::Synced
            && rows.iter().any(|row| row.is_guess)
            && !rows.iter().any(is_certain);
        differences.push(difference);
    }
    if ours.health != theirs.health_code() {
        differences.push(Difference::new("health", &ours.health, &theirs.health_code()));
    }
    differences.extend(conditions(&ours.conditions, &theirs.conditions));
    differences.extend(rows);
    outcome.agreement = if differences.is_empty() {
        Agreement::Equal
    } else if differences.iter().all(|difference| difference.is_guess) {
        Agreement::Doubtful
    } else {
        Agreement::Different
    };
    outcome
}

/// Why the two are not about the same.
fn too_early(
    ours: &Ours,
    theirs: &ApplicationStatus,
    source: Option<&ApplicationSource>,
    sources: &[ApplicationSource],
) -> Option<String> {
    let sync = theirs.sync.as_ref()?;
    let compared = &sync.compared_to;
    // Where it does not say what it has compared, the revision tells.
    let is_told = *compared != ComparedTo::default();
    if is_told && (compared.source.as_ref() != source || compared.sources != sources) {
        return Some("Argo CD has not compared the present sources yet".to_owned());
    }
    if let Some(since) = ours.failing_since {
        // Which commit is at fault is not known, so Argo CD must have looked after that.
        let looked = theirs.reconciled_at.is_none_or(|at| at.timestamp() >= since);
        return (!looked).then(|| "Argo CD has not compared it since Skiff could not".to_owned());
    }
    let revisions: Vec<&str> = if sync.revisions.is_empty() {
        [sync.revision.as_str()].into_iter().filter(|revision| !revision.is_empty()).collect()
    } else {
        sync.revisions.iter().map(String::as_str).collect()
    };
    // Argo CD does not always say which revision it could not compare.
    let failed = revisions.is_empty() && sync.status == SyncStatusCode::Unknown;
    (revisions != ours.revisions && !failed)
        .then(|| format!("Argo CD has compared {} yet", some(&revisions.join(", "), "no revision")))
}

const OUT_OF_SYNC: &str = "OutOfSync";
const ABSENT: &str = "(absent)";

fn some<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// The differences of single objects, by identity.
fn rows(ours: &Ours, theirs: &ApplicationStatus) -> Vec<Difference> {
    let mut pairs: BTreeMap<ObjectKey, (Option<&ResourceStatus>, Option<&ResourceStatus>)> = BTreeMap::new();
    // Hooks come and go, and neither side counts them.
    for row in ours.rows.iter().filter(|row| !row.hook) {
        pairs.entry(row.key()).or_default().0 = Some(row);
    }
    for row in theirs.resources.iter().filter(|row| !row.hook) {
        pairs.entry(row.key()).or_default().1 = Some(row);
    }
    let mut found = Vec::new();
    for (key, pair) in pairs {
        let status = |row: Option<&ResourceStatus>| match row.map(|row| row.status) {
            None => ABSENT.to_owned(),
            Some(None) => "(none)".to_owned(),
            Some(Some(status)) => status.to_string(),
        };
        let (skiff, argo_cd) = (status(pair.0), status(pair.1));
        if skiff != argo_cd {
            let mut difference = Difference::new(key.to_string(), &skiff, &argo_cd);
            difference.because.extend(ours.known.get(&key).map(|&reason| reason.to_owned()));
            if let Some(fields) = ours.guessed.get(&key) {
                difference.because = fields.iter().take(FIELDS).cloned().collect();
                difference.is_guess = difference.skiff == OUT_OF_SYNC && difference.argo_cd == "Synced";
            }
            found.push(difference);
        }
        // Argo CD keeps the health of objects elsewhere unless it is told to write it here.
        let health = |row: Option<&ResourceStatus>| row.and_then(|row| Some(row.health.as_ref()?.status));
        if let (Some(skiff), Some(argo_cd)) = (health(pair.0), health(pair.1))
            && skiff != argo_cd
        {
            found.push(Difference::new(format!("{key} health"), &skiff, &argo_cd));
        }
    }
    found
}

/// Errors that only one of them sees. What Argo CD says of its own stands in the Application.
fn conditions(ours: &[ApplicationCondition], theirs: &[ApplicationCondition]) -> Vec<Difference> {
    let has = |all: &[ApplicationCondition], wanted: &str| {
        all.iter().any(|condition| condition.condition_type == wanted)
    };
    let mut found = Vec::new();
    for error in ERRORS {
        let of = format!("condition {error}");
        match (has(ours, error), has(theirs, error)) {
            (true, false) => {
                let mut difference = Difference::new(of, &"present", &ABSENT);
                let messages = ours.iter().filter(|condition| condition.condition_type == *error);
                difference.because =
                    messages.take(FIELDS).map(|condition| condition.message.clone()).collect();
                found.push(difference);
            }
            (false, true) => found.push(Difference::new(of, &ABSENT, &"present")),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
