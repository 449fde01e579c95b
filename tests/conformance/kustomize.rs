//! Every case of kustomize's conformance data: a tree, the directory to build, and what kustomize 5.8.1 printed.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use skiff::{
    error::chain,
    files::{FileLimits, Files, MemoryTree, RepoPath},
    object::yaml::{self, DuplicateKeys, Schema},
    render::kustomize::{LoadRestrictor, Options, build},
};

/// Cases that do not pass yet. A case that begins to pass must be taken off.
const KNOWN_FAILURES: &[&str] = &[];

/// Symbolic links of the original trees, which the data holds as files with the target as their text (as Git does on a
/// system without links).
const LINKS: &[(&str, &str)] = &[("own--symlink-inside-ok", "o/link.yaml")];

fn cases_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/kustomize")
}

#[test]
fn every_kustomize_case_gives_what_kustomize_gives() {
    let mut directories: Vec<PathBuf> = fs::read_dir(cases_directory())
        .expect("the conformance data is beside the repository")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").is_file())
        .collect();
    directories.sort();
    assert!(!directories.is_empty(), "no case found");

    let mut failures = Vec::new();
    let mut passed_though_listed = Vec::new();
    let known: BTreeSet<&str> = KNOWN_FAILURES.iter().copied().collect();
    for directory in &directories {
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = catch_unwind(AssertUnwindSafe(|| run_case(directory)))
            .unwrap_or_else(|_| Err("panicked".to_owned()));
        match outcome {
            Ok(()) if known.contains(name.as_str()) => passed_though_listed.push(name),
            Ok(()) => {}
            Err(reason) => failures.push((name, reason)),
        }
    }
    println!("{} of {} cases pass", directories.len() - failures.len(), directories.len());
    failures.retain(|(name, _)| !known.contains(name.as_str()));
    for (name, reason) in &failures {
        println!("--- {name}\n{reason}");
    }
    assert!(failures.is_empty(), "{} cases fail", failures.len());
    assert!(passed_though_listed.is_empty(), "take these off the list of failures: {passed_though_listed:?}");
}

/// Cases that the command does not fail: where kustomize wants a kustomization file, it prints the directory's manifests.
const PLAIN_DIRECTORIES: &[&str] = &["krusty--accumulation--targetmusthavekustomizationfile"];

#[test]
fn the_command_prints_what_kustomize_prints() {
    let mut directories: Vec<PathBuf> = fs::read_dir(cases_directory())
        .expect("the conformance data is beside the repository")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").is_file())
        .filter(|path| !PLAIN_DIRECTORIES.iter().any(|name| path.ends_with(name)))
        .collect();
    directories.sort();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let parts = directories.chunks(directories.len().div_ceil(threads).max(1));
        let started: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    let failure = |directory: &PathBuf| {
                        let reason = run_command(directory).err()?;
                        Some(format!("--- {}\n{reason}", directory.display()))
                    };
                    part.iter().filter_map(failure).collect::<Vec<_>>()
                })
            })
            .collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("skiff render: {} of {} cases pass", directories.len() - failures.len(), directories.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn run_command(directory: &Path) -> Result<(), String> {
    let case: Value = serde_json::from_slice(&fs::read(directory.join("case.json")).unwrap()).unwrap();
    let linked = tempfile::tempdir().unwrap();
    let link = LINKS.iter().find(|(name, _)| directory.ends_with(name));
    let input = match link {
        None => directory.join("input"),
        Some((_, link)) => {
            copy(&directory.join("input"), linked.path());
            let link = linked.path().join(link);
            let target = fs::read_to_string(&link).unwrap();
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(target, &link).unwrap();
            linked.path().to_owned()
        }
    };
    let arguments = case["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_skiff"))
        .args(["render", "--root"])
        .args([&input, &input.join(case["run_dir"].as_str().unwrap())])
        .args(arguments)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    match (case["expects_error"].as_bool().unwrap(), output.status.code()) {
        (true, Some(1)) if message.contains("error: ") => Ok(()),
        (false, Some(0)) => {
            let expected = read_back(&fs::read(directory.join("expected.yaml")).unwrap())?;
            compare(&expected, &read_back(&output.stdout)?)
        }
        (_, code) => Err(format!("ended with {code:?}: {message}")),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, copied).unwrap();
        }
    }
}

fn run_case(directory: &Path) -> Result<(), String> {
    let case: Value = serde_json::from_slice(&fs::read(directory.join("case.json")).unwrap()).unwrap();
    let arguments: Vec<&str> = case["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let options = Options {
        load_restrictor: if arguments.contains(&"LoadRestrictionsNone") {
            LoadRestrictor::None
        } else {
            LoadRestrictor::RootOnly
        },
        ..Options::default()
    };
    let files = Files::new(Arc::new(tree_of(directory)), FileLimits::default());
    let root = RepoPath::parse(case["run_dir"].as_str().unwrap()).unwrap();
    let outcome = build(&files, &root, &options);
    match (case["expects_error"].as_bool().unwrap(), outcome) {
        (true, Err(error)) if chain(&error).trim().is_empty() => Err("the error says nothing".to_owned()),
        (true, Err(error)) => {
            if std::env::var_os("SKIFF_SHOW_ERRORS").is_some() {
                println!("{}: {}", directory.file_name().unwrap().to_string_lossy(), chain(&error));
            }
            Ok(())
        }
        (true, Ok(_)) => Err(format!(
            "must fail with: {}",
            fs::read_to_string(directory.join("expected-error.txt")).unwrap_or_default()
        )),
        (false, Err(error)) => Err(format!("failed: {}", chain(&error))),
        (false, Ok(output)) => {
            let actual = read_back(yaml::documents_to_string(&output.objects).as_bytes())?;
            let expected = read_back(&fs::read(directory.join("expected.yaml")).unwrap())?;
            compare(&expected, &actual)
        }
    }
}

fn tree_of(directory: &Path) -> MemoryTree {
    let input = directory.join("input");
    let mut tree = MemoryTree::default();
    let mut pending = vec![input.clone()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let relative = path.strip_prefix(&input).unwrap().to_str().unwrap();
        let content = fs::read(&path).unwrap();
        let is_link = LINKS.iter().any(|(case, link)| directory.ends_with(case) && relative == *link);
        if is_link {
            tree.insert_link(RepoPath::parse(relative).unwrap(), std::str::from_utf8(&content).unwrap());
        } else {
            tree.insert(RepoPath::parse(relative).unwrap(), content);
        }
    }
    tree
}

fn read_back(text: &[u8]) -> Result<Vec<Value>, String> {
    let options = yaml::Options::new(Schema::Yaml11, DuplicateKeys::Error);
    let documents = yaml::parse(text, &options).map_err(|error| error.to_string())?;
    Ok(documents.into_iter().map(|document| document.value).collect())
}

fn compare(expected: &[Value], actual: &[Value]) -> Result<(), String> {
    let identity = |value: &Value| {
        let text = |path| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
    };
    let identities = |values: &[Value]| values.iter().map(identity).collect::<Vec<_>>();
    if identities(expected) != identities(actual) {
        return Err(format!("expected {:?}\n  actual {:?}", identities(expected), identities(actual)));
    }
    for (expected, actual) in expected.iter().zip(actual) {
        if let Some(difference) = difference(expected, actual, "") {
            return Err(format!("{}: {difference}", identity(expected)));
        }
    }
    Ok(())
}

fn difference(expected: &Value, actual: &Value, path: &str) -> Option<String> {
    match (expected, actual) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| match (a.get(key), b.get(key)) {
                (Some(x), Some(y)) => difference(x, y, &format!("{path}.{key}")),
                (Some(x), None) => Some(format!("{path}.{key} is missing, expected {x}")),
                (None, y) => Some(format!("{path}.{key} should not be there, but is {}", y.unwrap())),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (x, y))| difference(x, y, &format!("{path}[{at}]")))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if expected == actual => None,
        _ => Some(format!("{path}: expected {expected}, actual {actual}")),
    }
}
