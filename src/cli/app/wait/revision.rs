//! Whether an Application is at a revision or a later one.
//!
//! That it is the revision itself, its status says. That one which was synced is later, its history says: the list of
//! what was synced, in this order. A commit that never was synced, because the next one came before the agent looked,
//! is in no history but Git's; so the repository is asked, once for each revision that the Application is at.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::super::AppError;
use crate::{
    api::{Application, RevisionHistory},
    cli::git_login::{GitAccess, GitLoginError},
    git::{CommitId, GitError, GitOptions, RepoUrl, Repositories},
};

/// Fewer digits of a commit's id may mean another one tomorrow.
const MIN_DIGITS: usize = 7;

/// A revision that is waited for, and what is known of others.
pub(super) struct Wanted {
    digits: String,
    /// Revisions that the repository was asked about, and whether they are as late.
    asked: HashMap<String, bool>,
}

/// What can be said of an Application's revisions without the repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is at the revision, or at a later one.
    Reached,
    /// It is not.
    NotYet,
    /// These have to be asked for.
    Ask(Vec<Question>),
}

/// A repository, and the revision that the Application is at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    repository: String,
    revision: String,
}

/// Why a repository has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Login(#[from] GitLoginError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("cannot make a temporary directory")]
    Directory(#[from] std::io::Error),
    #[error("'{0}' is no commit")]
    NoCommit(String),
    #[error("repository {repository} has no commit {digits}")]
    Unknown { repository: String, digits: String },
}

impl Wanted {
    /// Reads a commit's id, or the first digits of one.
    pub(super) fn parse(text: &str) -> Result<Self, AppError> {
        let is_id = (MIN_DIGITS..=40).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit());
        if !is_id {
            let message =
                format!("--revision '{text}' is no commit: write its {MIN_DIGITS} to 40 hexadecimal digits");
            return Err(AppError::Usage { message });
        }
        Ok(Self { digits: text.to_ascii_lowercase(), asked: HashMap::new() })
    }

    /// Whether the Application was last compared with the revision or a later one.
    pub(super) fn judge(&self, application: &Application) -> Verdict {
        let Some(sync) = &application.status.sync else { return Verdict::NotYet };
        let compared =
            if sync.revisions.is_empty() { std::slice::from_ref(&sync.revision) } else { &sync.revisions };
        let sources = application.spec.effective_sources();
        let mut questions = Vec::new();
        for (source, revision) in sources.iter().zip(compared).filter(|(_, revision)| !revision.is_empty()) {
            if revision.starts_with(&self.digits)
                || self.asked.get(revision) == Some(&true)
                || self.was_synced_before(revision, &application.status.history)
            {
                return Verdict::Reached;
            }
            if !self.asked.contains_key(revision) && CommitId::parse(revision).is_some() {
                questions.push(Question { repository: source.repo_url.clone(), revision: revision.clone() });
            }
        }
        if questions.is_empty() { Verdict::NotYet } else { Verdict::Ask(questions) }
    }

    /// Whether the history has the revision, and has `later` after it but never before.
    fn was_synced_before(&self, later: &str, history: &[RevisionHistory]) -> bool {
        let first = |fits: &dyn Fn(&str) -> bool| {
            history.iter().position(|entry| {
                let all = entry.revisions.iter().chain([&entry.revision]);
                all.into_iter().any(|revision| !revision.is_empty() && fits(revision))
            })
        };
        let (wanted, later) = (first(&|it| it.starts_with(&self.digits)), first(&|it| it == later));
        wanted.is_some_and(|wanted| later.is_some_and(|later| wanted < later))
    }

    /// Asks a repository, and remembers the answer; where it has none, that the revision is not as late.
    pub(super) async fn ask(&mut self, question: &Question, access: &GitAccess) -> Result<(), AskError> {
        let answer = self.answer(question, access).await;
        self.asked.insert(question.revision.clone(), matches!(answer, Ok(true)));
        answer.map(drop)
    }

    async fn answer(&self, question: &Question, access: &GitAccess) -> Result<bool, AskError> {
        let later = CommitId::parse(&question.revision)
            .ok_or_else(|| AskError::NoCommit(question.revision.clone()))?;
        let url = RepoUrl::parse(&question.repository).map_err(GitLoginError::from)?;
        let credentials = access.credentials(&url)?;
        // A mirror of its own: it may be the machine of a pipeline.
        let cache = tempfile::tempdir()?;
        let repositories = Repositories::new(GitOptions::new(cache.path().to_owned()), None);
        let cancel = CancellationToken::new();
        let leads = repositories.leads_to(&url, &credentials, (&self.digits, &later), &cancel).await?;
        leads.ok_or_else(|| AskError::Unknown {
            repository: question.repository.clone(),
            digits: self.digits.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FIRST: &str = "1111111111111111111111111111111111111111";
    const SECOND: &str = "2222222222222222222222222222222222222222";
    const THIRD: &str = "3333333333333333333333333333333333333333";

    fn at(revision: &str, history: &[&str]) -> Application {
        let history: Vec<Value> = history
            .iter()
            .enumerate()
            .map(|(id, revision)| json!({ "id": id, "deployedAt": "2026-01-01T00:00:00Z", "revision": revision }))
            .collect();
        Application::from_value(json!({
            "metadata": { "name": "orders", "namespace": "argocd" },
            "spec": { "source": { "repoURL": "file:///r", "path": "a" }, "destination": {}, "project": "default" },
            "status": { "sync": { "status": "Synced", "revision": revision }, "history": history },
        }))
        .unwrap()
    }

    fn ask(revision: &str) -> Verdict {
        let (repository, revision) = ("file:///r".to_owned(), revision.to_owned());
        Verdict::Ask(vec![Question { repository, revision }])
    }

    #[test]
    fn a_revision_is_reached_by_itself_and_by_what_was_synced_after_it() {
        for digits in [SECOND, "2222222"] {
            let wanted = Wanted::parse(digits).unwrap();
            assert_eq!(wanted.judge(&at(SECOND, &[])), Verdict::Reached);
            assert_eq!(wanted.judge(&at(THIRD, &[FIRST, SECOND, THIRD])), Verdict::Reached);
            assert_eq!(wanted.judge(&at("", &[])), Verdict::NotYet);
        }
    }

    #[test]
    fn what_history_cannot_tell_the_repository_is_asked_once() {
        let mut wanted = Wanted::parse(SECOND).unwrap();
        assert_eq!(wanted.judge(&at(THIRD, &[FIRST, THIRD])), ask(THIRD), "it was passed over");
        assert_eq!(wanted.judge(&at(FIRST, &[FIRST, SECOND, FIRST])), ask(FIRST), "it was taken back");
        assert_eq!(wanted.judge(&at(THIRD, &[FIRST, SECOND])), ask(THIRD), "not synced yet");
        wanted.asked.extend([(FIRST.to_owned(), false), (THIRD.to_owned(), true)]);
        assert_eq!(wanted.judge(&at(FIRST, &[FIRST, SECOND, FIRST])), Verdict::NotYet);
        assert_eq!(wanted.judge(&at(THIRD, &[])), Verdict::Reached);
    }

    #[test]
    fn a_branch_s_name_is_no_revision_to_wait_for() {
        for text in ["main", "123456", "v1.2.3", "", "11111111111111111111111111111111111111111"] {
            let error = Wanted::parse(text).err().unwrap();
            assert!(error.to_string().contains("hexadecimal digits"), "{error}");
        }
    }
}
