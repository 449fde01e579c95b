//! Shadow mode: looking at everything beside an Argo CD, and writing nothing but a report of where the verdicts differ.
//!
//! ```text
//! every look ─▶ observe (as always) ─▶ compare with Argo CD's status ─▶ outcome ─▶ ConfigMap skiff-shadow, metric
//! ```
//!
//! That nothing else is written does not hang on what a look does: all clients of a term stand behind [`ReportOnly`],
//! which lets the report's own request pass and no other write, server-side dry runs included.

mod report;
mod verdict;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
    client::Body,
};
use tokio::sync::Notify;

pub(crate) use self::report::NAME as REPORT_NAME;
use self::{
    report::Outcomes,
    verdict::{Ours, Outcome},
};
use super::{
    applications::ApplicationKey,
    context::Context,
    observe::{Observation, ObserveError},
    reconcile::{Level, Look, Memory, Next, retry_after},
    target::Target,
};
use crate::{
    api::{ApplicationCondition, HealthStatusCode, SyncStatusCode, Time, conditions, names},
    cluster::transport::{Gate, Held},
    error::{Classified, chain},
    metrics,
    sync::plan::Verdict,
};

/// Time between two writes of the report: many Applications change together.
const PAUSE: Duration = Duration::from_secs(2);
/// How long the API server may take for the report.
const LIMIT: Duration = Duration::from_secs(30);
/// The manager of the report's fields.
const MANAGER: &str = "skiff-shadow";
/// The longest pause after a write that failed, in doublings of [`PAUSE`].
const MOST_DOUBLINGS: u32 = 5;

/// Lets one request pass: the one that applies the report.
pub(super) struct ReportOnly {
    path: String,
}

impl ReportOnly {
    /// For the report of an agent in this namespace.
    pub(super) fn new(namespace: &str) -> Self {
        Self { path: format!("/api/v1/namespaces/{namespace}/configmaps/{REPORT_NAME}") }
    }
}

impl Gate for ReportOnly {
    fn holds(&self, request: &Request<Body>) -> Option<Held> {
        let is_report = *request.method() == Method::PATCH && request.uri().path() == self.path;
        (!is_report).then_some(Held::Shadow)
    }
}

/// What was found of each Application.
#[derive(Default)]
pub(super) struct Shadow {
    outcomes: Mutex<Outcomes>,
    /// Since when Applications cannot be compared.
    failing: Mutex<BTreeMap<ApplicationKey, Timestamp>>,
    bell: Notify,
}

impl Shadow {
    /// Keeps what was found; the report is written if that is news.
    fn learn(&self, key: &ApplicationKey, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let says = outcome.without_time();
        let known = outcomes.insert(key.clone(), outcome);
        drop(outcomes);
        let is_news = known.is_none_or(|known| known.without_time() != says);
        if is_news {
            self.bell.notify_one();
        }
    }

    /// Drops an Application that is gone.
    pub(super) fn forget(&self, key: &ApplicationKey) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).remove(key).is_some() {
            self.bell.notify_one();
        }
    }

    /// What cannot be read at all.
    pub(super) fn unreadable(&self, key: &ApplicationKey, problem: &str) {
        let why = format!("Skiff cannot read the Application: {problem}");
        self.learn(key, Outcome::not_comparable(why, Timestamp::now()));
    }

    fn failing_since(&self, key: &ApplicationKey, fails: bool) -> Option<Timestamp> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if fails {
            return Some(*failing.entry(key.clone()).or_insert_with(Timestamp::now));
        }
        failing.remove(key);
        None
    }

    fn outcomes(&self, known: impl IntoIterator<Item = ApplicationKey>) -> Outcomes {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for key in known {
            let pending = || Outcome::not_comparable("Skiff has not compared it yet", Timestamp::now());
            outcomes.entry(key).or_insert_with(pending);
        }
        outcomes
    }
}

/// Looks at one Application and compares what is found with what Argo CD says.
pub(super) async fn look(look: &mut Look<'_>, memory: &mut Memory, shadow: &Shadow) -> Next {
    if let Some(why) = verdict::obstacle(&look.application) {
        shadow.learn(look.key, Outcome::not_comparable(why, Timestamp::now()));
        return Next::default();
    }
    if look.level == Level::Hard {
        *memory = Memory::default();
    }
    let target = Target::of_spec(&look.application.spec);
    let freshness = look.freshness();
    let observed = Box::pin(look.observe(memory, &target, freshness)).await;
    let failing_since = shadow.failing_since(look.key, observed.is_err());
    let (ours, next) = match observed {
        Ok(observation) => {
            memory.failures = 0;
            let again = (!observation.is_watched).then(|| look.settings.poll_interval().interval);
            let again = again.filter(|wait| !wait.is_zero()).map(|wait| (Level::Live, wait));
            (judged(look, &target, &observation), Next(again))
        }
        Err(error) => {
            look.context.metrics.error(error.kind());
            memory.failures = memory.failures.saturating_add(1);
            look.context.metrics.queue_retried(metrics::Queue::Reconciliation);
            let next = match &error {
                ObserveError::InvalidSpec(_) => Next::default(),
                _ => Next(Some((look.level.min(Level::Latest), retry_after(memory.failures)))),
            };
            if error.kind().is_transient() {
                let why = format!("Skiff could not compare it: {}", chain(&error));
                shadow.learn(look.key, Outcome::not_comparable(why, Timestamp::now()));
                return next;
            }
            (failed(look, &error, failing_since), next)
        }
    };
    let (source, sources) = (target.source(), target.list());
    let theirs = &look.application.status;
    shadow.learn(look.key, verdict::compare(&ours, theirs, source.as_ref(), &sources, Timestamp::now()));
    next
}

/// What a comparison found.
fn judged(look: &mut Look<'_>, target: &Target, observation: &Observation) -> Ours {
    let Observation { desired, comparison, .. } = observation;
    let mut found = std::mem::take(&mut look.conditions);
    found.extend(comparison.conditions.iter().cloned());
    let (mut guessed, mut known) = (BTreeMap::new(), BTreeMap::new());
    for candidate in &comparison.candidates {
        let Some(key) = candidate.object().map(|object| object.key()) else { continue };
        match &candidate.verdict {
            Verdict::Differs(differences) => {
                guessed.insert(key, differences.iter().map(ToString::to_string).collect());
            }
            Verdict::Missing => {
                known.insert(key, "it is missing in the cluster");
            }
            Verdict::Extra => {
                known.insert(key, "the source does not declare it");
            }
            Verdict::Same | Verdict::Unknown => {}
        }
    }
    let revisions = match target.is_list {
        true => target.revisions(desired),
        false => vec![target.revision(desired)],
    };
    Ours {
        revisions,
        sync: comparison.sync,
        health: comparison.health.status,
        rows: comparison.rows.clone(),
        notes: notes(look, comparison.rows.iter().any(|row| row.kind == "Application")),
        conditions: with_warnings(look, found),
        guessed,
        known,
        failing_since: None,
    }
}

/// What the failure of a comparison means, in the way of every look.
fn failed(look: &mut Look<'_>, error: &ObserveError, failing_since: Option<Timestamp>) -> Ours {
    let mut found = std::mem::take(&mut look.conditions);
    found.push(error.condition());
    let theirs = &look.application.status;
    let mut rows = theirs.resources.clone();
    for row in &mut rows {
        row.status = row.status.map(|_| SyncStatusCode::Unknown);
    }
    let health = match error {
        ObserveError::InvalidSpec(_) => HealthStatusCode::Unknown,
        _ => theirs.health_code(),
    };
    Ours {
        sync: SyncStatusCode::Unknown,
        health,
        rows,
        notes: notes(look, false),
        conditions: with_warnings(look, found),
        failing_since,
        ..Ours::default()
    }
}

fn with_warnings(look: &Look<'_>, mut found: Vec<ApplicationCondition>) -> Vec<ApplicationCondition> {
    found.extend(look.field_warnings());
    conditions::set(&[], &[], found, Time::now())
}

/// What whoever migrates should know.
fn notes(look: &Look<'_>, has_children: bool) -> Vec<String> {
    let warnings = look.field_warnings();
    let is_warning =
        |it: &ApplicationCondition| it.condition_type == names::CONDITION_UNSUPPORTED_FIELD_WARNING;
    let mut notes: Vec<String> = warnings.filter(is_warning).map(|condition| condition.message).collect();
    if let Some(refusal) = look.refusal() {
        notes.push(format!("Skiff would sync nothing of it: {refusal}"));
    }
    if has_children {
        notes.push("Skiff counts the health of Applications among the objects; Argo CD does not".to_owned());
    }
    notes
}

/// Writes the report whenever it says something else than before.
pub(super) async fn publish(context: Arc<Context>, client: Client) {
    let Some(shadow) = &context.shadow else { return };
    let api: Api<ConfigMap> = Api::namespaced(client, &context.options.namespace);
    let (mut written, mut failures) = (None, 0_u32);
    loop {
        let outcomes = shadow.outcomes(context.applications.keys());
        for (agreement, count) in report::counts(&outcomes) {
            context.metrics.set_shadow(agreement.label(), count);
        }
        let news: Vec<_> = outcomes.iter().map(|(key, it)| (key.clone(), it.without_time())).collect();
        if written.as_ref() != Some(&news) {
            match apply(&api, &outcomes).await {
                Ok(()) => (written, failures) = (Some(news), 0),
                Err(error) => {
                    failures = failures.saturating_add(1).min(MOST_DOUBLINGS);
                    tracing::warn!(error, configmap = REPORT_NAME, "the report could not be written");
                    tokio::time::sleep(super::leader::jittered(PAUSE * 2_u32.pow(failures))).await;
                    continue;
                }
            }
        }
        shadow.bell.notified().await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn apply(api: &Api<ConfigMap>, outcomes: &Outcomes) -> Result<(), String> {
    let labels = [("app.kubernetes.io/name", "skiff"), ("app.kubernetes.io/component", "shadow")];
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(REPORT_NAME.to_owned()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: Some(report::data(outcomes)),
        ..ConfigMap::default()
    };
    let (parameters, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&map));
    let applied = api.patch(REPORT_NAME, &parameters, &patch);
    match tokio::time::timeout(LIMIT, applied).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("the API server did not answer within {} s", LIMIT.as_secs())),
    }
}
