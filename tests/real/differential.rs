//! Holds the sandbox to a real kube-apiserver: both get the same requests and must give the same answers.
//!
//! ```text
//! sequences/*.yaml ──▶ play ─┬─▶ sandbox ────────┬─▶ normal ─▶ differences ─▶ known? ─▶ the test fails
//!                            └─▶ kube-apiserver ─┘
//! apply.rs: random applies, updates and patches by several managers, compared in the same way
//! ```
//!
//! Compared are status codes, reasons, causes, messages, warnings and objects, without what a server makes up (uids, times,
//! resource versions, addresses) and what controllers do in their own time. What differs on purpose stands in
//! [`known::DIFFERENCES`] with its reason; an entry that nothing needs any more fails the test.

mod apply;
mod known;
mod normal;
mod play;
mod sequence;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use skiff::sandbox::{Sandbox, ServeOptions, Server as Socket};

use self::play::Server;
use self::sequence::{Sequence, Theme};

/// How many sequences run at the same time.
const AT_ONCE: usize = 12;

/// How much of a value is shown.
const SHOWN: usize = 2000;

/// A sequence of a file.
struct Case {
    theme: Arc<str>,
    sequence: Sequence,
    definitions: Arc<BTreeMap<String, Value>>,
}

impl Case {
    fn makes_definitions(&self) -> bool {
        self.sequence.steps.iter().any(|step| step.what.contains("CREATE customresourcedefinitions"))
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/differential/sequences");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let theme: Arc<str> = file.file_stem().unwrap().to_str().unwrap().into();
        let text = std::fs::read_to_string(&file).unwrap();
        let content: Theme =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let definitions = Arc::new(content.definitions);
        cases.extend(content.sequences.into_iter().map(|sequence| Case {
            theme: theme.clone(),
            sequence,
            definitions: definitions.clone(),
        }));
    }
    cases
}

/// A sandbox on a socket, so that both servers are spoken to alike.
async fn sandbox() -> (Server, Socket) {
    let sandbox = Sandbox::builder().build();
    let socket = sandbox.serve(ServeOptions { tls: false, ..ServeOptions::default() }).await.unwrap();
    let config = kube::Config::new(socket.url().parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    (Server { client, sandbox: Some(sandbox) }, socket)
}

/// One difference: sequence, step, place, the sandbox's value and the real one.
struct Difference {
    sequence: String,
    step: String,
    at: String,
    sandbox: Value,
    real: Value,
}

async fn compare(real: &Server, case: &Case, namespace: &str) -> Vec<Difference> {
    let (sandbox, _socket) = sandbox().await;
    let (ours, theirs) = tokio::join!(
        sandbox.play(&case.sequence, &case.definitions, namespace),
        real.play(&case.sequence, &case.definitions, namespace),
    );
    let sequence = format!("{}: {}", case.theme, case.sequence.name);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (ours, theirs) => {
            let told = |played: play::Played| played.map_or_else(Value::from, |_| Value::Null);
            let (at, step) = ("stopped".to_owned(), String::new());
            return vec![Difference { sequence, step, at, sandbox: told(ours), real: told(theirs) }];
        }
    };
    let steps = case.sequence.steps.iter().filter(|step| step.what != "COMPACT");
    let mut found = Vec::new();
    for (index, (step, (ours, theirs))) in steps.zip(ours.iter().zip(&theirs)).enumerate() {
        let differences = match (ours.code, theirs.code) {
            (one, other) if one != other => vec![("/code".to_owned(), ours.gist(), theirs.gist())],
            _ => normal::differences(
                &normal::normal(ours, step.controllers),
                &normal::normal(theirs, step.controllers),
            ),
        };
        found.extend(differences.into_iter().map(|(at, sandbox, real)| Difference {
            sequence: sequence.clone(),
            step: format!("{index} {}", step.what),
            at,
            sandbox,
            real,
        }));
    }
    found
}

/// The sandbox and a real API server give the same answers to every sequence.
#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_answers_as_a_kube_apiserver_does() {
    let cluster = crate::control_plane::shared_async().await;
    let _place = crate::worlds::Place::take(false).await;
    let real = Server { client: cluster.client().await, sandbox: None };
    let wanted = std::env::var("SKIFF_TEST_SEQUENCE").ok();
    let cases = cases();
    assert!(cases.len() >= 150, "only {} sequences", cases.len());
    let run = format!("{:05x}", fastrand::u32(..1 << 20));
    let chosen = cases.iter().enumerate().filter(|(_, case)| {
        let name = format!("{}: {}", case.theme, case.sequence.name);
        wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()))
    });
    // The controllers of a real cluster stand still while definitions come and go.
    let (calm, restless): (Vec<_>, Vec<_>) = chosen.partition(|(_, case)| !case.makes_definitions());
    let mut found = Vec::new();
    for part in [calm, restless] {
        let differences = stream::iter(part).map(|(index, case)| {
            let namespace = format!("d{run}-{index}");
            let real = real.clone();
            async move { compare(&real, case, &namespace).await }
        });
        found.extend(differences.buffer_unordered(AT_ONCE).concat().await);
    }
    for index in 0..cases.len() {
        real.remove_namespace(&format!("d{run}-{index}")).await;
    }
    let mut used = vec![false; known::DIFFERENCES.len()];
    let mut report = String::new();
    let mut last = String::new();
    for difference in found {
        let entry =
            known::DIFFERENCES.iter().position(|known| known.covers(&difference.sequence, &difference.at));
        if let Some(entry) = entry {
            used[entry] = true;
            continue;
        }
        if last != difference.sequence {
            let _ = writeln!(report, "\n{}", difference.sequence);
            last.clone_from(&difference.sequence);
        }
        let [ours, theirs] = [&difference.sandbox, &difference.real].map(|value| {
            let text = value.to_string();
            text.char_indices().nth(SHOWN).map_or(text.clone(), |(end, _)| format!("{}…", &text[..end]))
        });
        let _ = writeln!(
            report,
            "  {} {}\n    sandbox {ours}\n    real    {theirs}",
            difference.step, difference.at
        );
    }
    if wanted.is_none() {
        let of_sequences = |known: &known::Known| !known.sequence.starts_with("property: ");
        let idle = known::DIFFERENCES.iter().zip(&used).filter(|(_, used)| !**used);
        for (known, _) in idle.filter(|(known, _)| of_sequences(known)) {
            let _ =
                writeln!(report, "\nno longer different: {} {} ({})", known.sequence, known.at, known.why);
        }
    }
    assert!(report.is_empty(), "the sandbox differs from the kube-apiserver:\n{report}");
}
