//! The options of Kustomize builds: of `kustomize.buildOptions`, only `--load-restrictor` is acted on.

use super::reader::Fault;
use crate::render::kustomize::LoadRestrictor;

/// The key of the options.
pub(super) const BUILD_OPTIONS: &str = "kustomize.buildOptions";
const FLAG: &str = "--load-restrictor";

/// Which files a kustomization may read; what holds by default when the options do not say.
pub(super) fn load_restrictor(text: &str) -> Result<LoadRestrictor, Fault> {
    match split(text).0.last() {
        None => Ok(LoadRestrictor::default()),
        Some(&"LoadRestrictionsNone") => Ok(LoadRestrictor::None),
        Some(&"LoadRestrictionsRootOnly") => Ok(LoadRestrictor::RootOnly),
        Some(other) => Err(Fault::new(format!(
            "'{FLAG} {other}' is neither 'LoadRestrictionsNone' nor 'LoadRestrictionsRootOnly'"
        ))),
    }
}

/// The words that are not acted on.
pub(super) fn words_without_effect(text: &str) -> Vec<String> {
    split(text).1.into_iter().map(str::to_owned).collect()
}

/// The values of the flag in both of its spellings, and all other words.
fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut values, mut others) = (Vec::new(), Vec::new());
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        match word.strip_prefix(FLAG) {
            Some("") => values.push(words.next().unwrap_or_default()),
            Some(rest) if rest.starts_with('=') => values.push(rest.trim_start_matches('=')),
            _ => others.push(word),
        }
    }
    (values, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_load_restrictor_are_read() {
        for text in ["--load-restrictor LoadRestrictionsNone", "--x --load-restrictor=LoadRestrictionsNone"] {
            assert_eq!(load_restrictor(text).ok(), Some(LoadRestrictor::None), "{text}");
        }
        for text in ["--enable-helm", "--load-restrictor LoadRestrictionsRootOnly"] {
            assert_eq!(load_restrictor(text).ok(), Some(LoadRestrictor::RootOnly), "{text}");
        }
        for text in ["--load-restrictor", "--load-restrictor=none"] {
            assert!(load_restrictor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_words_have_no_effect() {
        let text = "--enable-helm --load-restrictor LoadRestrictionsNone --helm-command helm3";
        assert_eq!(words_without_effect(text), ["--enable-helm", "--helm-command", "helm3"]);
    }
}
