//! What scripts can do, and what they cannot.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::api::HealthStatusCode::{self, Degraded, Healthy, Missing, Progressing, Suspended, Unknown};

fn script(source: &str, open_libraries: bool) -> Script {
    Script { source: source.into(), open_libraries }
}

#[allow(clippy::needless_pass_by_value, reason = "tests give it values that they have just made")]
fn object(status: Value) -> Object {
    let value = json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": "w", "labels": { "a": "b" } },
        "spec": { "parts": ["x", "y"], "none": null, "count": 3, "ratio": 0.5 }, "status": status,
    });
    Object::from_value(value).unwrap()
}

fn outcome(source: &str, open: bool) -> Result<Option<(HealthStatusCode, String)>, String> {
    let run = lua::run(&script(source, open), object(json!({ "phase": "Up" })).value());
    run.map(|health| health.map(|health| (health.status, health.message)))
}

fn told(source: &str) -> (HealthStatusCode, String) {
    outcome(source, false).unwrap().unwrap()
}

fn failure(source: &str, open: bool) -> String {
    outcome(source, open).unwrap_err()
}

#[test]
fn a_script_reads_the_object_and_returns_status_and_message() {
    let source = "hs = {}\nif obj.status.phase == 'Up' then\n  hs.status = 'Healthy'\n  hs.message = 'up since ' .. obj.spec.count\nend\nreturn hs";
    assert_eq!(told(source), (Healthy, "up since 3".to_owned()));
    for (word, code) in [
        ("Suspended", Suspended),
        ("Progressing", Progressing),
        ("Missing", Missing),
        ("Degraded", Degraded),
        ("Unknown", Unknown),
    ] {
        assert_eq!(told(&format!("return {{ status = '{word}' }}")), (code, String::new()));
    }
}

#[test]
fn lists_start_at_one_and_null_is_nil() {
    let source = "local n = 0\nfor i, part in ipairs(obj.spec.parts) do n = i end\nif obj.spec.none == nil and obj.spec.parts[1] == 'x' and #obj.spec.parts == 2 and n == 2 and obj.spec.ratio == 0.5 and next(actionParams) == nil then return { status = 'Healthy' } end\nreturn { status = 'Degraded' }";
    assert_eq!(told(source).0, Healthy);
}

#[test]
fn an_unknown_status_is_unknown_and_nothing_is_no_health() {
    let invalid = (Unknown, "Lua returned an invalid health status".to_owned());
    assert_eq!(told("return { status = 'Fine' }"), invalid);
    assert_eq!(told("return {}"), invalid);
    assert_eq!(told("return { status = 'Healthy', message = {} }"), invalid);
    assert_eq!(outcome("return nil", false), Ok(None));
    assert_eq!(outcome("local a = 1", false), Ok(None));
    assert_eq!(failure("return 'Healthy'", false), "expect table output from Lua script, not string");
}

#[test]
fn errors_name_the_line() {
    let missing = failure("local a = 1\nreturn obj.nothing.at.all", false);
    assert!(missing.starts_with("health.lua:2: attempt to index nil"), "{missing}");
    let own = failure("error('not today')", false);
    assert_eq!(own, "health.lua:1: not today");
    let syntax = failure("local a =\nreturn = 3", false);
    assert!(syntax.starts_with("health.lua:2:"), "{syntax}");
    assert_eq!(script("local a = 1\nreturn {", false).check().unwrap_err().0, Some(2));
    assert_eq!(script("return {}", false).check(), Ok(()));
}

#[test]
fn by_default_there_are_tables_and_the_time_and_nothing_else() {
    for name in [
        "string",
        "math",
        "io",
        "os",
        "debug",
        "coroutine",
        "package",
        "load",
        "loadstring",
        "dofile",
        "loadfile",
        "collectgarbage",
    ] {
        assert_eq!(
            told(&format!(
                "if {name} == nil then return {{ status = 'Healthy' }} end return {{ status = 'Degraded' }}"
            ))
            .0,
            Healthy,
            "{name}"
        );
    }
    assert_eq!(told("local os = require('os')\nlocal keys = {}\nfor key in pairs(os) do table.insert(keys, key) end\ntable.sort(keys)\nreturn { status = 'Healthy', message = table.concat(keys, ',') }").1, "date,time");
    for module in ["io", "string", "debug", "./secret"] {
        let text = failure(&format!("local m = require('{module}')"), false);
        assert!(text.contains("not found"), "{text}");
    }
}

#[test]
fn open_libraries_add_text_and_numbers_but_no_files_and_no_programs() {
    let source = "local n = string.match('replicas: 12', '%d+')\nreturn { status = 'Healthy', message = ('x'):rep(math.floor(2.5)) .. n .. string.format('%d', 3) }";
    assert_eq!(outcome(source, true).unwrap().unwrap().1, "xx123");
    for name in ["io", "debug", "loadstring", "dofile", "os.execute", "os.getenv", "os.exit", "os.remove"] {
        let source = format!(
            "if {name} == nil then return {{ status = 'Healthy' }} end return {{ status = 'Degraded' }}"
        );
        assert_eq!(outcome(&source, true).unwrap().unwrap().0, Healthy, "{name}");
    }
}

#[test]
fn nothing_outlasts_the_time_limit() {
    let endless = [
        "while true do end",
        "repeat until false",
        "while true do pcall(function() while true do end end) end",
        "local function f() pcall(f) pcall(f) end\nf()\nwhile true do end",
        "string.find(string.rep('a', 5000), string.rep('a*', 50) .. 'b')",
        "return setmetatable({}, { __index = function() while true do end end }).status",
    ];
    for source in endless {
        let begun = Instant::now();
        let text = failure(source, true);
        assert!(begun.elapsed() < Duration::from_secs(8), "{source} took {:?}", begun.elapsed());
        assert!(text.contains("ran longer than 1 s") || text.contains("too complex"), "{source}: {text}");
    }
}

#[test]
fn nothing_takes_more_memory_or_depth_than_it_may() {
    let text = failure("local t = {}\nwhile true do t[#t + 1] = { {}, {}, {} } end", false);
    assert!(text.contains("more memory") || text.contains("ran longer"), "{text}");
    assert!(failure("return string.rep('x', 1000000000)", true).contains("more memory"));
    let deep = failure("local function f() return 1 + f() end\nreturn f()", false);
    assert!(deep.contains("stack overflow"), "{deep}");
    let nested = format!("return {}{}", "{".repeat(5000), "}".repeat(5000));
    assert!(outcome(&nested, false).is_err());
    assert!(failure(&"-".repeat(300 << 10), false).contains("longer than"));
}

#[test]
fn a_script_leaves_nothing_behind_for_the_next() {
    assert_eq!(told("leak = 1\nreturn { status = 'Healthy' }").0, Healthy);
    assert_eq!(
        told("if leak == nil then return { status = 'Healthy' } end return { status = 'Degraded' }").0,
        Healthy
    );
}

#[test]
fn goto_continue_goes_on_with_the_loop() {
    let source = "local sum = 0\nfor i = 1, 5 do\n  if i % 2 == 0 then\n    goto continue -- even\n  else\n    sum = sum + 0\n  end\n  sum = sum + i\n  ::continue::\nend\nlocal text = 'goto nowhere ::here::'\nreturn { status = 'Healthy', message = sum .. text }";
    assert_eq!(told(source).1, "9goto nowhere ::here::");
    let nested = "local n = 0\nfor i = 1, 3 do\n  for j = 1, 3 do\n    if j == 2 then goto inner end\n    n = n + 1\n    ::inner::\n  end\n  if i == 1 then goto outer end\n  n = n + 10\n  ::outer::\nend\nreturn { status = 'Healthy', message = tostring(n) }";
    assert_eq!(told(nested).1, "26");
    let away = failure(
        "for i = 1, 3 do\n  for j = 1, 3 do\n    goto outer\n  end\n  ::outer::\nend\nreturn {}",
        false,
    );
    assert!(away.starts_with("health.lua:3: goto can only"), "{away}");
}

#[test]
fn the_script_of_exactly_the_kind_goes_before_wildcards_and_those_before_what_skiff_has() {
    let of = |word: &str| script(&format!("return {{ status = 'Degraded', message = '{word}' }}"), false);
    let scripts = Scripts::new([
        ("*.example.com/*".to_owned(), of("domain")),
        ("example.com/Widget".to_owned(), of("exact")),
        ("example.com/*".to_owned(), of("group")),
        ("Service".to_owned(), of("core")),
    ]);
    let message = |api_version: &str, kind: &str| {
        let object = Object::from_value(
            json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "a" } }),
        )
        .unwrap();
        scripts.assess(&object).unwrap().map(|health| health.message)
    };
    assert_eq!(message("example.com/v1", "Widget").as_deref(), Some("exact"));
    assert_eq!(message("example.com/v1", "Gadget").as_deref(), Some("group"));
    assert_eq!(message("a.example.com/v1", "Gadget").as_deref(), Some("domain"));
    assert_eq!(message("v1", "Service").as_deref(), Some("core"), "an override of a built-in check");
    assert_eq!(message("v1", "ConfigMap"), None);
    assert_eq!(
        message("networking.k8s.io/v1", "Ingress").as_deref(),
        Some(""),
        "no script: the built-in check"
    );
}

#[test]
fn what_is_being_deleted_is_not_asked() {
    let scripts = Scripts::new([("example.com/Widget".to_owned(), script("error('asked')", false))]);
    let object = object(json!({}))
        .edit(|value| value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into())
        .unwrap();
    assert_eq!(scripts.assess(&object).unwrap().unwrap().message, "Pending deletion");
    let error = scripts.by_kind(&object).unwrap_err();
    assert_eq!(error.to_string(), "health.lua:1: asked");
}
