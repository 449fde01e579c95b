//! Asking for a refresh by annotation.

use super::{Application, names};

/// How thorough a refresh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refresh {
    /// Resolve the revision anew and compare.
    Normal,
    /// Render anew as well, whatever is cached.
    Hard,
}

impl Refresh {
    /// The annotation's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Hard => "hard",
        }
    }
}

/// The refresh that somebody asked for. Any value but `hard` means a normal one.
pub fn requested(application: &Application) -> Option<Refresh> {
    let value = application.annotation(names::ANNOTATION_REFRESH)?;
    Some(if value == Refresh::Hard.as_str() { Refresh::Hard } else { Refresh::Normal })
}

/// Whether all work on the Application is suspended by annotation.
pub fn is_skipped(application: &Application) -> bool {
    let value = application.annotation(names::ANNOTATION_SKIP_RECONCILE).unwrap_or_default();
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(key: &str, value: &str) -> Application {
        let mut application = Application::default();
        application.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
        application
    }

    #[test]
    fn any_value_but_hard_is_a_normal_refresh() {
        assert_eq!(requested(&annotated(names::ANNOTATION_REFRESH, "hard")), Some(Refresh::Hard));
        assert_eq!(requested(&annotated(names::ANNOTATION_REFRESH, "please")), Some(Refresh::Normal));
        assert_eq!(requested(&Application::default()), None);
    }

    #[test]
    fn work_is_suspended_by_a_true_value_only() {
        assert!(is_skipped(&annotated(names::ANNOTATION_SKIP_RECONCILE, "true")));
        assert!(!is_skipped(&annotated(names::ANNOTATION_SKIP_RECONCILE, "false")));
        assert!(!is_skipped(&annotated(names::ANNOTATION_SKIP_RECONCILE, "yes")));
    }
}
