//! Findings as text, JUnit XML, SARIF, and annotations of GitHub.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::finding::{Finding, Rule, Severity};

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line for each finding, and a summary
    #[default]
    Text,
    /// JUnit XML: a test case for each Application and rule
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// What was looked at, and what was found.
pub(super) struct Report {
    /// The Applications, `namespace/name`.
    pub(super) applications: Vec<String>,
    /// How many objects they declare.
    pub(super) objects: usize,
    /// How many Applications were synced.
    pub(super) synced: usize,
    /// What was found, and how much it matters.
    pub(super) findings: Vec<(Severity, Finding)>,
}

impl Report {
    /// Writes the report.
    pub(super) fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Text => self.text(out)?,
            Format::Junit => self.junit(out)?,
            Format::Sarif => writeln!(out, "{:#}", self.sarif())?,
            Format::Github => self.github(out)?,
        }
        out.flush()
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|(of, _)| *of == severity).count()
    }

    /// Whether something was found that nobody allowed.
    pub(super) fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    fn summary(&self) -> String {
        let plural = |count: usize, one: &str| {
            if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
        };
        format!(
            "{} with {}, {} synced on the sandbox: {}, {}",
            plural(self.applications.len(), "application"),
            plural(self.objects, "object"),
            self.synced,
            plural(self.count(Severity::Error), "error"),
            plural(self.count(Severity::Warning), "warning"),
        )
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for (severity, finding) in &self.findings {
            let severity = if *severity == Severity::Error { "error" } else { "warning" };
            let place =
                finding.place.as_ref().map_or(String::new(), |it| format!("{}:{}: ", it.path, it.line));
            let of = if finding.application.is_empty() {
                String::new()
            } else {
                format!("application '{}': ", finding.application)
            };
            writeln!(out, "{place}{severity}: {of}{} [{}]", finding.message, finding.rule.name())?;
        }
        writeln!(out, "{}", self.summary())
    }

    fn junit(&self, out: &mut dyn Write) -> io::Result<()> {
        let errors = self.findings.iter().filter(|(severity, _)| *severity == Severity::Error);
        let mut failed: BTreeMap<(&str, Rule), Vec<&Finding>> = BTreeMap::new();
        for (_, finding) in errors {
            failed.entry((finding.application.as_str(), finding.rule)).or_default().push(finding);
        }
        // What belongs to no Application is a case of its own.
        let mut suites: Vec<&str> = self.applications.iter().map(String::as_str).collect();
        suites.extend(failed.keys().map(|(application, _)| *application));
        suites.push("");
        suites.sort_unstable();
        suites.dedup();
        let tests = suites.len() * Rule::ALL.len();
        writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        writeln!(out, "<testsuites name=\"skiff test\" tests=\"{tests}\" failures=\"{}\">", failed.len())?;
        for suite in suites {
            let name = xml(if suite.is_empty() { "repository" } else { suite });
            let failures = failed.keys().filter(|(application, _)| *application == suite).count();
            let count = Rule::ALL.len();
            writeln!(out, "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failures}\">")?;
            for rule in Rule::ALL {
                let case = format!("    <testcase classname=\"{name}\" name=\"{}\"", rule.name());
                let Some(findings) = failed.get(&(suite, rule)) else {
                    writeln!(out, "{case}/>")?;
                    continue;
                };
                let first = findings.first().and_then(|finding| finding.place.as_ref());
                let place = first.map_or(String::new(), |it| {
                    format!(" file=\"{}\" line=\"{}\"", xml(it.path.as_str()), it.line)
                });
                writeln!(out, "{case}{place}>")?;
                for finding in findings {
                    let at = finding
                        .place
                        .as_ref()
                        .map_or(String::new(), |it| format!("{}:{}: ", it.path, it.line));
                    let text = xml(&finding.message);
                    writeln!(out, "      <failure message=\"{text}\">{}{text}</failure>", xml(&at))?;
                }
                writeln!(out, "    </testcase>")?;
            }
            writeln!(out, "  </testsuite>")?;
        }
        writeln!(out, "</testsuites>")
    }

    fn sarif(&self) -> Value {
        let rules: Vec<Value> = Rule::ALL
            .iter()
            .map(|rule| json!({ "id": rule.name(), "shortDescription": { "text": rule.describe() } }))
            .collect();
        let results: Vec<Value> = self
            .findings
            .iter()
            .map(|(severity, finding)| {
                let of = if finding.application.is_empty() {
                    String::new()
                } else {
                    format!("{}: ", finding.application)
                };
                let locations: Vec<Value> = finding
                    .place
                    .iter()
                    .map(|place| {
                        json!({ "physicalLocation": {
                            "artifactLocation": { "uri": place.path.as_str(), "uriBaseId": "%SRCROOT%" },
                            "region": { "startLine": place.line },
                        }})
                    })
                    .collect();
                json!({
                    "ruleId": finding.rule.name(),
                    "level": if *severity == Severity::Error { "error" } else { "warning" },
                    "message": { "text": format!("{of}{}", finding.message) },
                    "locations": locations,
                })
            })
            .collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": { "name": "skiff test", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
                "results": results,
            }],
        })
    }

    fn github(&self, out: &mut dyn Write) -> io::Result<()> {
        for (severity, finding) in &self.findings {
            let command = if *severity == Severity::Error { "error" } else { "warning" };
            let title = if finding.application.is_empty() {
                finding.rule.name().to_owned()
            } else {
                format!("{} ({})", finding.rule.name(), finding.application)
            };
            let place = finding
                .place
                .as_ref()
                .map_or(String::new(), |it| format!("file={},line={},", property(it.path.as_str()), it.line));
            let message = finding.message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            writeln!(out, "::{command} {place}title={}::{message}", property(&title))?;
        }
        writeln!(out, "{}", self.summary())
    }
}

/// A value of an annotation's property.
fn property(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    text.replace(':', "%3A").replace(',', "%2C")
}

/// Text as it may stand in XML, in attributes too.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Not even as a reference.
            c if c.is_control() && !['\t', '\n', '\r'].contains(&c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Place, *};
    use crate::files::RepoPath;

    fn written(format: Format) -> String {
        let place = Place { path: RepoPath::parse("apps/a,b.yaml").unwrap(), line: 7 };
        let report = Report {
            applications: vec!["argocd/orders".to_owned(), "argocd/payments".to_owned()],
            objects: 3,
            synced: 1,
            findings: vec![
                (
                    Severity::Error,
                    Finding::new(Rule::RenderError, "argocd/orders", Some(place), "a < b & \"c\"\n100%"),
                ),
                (Severity::Warning, Finding::new(Rule::OrphanOverlay, "", None, "nobody uses it")),
            ],
        };
        let mut out = Vec::new();
        report.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_names_file_line_and_rule() {
        assert_eq!(
            written(Format::Text),
            "apps/a,b.yaml:7: error: application 'argocd/orders': a < b & \"c\" 100% [render-error]\n\
             warning: nobody uses it [orphan-overlay]\n\
             2 applications with 3 objects, 1 synced on the sandbox: 1 error, 1 warning\n"
        );
    }

    #[test]
    fn junit_has_a_case_for_each_application_and_rule() {
        let text = written(Format::Junit);
        for part in [
            "<testsuites name=\"skiff test\" tests=\"24\" failures=\"1\">",
            "<testcase classname=\"argocd/orders\" name=\"render-error\" file=\"apps/a,b.yaml\" line=\"7\">",
            "<failure message=\"a &lt; b &amp; &quot;c&quot; 100%\">apps/a,b.yaml:7: a &lt; b",
            "<testcase classname=\"argocd/payments\" name=\"conflict\"/>",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
        assert_eq!(text.matches("<testcase").count(), 24);
    }

    #[test]
    fn sarif_has_places_levels_and_rules() {
        let value: Value = serde_json::from_str(&written(Format::Sarif)).unwrap();
        let results = &value["runs"][0]["results"];
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
        assert_eq!(results[0]["level"], "error");
        assert_eq!((&results[1]["level"], &results[1]["locations"]), (&json!("warning"), &json!([])));
        assert_eq!(value["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), Rule::ALL.len());
    }

    #[test]
    fn annotations_escape_what_github_would_read() {
        let text = written(Format::Github);
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            "::error file=apps/a%2Cb.yaml,line=7,title=render-error (argocd/orders)::a < b & \"c\" 100%25"
        );
    }
}
