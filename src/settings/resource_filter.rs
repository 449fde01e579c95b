//! Which kinds Skiff looks at: `resource.exclusions` and `resource.inclusions`.
//!
//! Excluded (by setting or always) is excluded; else included is included; else, where some inclusion concerns the
//! cluster, excluded; else included.

use serde::Deserialize;

use super::reader::{Fault, Reader, yaml};
use crate::glob::{Dialect, Glob};

/// Kinds that are never looked at: they change all the time or are no objects.
const ALWAYS_EXCLUDED: &[(&str, &str)] =
    &[("events.k8s.io", "*"), ("metrics.k8s.io", "*"), ("", "Event"), ("coordination.k8s.io", "Lease")];

/// Which kinds Skiff looks at.
#[derive(Clone, Debug, Default)]
pub struct ResourceFilter {
    exclusions: Vec<Rule>,
    inclusions: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    groups: Vec<Glob>,
    kinds: Vec<String>,
    clusters: Vec<Glob>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    api_groups: Vec<String>,
    kinds: Vec<String>,
    clusters: Vec<String>,
}

impl ResourceFilter {
    /// Whether a kind in a cluster is left alone.
    pub fn excludes(&self, group: &str, kind: &str, server: &str) -> bool {
        let always = ALWAYS_EXCLUDED.iter().any(|(of, name)| *of == group && (*name == "*" || *name == kind));
        if always || self.exclusions.iter().any(|rule| rule.matches(group, kind, server)) {
            return true;
        }
        let concerns_cluster = self.inclusions.iter().any(|rule| any_glob(&rule.clusters, server));
        concerns_cluster && !self.inclusions.iter().any(|rule| rule.matches(group, kind, server))
    }
}

impl Rule {
    fn matches(&self, group: &str, kind: &str, server: &str) -> bool {
        let of_kind = self.kinds.is_empty() || self.kinds.iter().any(|name| name == "*" || name == kind);
        of_kind && any_glob(&self.groups, group) && any_glob(&self.clusters, server)
    }
}

fn any_glob(globs: &[Glob], text: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(text))
}

pub(super) fn read(config: &mut Reader<'_>, last_good: &ResourceFilter) -> ResourceFilter {
    ResourceFilter {
        exclusions: config.read("resource.exclusions", last_good.exclusions.clone(), Vec::new(), rules),
        inclusions: config.read("resource.inclusions", last_good.inclusions.clone(), Vec::new(), rules),
    }
}

fn rules(text: &str) -> Result<Vec<Rule>, Fault> {
    let written: Option<Vec<Written>> = yaml(text)?;
    written.unwrap_or_default().into_iter().map(rule).collect()
}

fn rule(written: Written) -> Result<Rule, Fault> {
    let globs = |patterns: Vec<String>| {
        patterns
            .iter()
            .map(|pattern| Glob::new(pattern, Dialect::Plain).map_err(|error| Fault::new(error.to_string())))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Rule { groups: globs(written.api_groups)?, kinds: written.kinds, clusters: globs(written.clusters)? })
}
