//! The message of a commit that sets images: a template, and trailers that programs read.

use crate::{
    edit::ImageChange,
    error::{Classified, ErrorKind},
};

/// The message where none is given.
pub(super) const DEFAULT_TEMPLATE: &str = "Set {images} in {path}";

/// A template whose placeholders are all known.
#[derive(Debug)]
pub(super) struct Message<'a>(Vec<Part<'a>>);

#[derive(Debug)]
enum Part<'a> {
    Text(&'a str),
    Fact(&'a str),
}

/// Why a template cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A name in braces that stands for nothing.
    #[error(
        "--message has '{{{0}}}', which stands for nothing: there are {{images}}, {{path}}, {{branch}}, \
         {{source_commit}} and {{pipeline_run}}"
    )]
    Unknown(String),
    /// Nothing to say.
    #[error("--message is empty")]
    Empty,
}

impl Classified for MessageError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// What is known of the commit.
pub(super) struct Facts<'a> {
    pub(super) images: &'a [ImageChange],
    pub(super) path: &'a str,
    pub(super) branch: &'a str,
    pub(super) source_commit: Option<&'a str>,
    pub(super) pipeline_run: Option<&'a str>,
}

impl<'a> Message<'a> {
    pub(super) fn parse(template: &'a str) -> Result<Self, MessageError> {
        if template.trim().is_empty() {
            return Err(MessageError::Empty);
        }
        let (mut parts, mut rest) = (Vec::new(), template);
        while let Some((text, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else { break };
            if !["images", "path", "branch", "source_commit", "pipeline_run"].contains(&name) {
                return Err(MessageError::Unknown(name.to_owned()));
            }
            parts.extend([Part::Text(text), Part::Fact(name)]);
            rest = behind;
        }
        parts.push(Part::Text(rest));
        Ok(Self(parts))
    }

    /// The message with its trailers.
    pub(super) fn fill(&self, facts: &Facts<'_>) -> String {
        let images: Vec<String> = facts.images.iter().map(ToString::to_string).collect();
        let brief = match images.as_slice() {
            [one] => one.clone(),
            [one, two] => format!("{one} and {two}"),
            many => format!("{} images", many.len()),
        };
        let fact = |name: &str| match name {
            "images" => brief.clone(),
            "path" => facts.path.to_owned(),
            "branch" => facts.branch.to_owned(),
            "source_commit" => facts.source_commit.unwrap_or("an unknown commit").to_owned(),
            _ => facts.pipeline_run.unwrap_or("an unknown pipeline run").to_owned(),
        };
        let text: String = self
            .0
            .iter()
            .map(|part| match part {
                Part::Text(text) => (*text).to_owned(),
                Part::Fact(name) => fact(name),
            })
            .collect();
        let images = images.iter().map(|image| ("Image", image.as_str()));
        let source = facts.source_commit.map(|commit| ("Source-Commit", commit));
        let run = facts.pipeline_run.map(|run| ("Pipeline-Run", run));
        let mut message = format!("{}\n\n", text.trim());
        for (name, value) in images.chain(source).chain(run) {
            // A line break would end the trailer and begin another that nobody wrote.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            message.push_str(&format!("{name}: {value}\n"));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, images: &[&str], run: Option<&str>) -> Result<String, MessageError> {
        let images: Vec<ImageChange> = images.iter().map(|image| image.parse().unwrap()).collect();
        Ok(Message::parse(template)?.fill(&Facts {
            images: &images,
            path: "overlays/dev",
            branch: "main",
            source_commit: Some("abc"),
            pipeline_run: run,
        }))
    }

    #[test]
    fn placeholders_are_filled_and_trailers_follow() {
        assert_eq!(
            fill(DEFAULT_TEMPLATE, &["a=r/a:1"], Some("run-1\nImage: forged")).unwrap(),
            "Set r/a:1 in overlays/dev\n\nImage: r/a:1\nSource-Commit: abc\nPipeline-Run: run-1Image: forged\n"
        );
        assert_eq!(
            fill("{images} of {source_commit} on {branch}\n\nwhy { not", &["a:1", "b:2", "c:3"], None)
                .unwrap(),
            "3 images of abc on main\n\nwhy { not\n\nImage: a:1\nImage: b:2\nImage: c:3\nSource-Commit: abc\n"
        );
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_refused() {
        let error = fill("{imgaes}", &["a:1"], None).unwrap_err();
        assert!(
            error.to_string().contains("'{imgaes}'") && error.to_string().contains("{images}"),
            "{error}"
        );
        assert_eq!(fill(" \n", &["a:1"], None).unwrap_err(), MessageError::Empty);
    }
}
