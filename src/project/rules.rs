//! An AppProject's rules, compiled once.

use std::sync::Arc;

use regex::Regex;

use super::{Admission, Claim, Refusal};
use crate::{
    api::AppProjectSpec,
    error::{Classified, ErrorKind},
    glob::{Dialect, Glob},
    object::{ObjectKey, Scope},
};

/// A cluster that was found under an Application's destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The URL of its API, without a trailing `/`.
    pub server: String,
    /// Its name.
    pub name: String,
    /// The project that its cluster Secret is reserved for; empty for none.
    pub project: String,
}

/// A part of a project that cannot be used. Everything else of the project keeps working.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProjectProblem {
    /// A pattern cannot be read. As a permission it permits nothing, as a denial it denies everything.
    #[error("project '{project}': {field}: {reason}")]
    Pattern {
        /// The project.
        project: String,
        /// The field's path.
        field: String,
        /// What is wrong, with the pattern.
        reason: String,
    },
    /// A destination that names no cluster.
    #[error("project '{project}': {field} names no cluster and permits nothing: set 'server' or 'name'")]
    NoCluster {
        /// The project.
        project: String,
        /// The field's path.
        field: String,
    },
}

impl Classified for ProjectProblem {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

/// An AppProject's rules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Project {
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    name: String,
    controller_namespace: String,
    sources: Vec<Pattern>,
    namespaces: Vec<NamespacePattern>,
    destinations: Vec<DestinationRule>,
    own_clusters_only: bool,
    cluster_permitted: Vec<KindRule>,
    cluster_denied: Vec<KindRule>,
    namespaced_permitted: Option<Vec<KindRule>>,
    namespaced_denied: Vec<KindRule>,
}

/// A glob, or with `!` before it a denial.
#[derive(Debug)]
enum Pattern {
    Permit(Option<Glob>),
    Deny(Option<Glob>),
}

/// What one pattern says about one text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opinion {
    /// A permission that fits, or a denial that does not.
    Matched,
    /// A permission that does not fit.
    Silent,
    /// A denial that fits.
    Denied,
}

impl Pattern {
    fn opinion(&self, text: &str) -> Opinion {
        match self {
            Self::Permit(glob) => match glob {
                Some(glob) if !text.is_empty() && glob.matches(text) => Opinion::Matched,
                _ => Opinion::Silent,
            },
            Self::Deny(Some(glob)) if !text.is_empty() && !glob.matches(text) => Opinion::Matched,
            Self::Deny(_) => Opinion::Denied,
        }
    }
}

#[derive(Debug)]
enum NamespacePattern {
    Glob(Glob),
    Regex(Regex),
}

#[derive(Debug)]
struct DestinationRule {
    server: Option<Pattern>,
    name: Option<Pattern>,
    namespace: Namespaces,
}

/// The namespaces of a destination: unlike a cluster, a namespace may be empty.
#[derive(Debug)]
struct Namespaces {
    denied: bool,
    glob: Option<Glob>,
}

impl Namespaces {
    fn opinion(&self, namespace: &str) -> Opinion {
        let fits = self.glob.as_ref().map(|glob| glob.matches(namespace));
        match (self.denied, fits) {
            (false, Some(true)) | (true, Some(false)) => Opinion::Matched,
            (false, _) => Opinion::Silent,
            (true, _) => Opinion::Denied,
        }
    }
}

#[derive(Debug)]
struct KindRule {
    group: Option<Glob>,
    kind: Option<Glob>,
    /// `None` for any name.
    name: Option<Option<Glob>>,
}

impl KindRule {
    fn fits(&self, key: &ObjectKey, when_unreadable: bool) -> bool {
        let fits = |glob: &Option<Glob>, text: &str| {
            glob.as_ref().map_or(when_unreadable, |glob| glob.matches(text))
        };
        fits(&self.group, &key.group)
            && fits(&self.kind, &key.kind)
            && self.name.as_ref().is_none_or(|name| fits(name, &key.name))
    }
}

struct Compiler<'a> {
    project: &'a str,
    problems: Vec<ProjectProblem>,
}

impl Compiler<'_> {
    fn glob(&mut self, pattern: &str, dialect: Dialect, field: &str) -> Option<Glob> {
        match Glob::new(pattern, dialect) {
            Ok(glob) => Some(glob),
            Err(error) => {
                self.problem(field, error.to_string());
                None
            }
        }
    }

    fn problem(&mut self, field: &str, reason: String) {
        self.problems.push(ProjectProblem::Pattern {
            project: self.project.to_owned(),
            field: field.to_owned(),
            reason,
        });
    }

    fn pattern(&mut self, text: &str, field: &str) -> Option<Pattern> {
        match text.strip_prefix('!') {
            Some(denied) => Some(Pattern::Deny(self.glob(denied, Dialect::Plain, field))),
            None if text.is_empty() => None,
            None => Some(Pattern::Permit(self.glob(text, Dialect::Plain, field))),
        }
    }

    fn source(&mut self, text: &str, field: &str) -> Pattern {
        let (denied, pattern) = match text.trim().strip_prefix('!') {
            Some(denied) => (true, denied),
            None => (false, text),
        };
        let pattern = normalize_url(pattern);
        let dialect = if pattern == "*" { Dialect::Plain } else { Dialect::Path };
        let glob = self.glob(&pattern, dialect, field);
        if denied { Pattern::Deny(glob) } else { Pattern::Permit(glob) }
    }

    fn namespace(&mut self, text: &str, field: &str) -> Option<NamespacePattern> {
        let expression = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(expression) = expression.filter(|expression| !expression.is_empty()) else {
            return self.glob(text, Dialect::Plain, field).map(NamespacePattern::Glob);
        };
        match regex::RegexBuilder::new(expression).size_limit(1 << 20).build() {
            Ok(regex) => Some(NamespacePattern::Regex(regex)),
            Err(_) => {
                let reason = format!(
                    "'{text}' is not a valid regular expression (RE2 syntax, at most 1 MiB compiled)"
                );
                self.problem(field, reason);
                None
            }
        }
    }

    fn kind(&mut self, group: &str, kind: &str, name: &str, field: &str) -> KindRule {
        KindRule {
            group: self.glob(group, Dialect::Shell, field),
            kind: self.glob(kind, Dialect::Shell, field),
            name: (!name.is_empty()).then(|| self.glob(name, Dialect::Shell, field)),
        }
    }
}

impl Project {
    /// Compiles a project's spec. What cannot be compiled is named in the second value.
    pub fn compile(
        name: &str,
        spec: &AppProjectSpec,
        controller_namespace: &str,
    ) -> (Self, Vec<ProjectProblem>) {
        let mut compiler = Compiler { project: name, problems: Vec::new() };
        let sources = spec
            .source_repos
            .iter()
            .enumerate()
            .map(|(index, text)| compiler.source(text, &format!("spec.sourceRepos[{index}]")))
            .collect();
        let namespaces = spec
            .source_namespaces
            .iter()
            .enumerate()
            .filter_map(|(index, text)| compiler.namespace(text, &format!("spec.sourceNamespaces[{index}]")))
            .collect();
        let mut destinations = Vec::new();
        for (index, item) in spec.destinations.iter().enumerate() {
            let field = format!("spec.destinations[{index}]");
            if item.server.is_empty() && item.name.is_empty() {
                compiler.problems.push(ProjectProblem::NoCluster { project: name.to_owned(), field });
                continue;
            }
            let denied = item.namespace.strip_prefix('!');
            let pattern = denied.unwrap_or(&item.namespace);
            destinations.push(DestinationRule {
                server: compiler.pattern(&item.server, &format!("{field}.server")),
                name: compiler.pattern(&item.name, &format!("{field}.name")),
                namespace: Namespaces {
                    denied: denied.is_some(),
                    glob: compiler.glob(pattern, Dialect::Plain, &format!("{field}.namespace")),
                },
            });
        }
        let mut cluster_kinds = |items: &[crate::api::ClusterResourceRestrictionItem], list: &str| {
            items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    compiler.kind(&item.group, &item.kind, &item.name, &format!("spec.{list}[{index}]"))
                })
                .collect()
        };
        let cluster_permitted = cluster_kinds(&spec.cluster_resource_whitelist, "clusterResourceWhitelist");
        let cluster_denied = cluster_kinds(&spec.cluster_resource_blacklist, "clusterResourceBlacklist");
        let mut kinds = |items: &[crate::api::GroupKindItem], list: &str| {
            items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    compiler.kind(&item.group, &item.kind, "", &format!("spec.{list}[{index}]"))
                })
                .collect()
        };
        let namespaced_permitted = spec
            .namespace_resource_whitelist
            .as_ref()
            .map(|items| kinds(items, "namespaceResourceWhitelist"));
        let namespaced_denied = kinds(&spec.namespace_resource_blacklist, "namespaceResourceBlacklist");
        let rules = Rules {
            name: name.to_owned(),
            controller_namespace: controller_namespace.to_owned(),
            sources,
            namespaces,
            destinations,
            own_clusters_only: spec.permit_only_project_scoped_clusters,
            cluster_permitted,
            cluster_denied,
            namespaced_permitted,
            namespaced_denied,
        };
        (Self { rules: Arc::new(rules) }, compiler.problems)
    }

    /// The project's name.
    pub fn name(&self) -> &str {
        &self.rules.name
    }

    fn owned_name(&self) -> String {
        self.rules.name.clone()
    }

    /// Whether Applications in a namespace may use the project. The controller's own namespace always may.
    ///
    /// # Errors
    /// When they may not.
    pub fn permits_application_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        let permitted = !namespace.is_empty()
            && (namespace == self.rules.controller_namespace
                || self.rules.namespaces.iter().any(|pattern| match pattern {
                    NamespacePattern::Glob(glob) => glob.matches(namespace),
                    NamespacePattern::Regex(regex) => regex.is_match(namespace),
                }));
        if permitted {
            return Ok(());
        }
        Err(Refusal::ApplicationNamespace { project: self.owned_name(), namespace: namespace.to_owned() })
    }

    /// Whether a repository may be a source.
    ///
    /// # Errors
    /// When it may not.
    pub fn permits_source(&self, repo_url: &str) -> Result<(), Refusal> {
        let normalized = normalize_url(repo_url);
        let mut matched = false;
        let mut denied = false;
        for pattern in &self.rules.sources {
            match pattern.opinion(&normalized) {
                Opinion::Matched => matched = true,
                Opinion::Silent => {}
                Opinion::Denied => denied = true,
            }
        }
        if matched && !denied && !is_disguised(&normalized) {
            return Ok(());
        }
        Err(Refusal::Source { project: self.owned_name(), repo_url: without_user(repo_url) })
    }

    /// Whether a cluster and a namespace in it may be a destination.
    ///
    /// # Errors
    /// When they may not: by the project's destinations, or because the cluster is reserved for another project.
    pub fn permits_destination(&self, destination: &Destination, namespace: &str) -> Result<(), Refusal> {
        self.permits_cluster(destination)?;
        if self.reaches(destination, namespace) {
            return Ok(());
        }
        Err(Refusal::Destination {
            project: self.owned_name(),
            server: destination.server.clone(),
            namespace: namespace.to_owned(),
        })
    }

    fn permits_cluster(&self, destination: &Destination) -> Result<(), Refusal> {
        let own = destination.project == self.rules.name;
        let reason = if !destination.project.is_empty() && !own {
            format!("reserves it for project '{}'", destination.project)
        } else if self.rules.own_clusters_only && !own {
            format!("must be '{}', for the project permits only clusters of its own", self.rules.name)
        } else {
            return Ok(());
        };
        Err(Refusal::Cluster { project: self.owned_name(), server: destination.server.clone(), reason })
    }

    fn reaches(&self, destination: &Destination, namespace: &str) -> bool {
        let mut reached = false;
        for rule in &self.rules.destinations {
            let opinion = |pattern: &Option<Pattern>, text: &str| {
                pattern.as_ref().map_or(Opinion::Silent, |pattern| pattern.opinion(text))
            };
            let server = opinion(&rule.server, &destination.server);
            let name = opinion(&rule.name, &destination.name);
            let in_namespace = rule.namespace.opinion(namespace);
            let in_cluster = server == Opinion::Matched || name == Opinion::Matched;
            if in_cluster && in_namespace == Opinion::Matched {
                reached = true;
            } else if name == Opinion::Denied
                || (server == Opinion::Denied && in_namespace == Opinion::Matched)
                || (in_namespace == Opinion::Denied && in_cluster)
            {
                return false;
            }
        }
        reached
    }

    /// Whether an object may be written, or be seen at all: by its kind, and in a namespace also by the destinations.
    ///
    /// # Errors
    /// When it may not.
    pub fn permits_resource(
        &self,
        key: &ObjectKey,
        scope: Scope,
        destination: &Destination,
    ) -> Result<(), Refusal> {
        let kind = |remedy| Refusal::Kind {
            project: self.owned_name(),
            group: key.group.clone(),
            kind: key.kind.clone(),
            name: key.name.clone(),
            remedy,
        };
        let any = |rules: &[KindRule], unreadable| rules.iter().any(|rule| rule.fits(key, unreadable));
        self.permits_cluster(destination)?;
        match scope {
            Scope::Cluster => {
                if !any(&self.rules.cluster_permitted, false) {
                    return Err(kind("add its kind to the project's spec.clusterResourceWhitelist"));
                }
                if any(&self.rules.cluster_denied, true) {
                    return Err(kind("it is in the project's spec.clusterResourceBlacklist"));
                }
                Ok(())
            }
            Scope::Namespaced => {
                if self.rules.namespaced_permitted.as_ref().is_some_and(|rules| !any(rules, false)) {
                    return Err(kind("add its kind to the project's spec.namespaceResourceWhitelist"));
                }
                if any(&self.rules.namespaced_denied, true) {
                    return Err(kind("it is in the project's spec.namespaceResourceBlacklist"));
                }
                if self.reaches(destination, &key.namespace) {
                    return Ok(());
                }
                Err(Refusal::Namespace {
                    project: self.owned_name(),
                    namespace: key.namespace.clone(),
                    server: destination.server.clone(),
                })
            }
        }
    }

    /// Judges what an Application says about itself. What comes back judges single writes.
    ///
    /// # Errors
    /// When its namespace, one of its sources or its destination is not permitted, or when it names no source.
    pub fn admit(&self, claim: &Claim<'_>) -> Result<Admission, Refusal> {
        if claim.repo_urls.is_empty() {
            return Err(Refusal::NoSource { project: self.owned_name() });
        }
        for repo_url in claim.repo_urls {
            self.permits_source(repo_url)?;
        }
        self.admit_place(claim, true)
    }

    /// The same for the cascade of a deletion: a source that the project has since struck off must not keep objects
    /// alive, so sources are not asked; and the admission permits no apply.
    ///
    /// # Errors
    /// When the Application's namespace or destination is not permitted.
    pub fn admit_deletion(&self, claim: &Claim<'_>) -> Result<Admission, Refusal> {
        self.admit_place(claim, false)
    }

    fn admit_place(&self, claim: &Claim<'_>, source_permitted: bool) -> Result<Admission, Refusal> {
        self.permits_application_namespace(claim.application_namespace)?;
        self.permits_destination(claim.destination, claim.namespace)?;
        Ok(Admission::new(self.clone(), claim.destination.clone(), source_permitted))
    }
}

/// A repository URL in the form in which URLs are compared: lower case, without `ssh://` and `.git`, and the scp-like
/// `git@host:path` as `git@host/path`.
fn normalize_url(url: &str) -> String {
    let url = url.trim().to_lowercase();
    let url = url.strip_suffix(".git").unwrap_or(&url);
    if let Some(rest) = url.strip_prefix("ssh://") {
        return rest.to_owned();
    }
    match url.split_once('@') {
        Some((user, _)) if !user.contains(['/', ':']) => url.replacen(':', "/", 1),
        _ => url.to_owned(),
    }
}

/// Whether a URL may mean another place than its text shows, so that no pattern can judge it.
fn is_disguised(normalized: &str) -> bool {
    normalized.split('/').any(|segment| segment == "..")
        || normalized.contains("%2e")
        || normalized.contains("%2f")
        || normalized.contains(|character: char| character == '\\' || character.is_control())
}

/// A URL without user and password, for messages.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}
