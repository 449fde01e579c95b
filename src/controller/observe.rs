//! What an Application declares and how that compares with the cluster: everything that a look reads.

use std::{sync::Arc, time::Duration};

use super::{
    applications::ApplicationKey,
    comparison::{self, Comparison, ComparisonInput},
    desired::{Desired, DesiredError, DesiredInput},
    reconcile::{Look, Memory},
    renderer::Known,
    sources::Freshness,
    target::Target,
    unwatched,
};
use crate::{
    api::{
        ApplicationCondition, ApplicationSource, names, sync_options::SyncOptions, tracking::TrackingId,
        unsupported_fields,
    },
    cluster::{ClusterError, discovery::Kinds},
    compare::Rules,
    error::{Classified, ErrorKind, chain},
    git::RepoUrl,
    object::{Gvk, Scope},
    project::{Admission, Claim, Destination},
};

/// How far up an Application's ancestors are looked for.
const MAX_ANCESTORS: usize = 100;
const PASSWORD: &str = "spec.source.repoURL holds a password, which everybody who may read Applications can see: write the \
                        URL without it, and put user and password into a Secret of the agent's namespace with the label \
                        argocd.argoproj.io/secret-type: repository";

/// What a source declares and how it compares.
pub(super) struct Observation {
    pub(super) desired: Desired,
    pub(super) comparison: Comparison,
    pub(super) admission: Admission,
    pub(super) kinds: Arc<Kinds>,
    /// Whether every change of its objects is seen when it happens.
    pub(super) is_watched: bool,
}

/// Why there is no observation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    #[error("{0}")]
    InvalidSpec(String),
    #[error("{0}")]
    OutOfReach(String),
    #[error(transparent)]
    Desired(#[from] Box<DesiredError>),
    #[error(transparent)]
    Cluster(#[from] Box<ClusterError>),
}

impl From<DesiredError> for ObserveError {
    fn from(error: DesiredError) -> Self {
        Self::Desired(error.into())
    }
}

impl From<ClusterError> for ObserveError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error.into())
    }
}

impl ObserveError {
    /// The condition that says so.
    pub(super) fn condition(&self) -> ApplicationCondition {
        let condition_type = match self {
            Self::InvalidSpec(_) => names::CONDITION_INVALID_SPEC_ERROR,
            Self::OutOfReach(_) | Self::Desired(_) | Self::Cluster(_) => names::CONDITION_COMPARISON_ERROR,
        };
        ApplicationCondition::new(condition_type, chain(self))
    }
}

impl Classified for ObserveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidSpec(_) => ErrorKind::User,
            Self::OutOfReach(_) => ErrorKind::Configuration,
            Self::Desired(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
        }
    }
}

impl Look<'_> {
    /// Finds out what sources declare and how that compares with the cluster.
    pub(super) async fn observe(
        &mut self,
        memory: &mut Memory,
        target: &Target,
        freshness: Freshness,
    ) -> Result<Observation, ObserveError> {
        let admission = self.admit(&target.sources)?;
        let spec = &self.application.spec;
        if let Some(problem) = spec.source_problem().or_else(|| target.problem()) {
            return Err(ObserveError::InvalidSpec(problem));
        }
        // Whatever the source would render to, it is not what such an Application asks for.
        if spec.source_hydrator.is_some() {
            let fields: Vec<String> = unsupported_fields(spec).iter().map(ToString::to_string).collect();
            return Err(ObserveError::InvalidSpec(fields.join("; ")));
        }
        let shows = |url: &str| RepoUrl::parse(url).is_ok() && RepoUrl::shows_password(url);
        if target.sources.iter().any(|source| shows(&source.repo_url)) {
            return Err(ObserveError::InvalidSpec(PASSWORD.to_owned()));
        }
        let options = SyncOptions::new(spec.sync_options());
        let (rules, problems) = Rules::compile(&spec.ignore_differences, &self.settings.system_rules);
        for problem in problems {
            let condition = ApplicationCondition::new(names::CONDITION_COMPARISON_ERROR, problem.to_string());
            self.conditions.push(condition);
        }
        self.context.trust_managers(rules.trusted_managers());
        self.follow(target);
        let settings = Arc::clone(&self.settings);
        let is_excluded = move |gvk: &Gvk| settings.is_excluded(gvk);
        let parts = self.parts(memory, target, &options, &is_excluded, freshness).await?;
        let desired = match parts.as_slice() {
            [one] => one.clone(),
            parts => Desired::merged(parts)
                .ok_or_else(|| ObserveError::InvalidSpec("spec.sources: there is none".to_owned()))?,
        };
        if let Some(problem) = self.cycle(&desired) {
            return Err(ObserveError::InvalidSpec(problem));
        }
        let mut kinds = self.context.cluster.kinds();
        if !desired.expected_kinds.is_empty() {
            let mut extended = Kinds::clone(&kinds);
            for (gvk, plural, scope) in desired.expected_kinds.iter() {
                extended = extended.with_expected(gvk.clone(), plural, *scope);
            }
            kinds = Arc::new(extended);
        }
        self.check_reach(&desired, &kinds)?;
        let input = ComparisonInput {
            cluster: &self.context.cluster,
            application: &self.application,
            desired: &desired,
            kinds: &kinds,
            tracking: &self.tracking,
            admission: &admission,
            rules: &rules,
            health_scripts: self.settings.health_scripts(),
            options: &options,
            is_excluded: &is_excluded,
        };
        comparison::prepare(&input).await?;
        let unwatched = unwatched::read(
            &self.context.cluster,
            &self.context.cluster.kinds(),
            Some(&desired),
            &self.status,
        )
        .await?;
        self.conditions.extend(unwatched::warning(&unwatched));
        if self.turn.is_none() {
            self.turn = Some(self.context.turns.take(memory.is_slow).await);
        }
        // A look that waits for its turn does not hold the room that this takes.
        let comparison = Box::pin(comparison::compare(&input, &mut memory.verdicts)).await?;
        Ok(Observation { desired, comparison, admission, kinds, is_watched: unwatched.is_empty() })
    }

    /// What is out of reach can neither be compared nor pruned: neither what is declared, nor what was there before.
    fn check_reach(&self, desired: &Desired, kinds: &Kinds) -> Result<(), ObserveError> {
        let reach = self.context.cluster.watches.reach();
        for object in desired.objects.iter() {
            let Ok(info) = kinds.get(&object.gvk) else { continue };
            if let Some(problem) = reach.problem(info.scope, &object.key.namespace) {
                let message = format!(
                    "{}: {problem}: take it out of the source, or widen the agent's reach",
                    object.key
                );
                return Err(ObserveError::OutOfReach(message));
            }
        }
        self.check_reach_of_rows().map_err(ObserveError::OutOfReach)
    }

    /// The same of what the last comparison showed.
    pub(super) fn check_reach_of_rows(&self) -> Result<(), String> {
        let reach = self.context.cluster.watches.reach();
        for row in &self.status.resources {
            let scope = if row.namespace.is_empty() { Scope::Cluster } else { Scope::Namespaced };
            if let Some(problem) = reach.problem(scope, &row.namespace) {
                return Err(format!(
                    "{} was there at the last comparison, and cannot be seen now: {problem}: widen the agent's reach until \
                     it is gone, or have it deleted and taken out of status.resources",
                    row.key()
                ));
            }
        }
        Ok(())
    }

    /// An Application among those declared that declares this one, itself or through others. One that declares itself
    /// is none.
    fn cycle(&self, desired: &Desired) -> Option<String> {
        let is_application = |gvk: &Gvk| gvk.group == names::GROUP && gvk.kind == "Application";
        let children: Vec<ApplicationKey> = desired
            .objects
            .iter()
            .filter(|object| is_application(&object.gvk))
            .map(|object| ApplicationKey::new(&object.key.namespace, &object.key.name))
            .filter(|child| child != self.key)
            .collect();
        if children.is_empty() {
            return None;
        }
        let mut current = self.key.clone();
        for _ in 0..MAX_ANCESTORS {
            let application = self.context.applications.get(&current)?.application.ok()?;
            let id = TrackingId::parse(application.annotation(names::ANNOTATION_TRACKING_ID)?)?;
            let parent = ApplicationKey::of_instance(&id.instance, &self.context.options.namespace);
            if children.contains(&parent) {
                return Some(format!(
                    "the source declares Application {parent}, which declares this one, itself or through others: \
                     take one of the two out of its source"
                ));
            }
            if parent == current {
                return None;
            }
            current = parent;
        }
        None
    }

    /// Says which repositories are read from now on.
    fn follow(&self, target: &Target) {
        let project = self.application.spec.project_name();
        let urls = target.sources.iter().filter_map(|it| crate::git::RepoUrl::parse(&it.repo_url).ok());
        for (index, url) in urls.enumerate() {
            if index == 0 {
                self.context.sources.follow(self.key, &url, project);
            } else {
                self.context.sources.follow_also(self.key, &url, project);
            }
        }
    }

    /// What each source declares.
    async fn parts(
        &self,
        memory: &mut Memory,
        target: &Target,
        options: &SyncOptions,
        is_excluded: &(dyn Fn(&Gvk) -> bool + Sync),
        freshness: Freshness,
    ) -> Result<Vec<Desired>, ObserveError> {
        let spec = &self.application.spec;
        let kinds = self.context.cluster.discover(Duration::from_secs(600)).await?;
        let rules_of_project = self.project().map_err(ObserveError::InvalidSpec)?;
        let permits_source = |url: &str| rules_of_project.permits_source(url);
        let renderer = &self.context.renderer;
        let mut parts = Vec::with_capacity(target.sources.len());
        if memory.desired.len() != target.sources.len() {
            memory.desired = target.sources.iter().map(|_| Known::default()).collect();
        }
        let asked = target.sources.iter().zip(&target.revisions).zip(&mut memory.desired);
        for ((source, revision), known) in asked {
            // Those of an earlier source's definitions count for the later ones too.
            let mut known_kinds = Kinds::clone(&kinds);
            for (gvk, plural, scope) in parts.iter().flat_map(|part: &Desired| part.expected_kinds.iter()) {
                known_kinds = known_kinds.with_expected(gvk.clone(), plural, *scope);
            }
            let input = |kinds| DesiredInput {
                source,
                revision,
                application: self.key,
                project: spec.project_name(),
                permits_source: &permits_source,
                context: self.settings.render_context(
                    &self.application,
                    self.key,
                    &self.context.options.namespace,
                ),
                tracking: &self.tracking,
                destination_namespace: &spec.destination.namespace,
                tolerate_unknown_kinds: options.skip_dry_run_on_missing_resource(),
                is_excluded,
                time_limit: self.settings.render_limit(),
                settings_fingerprint: self.settings.fingerprint,
                kinds,
            };
            if source.path.is_empty() && source.chart.is_empty() && !source.reference.is_empty() {
                parts.push(renderer.reference(&input(&known_kinds), freshness).await?);
                continue;
            }
            let desired = match renderer.desired(input(&known_kinds), known, freshness).await {
                // A kind that was not there a moment ago may have been added since.
                Err(DesiredError::Kind { .. }) => {
                    let kinds = self.context.cluster.discover(Duration::from_secs(2)).await?;
                    renderer.desired(input(&kinds), known, freshness).await?
                }
                result => result?,
            };
            parts.push(desired);
        }
        Ok(parts)
    }

    /// What the project permits this Application.
    fn admit(&self, sources: &[ApplicationSource]) -> Result<Admission, ObserveError> {
        let spec = &self.application.spec;
        let destination = self.destination().map_err(ObserveError::InvalidSpec)?;
        let project = self.project().map_err(ObserveError::InvalidSpec)?;
        let repo_urls: Vec<String> = sources.iter().map(|source| source.repo_url.clone()).collect();
        let claim = Claim {
            application_namespace: &self.key.namespace,
            repo_urls: &repo_urls,
            destination: &destination,
            namespace: &spec.destination.namespace,
        };
        project.admit(&claim).map_err(|refusal| ObserveError::InvalidSpec(chain(&refusal)))
    }

    pub(super) fn destination(&self) -> Result<Destination, String> {
        let destination = &self.application.spec.destination;
        destination.cluster()?;
        let reach = self.context.cluster.watches.reach();
        if !destination.namespace.is_empty() && !reach.covers(&destination.namespace) {
            return Err(format!("spec.destination.namespace '{}': {reach}", destination.namespace));
        }
        if destination.is_in_cluster() {
            let (server, name) = (names::IN_CLUSTER_SERVER.to_owned(), names::IN_CLUSTER_NAME.to_owned());
            return Ok(Destination { server, name, project: String::new() });
        }
        let given = if destination.server.is_empty() { &destination.name } else { &destination.server };
        Err(format!(
            "spec.destination: cluster '{given}' is not known: Skiff manages the cluster that it runs in so far \
             (server {} or name {})",
            names::IN_CLUSTER_SERVER,
            names::IN_CLUSTER_NAME
        ))
    }

    pub(super) fn project(&self) -> Result<crate::project::Project, String> {
        let name = self.application.spec.project_name();
        match self.context.projects.get(name) {
            None => Err(format!(
                "Application references project {name} which does not exist: create AppProject '{name}' in namespace \
                 '{}' or correct spec.project",
                self.context.options.namespace
            )),
            Some(Err(problem)) => Err(problem.to_string()),
            Some(Ok(project)) => Ok(project),
        }
    }
}
