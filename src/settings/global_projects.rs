//! Which AppProjects inherit from which: `globalProjects`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reader::{Fault, yaml};

/// An AppProject whose rules others inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GlobalProject {
    /// Its name.
    pub project_name: String,
    label_selector: LabelSelector,
}

/// Labels that something must have; without requirements everything has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LabelSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Requirement {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl GlobalProject {
    /// Whether a project with these labels inherits from it.
    pub fn is_inherited_by(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let selector = &self.label_selector;
        name != self.project_name
            && selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && selector.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<GlobalProject>, Fault> {
    let projects: Option<Vec<GlobalProject>> = yaml(text)?;
    let projects = projects.unwrap_or_default();
    match projects.iter().position(|project| project.project_name.is_empty()) {
        Some(index) => Err(Fault::new(format!("field '[{index}].projectName': a project must be named"))),
        None => Ok(projects),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn inherits(selector: &str, name: &str, pairs: &[(&str, &str)]) -> bool {
        let text = format!("- projectName: global\n  labelSelector: {selector}\n");
        let Ok(projects) = parse(&text) else { panic!("{text}") };
        projects[0].is_inherited_by(name, &labels(pairs))
    }

    #[test]
    fn labels_say_who_inherits() {
        let team = "{matchLabels: {team: shop}}";
        assert!(inherits(team, "a", &[("team", "shop"), ("other", "x")]));
        assert!(!inherits(team, "a", &[("team", "bank")]) && !inherits(team, "a", &[]));
        let opt = "{matchExpressions: [{key: opt, operator: In, values: ['on', 'yes']}]}";
        assert!(inherits(opt, "a", &[("opt", "yes")]) && !inherits(opt, "a", &[("opt", "no")]));
        let none = "{matchExpressions: [{key: opt, operator: NotIn, values: ['no']}]}";
        assert!(inherits(none, "a", &[]) && !inherits(none, "a", &[("opt", "no")]));
        let there = "{matchExpressions: [{key: opt, operator: Exists}, {key: out, operator: DoesNotExist}]}";
        assert!(inherits(there, "a", &[("opt", "")]) && !inherits(there, "a", &[("opt", ""), ("out", "")]));
        assert!(inherits("{}", "a", &[]), "without requirements everybody does");
        assert!(!inherits("{}", "global", &[]), "nobody inherits from itself");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let fault = |text| parse(text).err().map(|fault| fault.message).unwrap_or_default();
        assert!(fault("- labelSelector: {}\n").contains("projectName"));
        let operator = "- projectName: a\n  labelSelector: {matchExpressions: [{key: a, operator: Like}]}\n";
        assert!(
            fault(operator).contains("[0].labelSelector.matchExpressions[0].operator"),
            "{}",
            fault(operator)
        );
    }
}
