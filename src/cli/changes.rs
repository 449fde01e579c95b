//! What would change in objects, shown like a code review: for a terminal, for programs, or for a pull request.

use std::io;

use serde_json::{Value, json};

use super::output::{Console, Tone};
use crate::object::ObjectKey;

/// How changes are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ChangesFormat {
    /// A unified difference of each object.
    #[default]
    Text,
    /// JSON.
    Json,
    /// Markdown, for a comment on a pull request.
    Markdown,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a command shows changes.
#[derive(Debug, clap::Args)]
pub struct ChangesOptions {
    /// What the output looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: ChangesFormat,

    /// When to use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
}

impl ChangesOptions {
    /// Prints the changes. `title` says what of; `notes` what is left out.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn show(
        &self,
        title: &str,
        changes: &[ShownChange<'_>],
        notes: &[String],
        console: &mut Console<'_>,
    ) -> io::Result<()> {
        match self.color {
            Colour::Auto => {}
            Colour::Always => console.colours = true,
            Colour::Never => console.colours = false,
        }
        show(title, changes, notes, self.output, console)
    }
}

/// What would change in one object.
pub struct ShownChange<'a> {
    /// The object.
    pub key: &'a ObjectKey,
    /// A unified difference, with values of Secrets masked.
    pub text: &'a str,
}

impl ShownChange<'_> {
    /// What would happen to the object, as the difference tells: one of its sides is empty or none is.
    fn action(&self) -> &'static str {
        let header = self.text.lines().find(|line| line.starts_with("@@")).unwrap_or_default();
        match header.split(' ').collect::<Vec<_>>().as_slice() {
            [_, "-0,0", ..] => "create",
            [_, _, "+0,0", ..] => "delete",
            _ => "change",
        }
    }
}

fn show(
    title: &str,
    changes: &[ShownChange<'_>],
    notes: &[String],
    format: ChangesFormat,
    console: &mut Console<'_>,
) -> io::Result<()> {
    match format {
        ChangesFormat::Text => {
            tell(notes, console)?;
            changes.iter().try_for_each(|change| as_text(change, console))
        }
        ChangesFormat::Json => {
            let changes: Vec<Value> = changes.iter().map(as_json).collect();
            console.json(&json!({ "title": title, "changes": changes, "notes": notes }))
        }
        ChangesFormat::Markdown => as_markdown(title, changes, notes, console),
    }
}

fn tell(notes: &[String], console: &mut Console<'_>) -> io::Result<()> {
    for note in notes {
        let label = console.paint("note:", Tone::Notice);
        console.progress(&format!("{label} {note}"))?;
    }
    Ok(())
}

fn as_text(change: &ShownChange<'_>, console: &mut Console<'_>) -> io::Result<()> {
    console.line(&format!("===== {} =====", change.key))?;
    for line in change.text.lines() {
        let tone = match line.chars().next() {
            Some('+') => Tone::Good,
            Some('-') => Tone::Bad,
            Some('@') => Tone::Notice,
            _ => Tone::Plain,
        };
        let line = console.paint(line, tone);
        console.line(&line)?;
    }
    console.line("")
}

fn as_json(change: &ShownChange<'_>) -> Value {
    let key = change.key;
    json!({
        "action": change.action(),
        "group": key.group,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "diff": change.text,
    })
}

fn as_markdown(
    title: &str,
    changes: &[ShownChange<'_>],
    notes: &[String],
    console: &mut Console<'_>,
) -> io::Result<()> {
    let count = |action: &str| changes.iter().filter(|change| change.action() == action).count();
    console.line(&format!("### {title}\n"))?;
    if changes.is_empty() {
        console.line("No changes.")?;
    } else {
        console.line(&format!(
            "**{}** to create, **{}** to change, **{}** to delete.\n",
            count("create"),
            count("change"),
            count("delete")
        ))?;
    }
    for change in changes {
        // A fence must be longer than any in the text.
        let longest = change.text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        console.line(&format!(
            "<details><summary>{} <code>{}</code></summary>\n",
            change.action(),
            change.key
        ))?;
        console.line(&format!("{fence}diff\n{}\n{fence}\n</details>\n", change.text.trim_end()))?;
    }
    for note in notes {
        console.line(&format!("- {note}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: ChangesFormat, text: &str) -> String {
        let key = ObjectKey::new("apps", "Deployment", "shop", "orders");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err, input: None, colours: false };
        let changes = [ShownChange { key: &key, text }];
        show("shop", &changes, &["something is left out".to_owned()], format, &mut console).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_happens_is_told_by_the_sides() {
        let action = |text: &str| {
            let value: Value = serde_json::from_str(&shown(ChangesFormat::Json, text)).unwrap();
            value["changes"][0]["action"].as_str().unwrap().to_owned()
        };
        assert_eq!(action("--- a\n+++ b\n@@ -0,0 +1,2 @@\n+a: 1\n+b: 1\n"), "create");
        assert_eq!(action("--- a\n+++ b\n@@ -1,2 +0,0 @@\n-a: 1\n-b: 1\n"), "delete");
        assert_eq!(action("--- a\n+++ b\n@@ -1 +1 @@\n-a: 1\n+a: 2\n"), "change");
    }

    #[test]
    fn markdown_survives_fences_in_the_text() {
        let text = shown(ChangesFormat::Markdown, "--- a\n+++ b\n@@ -1 +1 @@\n-a: ```\n+a: ````\n");
        assert!(text.contains("\n`````diff\n") && text.contains("\n`````\n"), "{text}");
        assert!(text.contains("**0** to create, **1** to change"), "{text}");
        assert!(
            text.contains("<code>apps/Deployment:shop/orders</code>") && text.contains("- something"),
            "{text}"
        );
    }
}
