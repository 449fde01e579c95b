//! What an Application declares and how that compares with the cluster: everything that a look reads.

use std::{sync::Arc, time::Duration};

use super::{
    comparison::{self, Comparison, ComparisonInput},
    desired::{Desired, DesiredError, DesiredInput},
    reconcile::{Look, Memory},
    sources::Freshness,
};
use crate::{
    api::{ApplicationCondition, ApplicationSource, names, sync_options::SyncOptions, unsupported_fields},
    cluster::{ClusterError, discovery::Kinds},
    compare::Rules,
    error::{Classified, ErrorKind, chain},
    git::RepoUrl,
    object::Gvk,
    project::{Admission, Claim, Destination},
};

const PASSWORD: &str = "spec.source.repoURL holds a password, which everybody who may read Applications can see: write the \
                        URL without it, and put user and password into a Secret of the agent's namespace with the label \
                        argocd.argoproj.io/secret-type: repository";

/// What a source declares and how it compares.
pub(super) struct Observation {
    pub(super) desired: Desired,
    pub(super) comparison: Comparison,
    pub(super) admission: Admission,
    pub(super) kinds: Arc<Kinds>,
}

/// Why there is no observation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    #[error("{0}")]
    InvalidSpec(String),
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

impl Classified for ObserveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidSpec(_) => ErrorKind::User,
            Self::Desired(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
        }
    }
}

impl Look<'_> {
    /// Finds out what a source declares at a revision and how that compares with the cluster.
    pub(super) async fn observe(
        &mut self,
        memory: &mut Memory,
        source: &ApplicationSource,
        revision: &str,
        freshness: Freshness,
    ) -> Result<Observation, ObserveError> {
        let admission = self.admit(source)?;
        let spec = &self.application.spec;
        if let Some(problem) = spec.source_problem() {
            return Err(ObserveError::InvalidSpec(problem));
        }
        // Whatever the one source would render to, it is not what such an Application asks for.
        if spec.source_hydrator.is_some() || spec.has_multiple_sources() {
            let fields: Vec<String> = unsupported_fields(spec).iter().map(ToString::to_string).collect();
            return Err(ObserveError::InvalidSpec(fields.join("; ")));
        }
        if RepoUrl::parse(&source.repo_url).is_ok() && RepoUrl::shows_password(&source.repo_url) {
            return Err(ObserveError::InvalidSpec(PASSWORD.to_owned()));
        }
        let options = SyncOptions::new(spec.sync_options());
        let (rules, problems) = Rules::compile(&spec.ignore_differences, &self.settings.system_rules);
        for problem in problems {
            let condition = ApplicationCondition::new(names::CONDITION_COMPARISON_ERROR, problem.to_string());
            self.conditions.push(condition);
        }
        self.context.trust_managers(rules.trusted_managers());
        let project = spec.project_name();
        if let Ok(url) = RepoUrl::parse(&source.repo_url) {
            self.context.sources.follow(self.key, &url, project);
        }
        let settings = Arc::clone(&self.settings);
        let is_excluded = move |gvk: &Gvk| settings.is_excluded(gvk);
        let kinds = self.context.cluster.discover(Duration::from_secs(600)).await?;
        let rules_of_project = self.project().map_err(ObserveError::InvalidSpec)?;
        let permits_source = |url: &str| rules_of_project.permits_source(url);
        let input = |kinds| DesiredInput {
            source,
            revision,
            application: self.key,
            project,
            permits_source: &permits_source,
            context: self.settings.render_context(
                &self.application,
                self.key,
                &self.context.options.namespace,
            ),
            tracking: &self.tracking,
            destination_namespace: &spec.destination.namespace,
            tolerate_unknown_kinds: options.skip_dry_run_on_missing_resource(),
            is_excluded: &is_excluded,
            time_limit: self.settings.render_limit(),
            settings_fingerprint: self.settings.fingerprint,
            kinds,
        };
        let renderer = &self.context.renderer;
        let desired = match renderer.desired(input(&kinds), &mut memory.desired, freshness).await {
            // A kind that was not there a moment ago may have been added since.
            Err(DesiredError::Kind { .. }) => {
                let kinds = self.context.cluster.discover(Duration::from_secs(2)).await?;
                renderer.desired(input(&kinds), &mut memory.desired, freshness).await?
            }
            result => result?,
        };
        let mut kinds = self.context.cluster.kinds();
        if !desired.expected_kinds.is_empty() {
            let mut extended = Kinds::clone(&kinds);
            for (gvk, plural, scope) in desired.expected_kinds.iter() {
                extended = extended.with_expected(gvk.clone(), plural, *scope);
            }
            kinds = Arc::new(extended);
        }
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
        if self.turn.is_none() {
            self.turn = Some(self.context.turns.take(memory.is_slow).await);
        }
        // A look that waits for its turn does not hold the room that this takes.
        let comparison = Box::pin(comparison::compare(&input, &mut memory.verdicts)).await?;
        Ok(Observation { desired, comparison, admission, kinds })
    }

    /// What the project permits this Application.
    fn admit(&self, source: &ApplicationSource) -> Result<Admission, ObserveError> {
        let spec = &self.application.spec;
        let destination = self.destination().map_err(ObserveError::InvalidSpec)?;
        let project = self.project().map_err(ObserveError::InvalidSpec)?;
        let claim = Claim {
            application_namespace: &self.key.namespace,
            repo_urls: std::slice::from_ref(&source.repo_url),
            destination: &destination,
            namespace: &spec.destination.namespace,
        };
        project.admit(&claim).map_err(|refusal| ObserveError::InvalidSpec(chain(&refusal)))
    }

    pub(super) fn destination(&self) -> Result<Destination, String> {
        let destination = &self.application.spec.destination;
        destination.cluster()?;
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
