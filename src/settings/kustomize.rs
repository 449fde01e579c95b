//! The options of Kustomize builds, `kustomize.buildOptions`: the flags of `kustomize build`.
//!
//! Flags that shape what is rendered are acted on. Those that would let the renderer start another program, or that belong
//! to Helm charts inside of kustomizations, are listed as without effect, each with the reason. A flag that `kustomize build`
//! does not have is a fault, as it would be there.

use super::reader::Fault;
use crate::render::kustomize::{LoadRestrictor, Reorder};

/// The key of the options.
pub(super) const BUILD_OPTIONS: &str = "kustomize.buildOptions";

/// What the flags say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BuildOptions {
    /// `--load-restrictor`: which files a kustomization may read.
    pub load_restrictor: LoadRestrictor,
    /// `--reorder`: the order of what a kustomization without `sortOptions` makes.
    pub reorder: Reorder,
}

const HELM: &str =
    "has no effect: Helm charts cannot be rendered yet, so that those inside of a kustomization are refused";
const PROGRAM: &str = "has no effect: the agent runs no other program, so functions and plugins are refused whatever is enabled";
const OUTPUT: &str = "has no effect: nothing is written to files";
const NO_FLAG: &str = "is no flag of kustomize build";

/// The flags of `kustomize build` without effect: whether each takes a value, and why it has no effect.
const WITHOUT_EFFECT: &[(&str, bool, &str)] = &[
    ("--as-current-user", false, PROGRAM),
    ("--enable-alpha-plugins", false, PROGRAM),
    ("--enable-exec", false, PROGRAM),
    ("--enable-star", false, PROGRAM),
    ("--enable-helm", false, HELM),
    ("--env", true, PROGRAM),
    ("-e", true, PROGRAM),
    ("--helm-api-versions", true, HELM),
    ("--helm-command", true, HELM),
    ("--helm-debug", false, HELM),
    ("--helm-kube-version", true, HELM),
    ("--mount", true, PROGRAM),
    ("--network", false, PROGRAM),
    ("--network-name", true, PROGRAM),
    ("--output", true, OUTPUT),
    ("-o", true, OUTPUT),
    ("--stack-trace", false, OUTPUT),
];

/// Reads the flags.
pub(super) fn build_options(text: &str) -> Result<BuildOptions, Fault> {
    let mut options = BuildOptions::default();
    for Flag { name, value } in flags(text) {
        match (name, value.as_deref()) {
            ("--load-restrictor", Some("LoadRestrictionsNone")) => {
                options.load_restrictor = LoadRestrictor::None;
            }
            ("--load-restrictor", Some("LoadRestrictionsRootOnly")) => {
                options.load_restrictor = LoadRestrictor::RootOnly;
            }
            ("--load-restrictor", value) => {
                return Err(Fault::new(format!(
                    "'{name} {}' is neither 'LoadRestrictionsNone' nor 'LoadRestrictionsRootOnly'",
                    value.unwrap_or_default()
                )));
            }
            ("--reorder", Some("legacy")) => options.reorder = Reorder::Legacy,
            ("--reorder", Some("none")) => options.reorder = Reorder::None,
            ("--reorder", value) => {
                return Err(Fault::new(format!(
                    "'{name} {}' is neither 'legacy' nor 'none'",
                    value.unwrap_or_default()
                )));
            }
            _ if is_without_effect(name).is_none() => return Err(Fault::new(format!("'{name}' {NO_FLAG}"))),
            _ => {}
        }
    }
    Ok(options)
}

/// The flags that are not acted on, and why.
pub(super) fn flags_without_effect(text: &str) -> Vec<(String, &'static str)> {
    flags(text)
        .filter_map(|flag| is_without_effect(flag.name).map(|(_, why)| (flag.name.to_owned(), why)))
        .collect()
}

struct Flag<'a> {
    name: &'a str,
    value: Option<String>,
}

/// Flags in both of their spellings: `--flag value` and `--flag=value`.
fn flags(text: &str) -> impl Iterator<Item = Flag<'_>> {
    let mut words = text.split_whitespace();
    std::iter::from_fn(move || {
        let word = words.next()?;
        if let Some((name, value)) = word.split_once('=') {
            return Some(Flag { name, value: Some(value.to_owned()) });
        }
        let takes_value = match word {
            "--load-restrictor" | "--reorder" => true,
            other => is_without_effect(other).is_some_and(|(takes_value, _)| takes_value),
        };
        let value = if takes_value { words.next().map(str::to_owned) } else { None };
        Some(Flag { name: word, value })
    })
}

fn is_without_effect(name: &str) -> Option<(bool, &'static str)> {
    let found = WITHOUT_EFFECT.iter().find(|(flag, _, _)| *flag == name);
    found.map(|(_, takes_value, why)| (*takes_value, *why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shapes_the_render_is_acted_on_in_both_spellings() {
        for text in [
            "--load-restrictor LoadRestrictionsNone --reorder none",
            "--enable-helm --load-restrictor=LoadRestrictionsNone --reorder=none",
        ] {
            let expected = BuildOptions { load_restrictor: LoadRestrictor::None, reorder: Reorder::None };
            assert_eq!(build_options(text).ok(), Some(expected), "{text}");
        }
        for text in ["", "--enable-helm", "--load-restrictor LoadRestrictionsRootOnly --reorder legacy"] {
            assert_eq!(build_options(text).ok(), Some(BuildOptions::default()), "{text}");
        }
    }

    #[test]
    fn values_and_flags_that_do_not_exist_are_faults() {
        let faults = [
            "--load-restrictor",
            "--load-restrictor=none",
            "--reorder",
            "--reorder fifo",
            "--enable-hlem",
            "LoadRestrictionsNone",
        ];
        for text in faults {
            assert!(build_options(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_without_effect_say_why() {
        let text =
            "--enable-helm --load-restrictor LoadRestrictionsNone --helm-command helm3 --enable-exec -e A=b";
        let reasons =
            [("--enable-helm", HELM), ("--helm-command", HELM), ("--enable-exec", PROGRAM), ("-e", PROGRAM)];
        let reasons: Vec<_> = reasons.map(|(name, why)| (name.to_owned(), why)).into();
        assert_eq!(flags_without_effect(text), reasons);
    }
}
