//! `jqPathExpressions`: paths in jq's language, evaluated as `path(expression)` and then deleted.
//!
//! The language is cut down to what finds paths, because every Application may bring an expression and the agent serves
//! them all. No definitions, loops, arithmetic, assignments or text building; only the functions of [`FUNCTIONS`]; few
//! enough alternatives that their product stays small. What is left ends by itself and cannot reach the process's
//! environment. For the rest there are three limits: at most [`MAX_PATHS`] paths, a deadline that is checked between
//! them, and, because a filter may be long in finding even the first one, a thread of its own that is left behind at
//! the deadline. An expression that ran into its deadline is not tried again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use jaq_core::{
    Compiler, Ctx, Vars, data,
    load::{self, Arena, File, Loader, lex::StrPart, parse::BinaryOp, parse::Term},
    path::Part,
    unwrap_valr,
};
use jaq_json::Val;
use serde_json::Value;

/// How long an expression may take on one object.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// How many paths an expression may find in one object.
const MAX_PATHS: usize = 10_000;
/// How long an expression may be.
const MAX_BYTES: usize = 1024;
/// How deep brackets may nest.
const MAX_NESTING: usize = 24;
/// How many outputs the alternatives (`,`) of an expression may make of one input.
const MAX_ALTERNATIVES: usize = 1024;
/// How often an expression may visit a whole object (`..`) or bind a variable.
const MAX_REPETITIONS: usize = 3;

/// The functions that an expression may call, with any number of arguments unless a name is in [`NO_ARGUMENTS`].
const FUNCTIONS: &[&str] = &[
    "IN",
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "contains",
    "empty",
    "endswith",
    "error",
    "false",
    "first",
    "fromjson",
    "getpath",
    "has",
    "in",
    "index",
    "indices",
    "inside",
    "isempty",
    "iterables",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "ltrimstr",
    "map",
    "max",
    "min",
    "not",
    "null",
    "nulls",
    "numbers",
    "objects",
    "paths",
    "recurse",
    "rindex",
    "rtrimstr",
    "scalars",
    "select",
    "sort",
    "split",
    "startswith",
    "strings",
    "test",
    "to_entries",
    "tonumber",
    "true",
    "type",
    "unique",
    "values",
    "with_entries",
];

/// Functions of jq that the library does not have.
const DEFINITIONS: &str = "def IN(s): . as $value | any(s; . == $value);";

/// Functions that end only without arguments.
const NO_ARGUMENTS: &[&str] = &["recurse", "paths"];

type Filter = jaq_core::Filter<data::JustLut<Val>>;

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub(super) struct PathExpression {
    filter: Arc<Filter>,
    exhausted: Arc<AtomicBool>,
}

impl std::fmt::Debug for PathExpression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PathExpression")
    }
}

impl PathExpression {
    /// Compiles an expression; the error says what is wrong with it.
    pub(super) fn compile(expression: &str) -> Result<Self, String> {
        if expression.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let mut nesting = 0_usize;
        for character in expression.chars() {
            match character {
                '(' | '[' | '{' => nesting += 1,
                ')' | ']' | '}' => nesting = nesting.saturating_sub(1),
                _ => {}
            }
            if nesting > MAX_NESTING {
                return Err(format!("its brackets nest more than {MAX_NESTING} deep"));
            }
        }
        let term = load::parse(expression, |parser| parser.term())
            .ok_or_else(|| "it is not a jq expression".to_owned())?;
        Check::default().term(&term, 0)?;
        let code = format!("path({expression}\n)");
        let own = load::parse(DEFINITIONS, |parser| parser.defs()).unwrap_or_default();
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(own);
        let functions = jaq_core::funs().chain(jaq_std::base_funs()).chain(
            jaq_std::extra_funs().filter(|(name, ..)| !matches!(*name, "env" | "halt" | "input" | "now")),
        );
        let arena = Arena::default();
        let modules = Loader::new(definitions)
            .load(&arena, File { code: code.as_str(), path: () })
            .map_err(|_| "it is not a jq expression".to_owned())?;
        let filter = Compiler::default()
            .with_funs(functions.chain(jaq_json::funs()))
            .compile(modules)
            .map_err(|_| "it calls a function or names a variable that does not exist".to_owned())?;
        Ok(Self { filter: Arc::new(filter), exhausted: Arc::new(AtomicBool::new(false)) })
    }

    /// Whether the expression ran into its time limit and is no longer evaluated.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Removes what the expression finds. An expression that fails on this object removes nothing.
    pub(super) fn remove_from(&self, value: &mut Value) {
        if self.is_exhausted() {
            return;
        }
        let Ok(input) = serde_json::to_vec(value) else {
            return;
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let filter = Arc::clone(&self.filter);
        let exhausted = Arc::clone(&self.exhausted);
        let work = move || {
            // The receiver is gone when the deadline has passed: then nobody wants the answer.
            let _ = sender.send(find(&filter, &input, &exhausted));
        };
        if std::thread::Builder::new().name("jq".to_owned()).spawn(work).is_err() {
            return;
        }
        match receiver.recv_timeout(TIME_LIMIT) {
            Ok(Some(mut paths)) => {
                paths.sort_by(|a, b| b.cmp(a));
                paths.dedup();
                for path in paths {
                    remove_path(value, &path);
                }
            }
            Ok(None) => {}
            Err(_) => self.exhausted.store(true, Ordering::Relaxed),
        }
    }
}

/// One step of a path. Names sort before positions; where they meet makes no difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    Position(usize),
}

fn find(filter: &Filter, input: &[u8], exhausted: &AtomicBool) -> Option<Vec<Vec<Step>>> {
    let deadline = Instant::now() + TIME_LIMIT;
    let input = jaq_json::read::parse_single(input).ok()?;
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let mut paths = Vec::new();
    for output in filter.id.run((context, input)).map(unwrap_valr) {
        if paths.len() >= MAX_PATHS || Instant::now() > deadline {
            exhausted.store(true, Ordering::Relaxed);
            return None;
        }
        let Val::Arr(steps) = output.ok()? else {
            return None;
        };
        let path: Option<Vec<Step>> = steps.iter().map(step).collect();
        paths.push(path?);
    }
    Some(paths)
}

fn step(value: &Val) -> Option<Step> {
    match serde_json::from_str(&value.to_string()).ok()? {
        Value::String(name) => Some(Step::Name(name)),
        Value::Number(position) => Some(Step::Position(usize::try_from(position.as_u64()?).ok()?)),
        _ => None,
    }
}

fn remove_path(value: &mut Value, path: &[Step]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::Position(position) => value.get_mut(*position),
    });
    match (parent, last) {
        (Some(Value::Object(fields)), Step::Name(name)) => {
            fields.shift_remove(name);
        }
        (Some(Value::Array(items)), Step::Position(position)) if *position < items.len() => {
            items.remove(*position);
        }
        _ => {}
    }
}

/// Walks an expression and refuses what does not find paths, or might not end.
///
/// Each step returns how many outputs the alternatives (`,`) of a term can make of one input, as a product over
/// everything that is chained. The items of the object itself are not counted: there are only so many.
#[derive(Default)]
struct Check {
    repetitions: usize,
}

type Checked = Result<usize, String>;

impl Check {
    fn repeat(&mut self) -> Checked {
        self.repetitions += 1;
        if self.repetitions > MAX_REPETITIONS {
            return Err(format!("it has more than {MAX_REPETITIONS} of '..', 'recurse', 'paths' and 'as'"));
        }
        Ok(1)
    }

    fn term(&mut self, term: &Term<&str>, depth: usize) -> Checked {
        if depth > MAX_BYTES {
            return Err("it is nested too deep".to_owned());
        }
        let depth = depth + 1;
        let refuse = |what: &str| Err(format!("{what} is not permitted in a path expression"));
        match term {
            Term::Id | Term::Num(_) | Term::Var(_) | Term::Arr(None) => Ok(1),
            Term::Recurse => self.repeat(),
            Term::Str(None, parts) if !parts.iter().any(|part| matches!(part, StrPart::Term(_))) => Ok(1),
            Term::Str(..) => refuse("building text"),
            Term::Arr(Some(inner)) | Term::Neg(inner) => self.term(inner, depth),
            Term::Obj(entries) => {
                self.all(entries.iter().flat_map(|(key, value)| std::iter::once(key).chain(value)), depth)
            }
            Term::BinOp(left, operator, right) => {
                match operator {
                    BinaryOp::Pipe(None)
                    | BinaryOp::Alt
                    | BinaryOp::Or
                    | BinaryOp::And
                    | BinaryOp::Cmp(_) => {}
                    BinaryOp::Pipe(Some(_)) => {
                        self.repeat()?;
                    }
                    BinaryOp::Comma => return limited(self.term(left, depth)? + self.term(right, depth)?),
                    BinaryOp::Math(_) => return refuse("arithmetic"),
                    _ => return refuse("an assignment"),
                }
                self.all([&**left, &**right], depth)
            }
            Term::TryCatch(inner, handler) => {
                self.all(std::iter::once(&**inner).chain(handler.as_deref()), depth)
            }
            Term::IfThenElse(branches, otherwise) => {
                let branches = branches.iter().flat_map(|(condition, then)| [condition, then]);
                self.all(branches.chain(otherwise.as_deref()), depth)
            }
            Term::Call(name, arguments) => {
                if !FUNCTIONS.contains(name) {
                    return refuse(&format!("function '{name}'"));
                }
                if NO_ARGUMENTS.contains(name) {
                    if !arguments.is_empty() {
                        return refuse(&format!("function '{name}' with arguments"));
                    }
                    self.repeat()?;
                }
                self.all(arguments, depth)
            }
            Term::Path(inner, path) => {
                let parts = path.0.iter().flat_map(|(part, _)| match part {
                    Part::Index(index) => [Some(index), None],
                    Part::Range(from, to) => [from.as_ref(), to.as_ref()],
                });
                self.all(std::iter::once(&**inner).chain(parts.flatten()), depth)
            }
            Term::Label(..) | Term::Break(_) => refuse("a label"),
            Term::Fold(..) => refuse("a loop"),
            Term::Def(..) => refuse("a definition"),
        }
    }

    fn all<'t, 's: 't>(
        &mut self,
        terms: impl IntoIterator<Item = &'t Term<&'s str>>,
        depth: usize,
    ) -> Checked {
        let mut product = 1_usize;
        for term in terms {
            product = limited(product.saturating_mul(self.term(term, depth)?))?;
        }
        Ok(product)
    }
}

fn limited(alternatives: usize) -> Checked {
    if alternatives > MAX_ALTERNATIVES {
        return Err(format!("it has more than {MAX_ALTERNATIVES} alternatives"));
    }
    Ok(alternatives)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(expression: &str, mut value: Value) -> Value {
        PathExpression::compile(expression).unwrap().remove_from(&mut value);
        value
    }

    #[test]
    fn what_an_expression_finds_is_removed() {
        let pod = json!({ "spec": { "containers": [
            { "name": "a", "image": "a:1" }, { "name": "injected", "image": "b:1" }, { "name": "injected" },
        ] } });
        assert_eq!(
            after(r#".spec.containers[] | select(.name == "injected")"#, pod.clone()),
            json!({ "spec": { "containers": [{ "name": "a", "image": "a:1" }] } })
        );
        assert_eq!(
            after(".spec.containers[0].image, .spec.containers[1:]", pod.clone()),
            pod,
            "a slice cannot be removed, so nothing is"
        );
        assert_eq!(after(".spec.containers[-1].name", pod.clone()), pod, "a negative position is no path");
        assert_eq!(after(".. | select(. == \"a:1\")", pod)["spec"]["containers"][0], json!({ "name": "a" }));
    }

    #[test]
    fn an_expression_that_fails_or_finds_nothing_removes_nothing() {
        for expression in
            [".spec.absent.field", ".spec[]", ".name[0]", "empty", ".[] | error", ".a?, .spec.b?"]
        {
            let value = json!({ "name": "x", "spec": null });
            assert_eq!(after(expression, value.clone()), value, "{expression}");
        }
    }

    #[test]
    fn the_usual_expressions_are_permitted() {
        for expression in [
            ".spec.template.spec.initContainers[] | select(.name == \"injected-init-container\")",
            ".metadata.labels | with_entries(select(.key | startswith(\"x\")))",
            ".spec.rules[]? | select(.host | test(\"^a\"; \"i\"))",
            ".webhooks[]?.clientConfig.caBundle",
            ".metadata.annotations[\"a.b/c\"]",
            ".spec.versions[] | select(any(.served; . == true) and (.name | IN(\"v1\", \"v2\") | not)) | .schema",
            ".spec as $s | .status | select($s.x == 1)",
            ".data | to_entries",
            ".a // .b # comment",
            "del_is_a_field?",
        ] {
            let compiled = PathExpression::compile(expression);
            assert!(compiled.is_ok() || expression.starts_with("del_"), "{expression}: {compiled:?}");
        }
    }

    #[test]
    fn what_might_not_end_or_reaches_out_is_refused_with_the_reason() {
        for (expression, reason) in [
            ("def f: f; f", "definition"),
            ("range(1e18)", "'range'"),
            ("[limit(1e12; repeat(0))]", "'limit'"),
            ("recurse(.)", "'recurse' with arguments"),
            ("until(false; .)", "'until'"),
            (".a * 1000000000", "arithmetic"),
            ("\"x\" | . + .", "arithmetic"),
            ("\"\\(.)\\(.)\"", "building text"),
            ("reduce .[] as $x (.; .)", "a loop"),
            (".a |= 1", "an assignment"),
            ("env.HOME", "'env'"),
            ("$ENV.HOME", "variable"),
            ("input", "'input'"),
            ("halt", "'halt'"),
            ("debug", "'debug'"),
            ("..|..|..|..", "more than 3"),
            (".a) | env | (.b", "not a jq expression"),
            (".a[", "not a jq expression"),
            ("", "not a jq expression"),
            (&["(.,.)"; 11].join("|"), "more than 1024 alternatives"),
            (&["[.[],.[]]"; 11].join("|"), "more than 1024 alternatives"),
        ] {
            let error = PathExpression::compile(expression).unwrap_err();
            assert!(error.contains(reason), "{expression}: {error}");
        }
        assert!(PathExpression::compile(&format!(".{}", "a".repeat(2000))).is_err());
        assert!(PathExpression::compile(&"(".repeat(1000)).is_err());
    }

    #[test]
    fn an_expression_that_takes_too_long_is_left_behind_and_not_tried_again() {
        let many: Vec<Value> = (0..20_000).map(|number| json!({ "number": number })).collect();
        let nowhere = ". as $all | .many[] | select(any($all | ..; . == -1))";
        let everywhere = ". as $all | .many[] | select(any($all | ..; . == -1) | not)";
        for expression in [nowhere, everywhere] {
            let expression = PathExpression::compile(expression).unwrap();
            let mut value = json!({ "many": many });
            let began = Instant::now();
            expression.remove_from(&mut value);
            assert!(expression.is_exhausted());
            assert!(began.elapsed() < TIME_LIMIT * 5);
            assert_eq!(value["many"].as_array().map(Vec::len), Some(20_000));
        }
    }
}
