use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str, schema: Schema) -> Result<Value, YamlError> {
    let documents = parse(text.as_bytes(), &Options::new(schema, DuplicateKeys::LastWins))?;
    Ok(documents.into_iter().next().map_or(Value::Null, |document| document.value))
}

fn yaml11(text: &str) -> Value {
    read(text, Schema::Yaml11).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn yaml12(text: &str) -> Value {
    read(text, Schema::Yaml12ish).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn refused(text: &str) -> YamlError {
    for schema in [Schema::Yaml11, Schema::Yaml12ish] {
        assert!(read(text, schema).is_err(), "{text:?} was read as {:?}", read(text, schema));
    }
    read(text, Schema::Yaml11).unwrap_err()
}

/// Plain scalars: the text, what YAML 1.1 makes of it, what the other schema makes of it.
#[test]
fn plain_scalars_mean_what_the_go_tools_take_them_for() {
    let rows = [
        ("yes", json!(true), json!("yes")),
        ("No", json!(false), json!("No")),
        ("on", json!(true), json!("on")),
        ("OFF", json!(false), json!("OFF")),
        ("y", json!(true), json!("y")),
        ("n", json!(false), json!("n")),
        ("tRue", json!("tRue"), json!("tRue")),
        ("True", json!(true), json!(true)),
        ("0644", json!(420), json!(420)),
        ("0o644", json!(420), json!(420)),
        ("010", json!(8), json!(8)),
        ("-0644", json!(-420), json!(-420)),
        ("08", json!(8), json!(8)),
        ("\"0644\"", json!("0644"), json!("0644")),
        ("1_000", json!(1000), json!(1000)),
        ("0x1F", json!(31), json!(31)),
        ("0b101", json!(5), json!(5)),
        ("+12", json!(12), json!(12)),
        ("1_0.5", json!(10.5), json!(10.5)),
        ("9223372036854775807", json!(i64::MAX), json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN), json!(i64::MIN)),
        (
            "12345678901234567890",
            json!(12_345_678_901_234_567_890_u64),
            json!(12_345_678_901_234_567_890_u64),
        ),
        (
            "123456789012345678901234567890",
            json!(1.234_567_890_123_456_8e29),
            json!(1.234_567_890_123_456_8e29),
        ),
        ("1e3", json!(1000), json!(1000)),
        (".5", json!(0.5), json!(0.5)),
        ("1.", json!(1), json!(1)),
        ("1.0", json!(1), json!(1)),
        ("6.02e+23", json!(6.02e23), json!(6.02e23)),
        ("1e999", json!("1e999"), json!("1e999")),
        ("1:30", json!("1:30"), json!("1:30")),
        ("12:30:45", json!("12:30:45"), json!("12:30:45")),
        ("2024-01-02", json!("2024-01-02"), json!("2024-01-02T00:00:00Z")),
        ("2024-1-2 3:4:5.60", json!("2024-1-2 3:4:5.60"), json!("2024-01-02T03:04:05.6Z")),
        ("2024-01-02T03:04:05+02:00", json!("2024-01-02T03:04:05+02:00"), json!("2024-01-02T03:04:05+02:00")),
        ("2024-13-45", json!("2024-13-45"), json!("2024-13-45")),
        ("null", json!(null), json!(null)),
        ("~", json!(null), json!(null)),
        ("Null", json!(null), json!(null)),
        ("", json!(null), json!(null)),
        ("nUll", json!("nUll"), json!("nUll")),
        ("-", json!([null]), json!([null])),
        ("+", json!("+"), json!("+")),
        ("1.2.3", json!("1.2.3"), json!("1.2.3")),
        ("0x", json!("0x"), json!("0x")),
        ("!!binary aGVsbG8=", json!("hello"), json!("hello")),
        ("!!str 123", json!("123"), json!("123")),
        ("!!int \"7\"", json!(7), json!(7)),
        ("!custom x", json!("x"), json!("x")),
        ("!!float 3", json!(3), json!(3)),
    ];
    for (text, old, new) in rows {
        let text = format!("a: {}", if text == "-" { "\n- ".to_owned() } else { text.to_owned() });
        assert_eq!(yaml11(&text), json!({ "a": old }), "{text} in YAML 1.1");
        assert_eq!(yaml12(&text), json!({ "a": new }), "{text} in YAML 1.2");
    }
}

#[test]
fn keys_that_are_no_strings_become_strings_or_are_refused() {
    assert_eq!(
        yaml11("on: 1\nno: 2\n1: a\n2.5: b\n0x10: c"),
        json!({
            "true": 1, "false": 2, "1": "a", "2.5": "b", "16": "c"
        })
    );
    assert_eq!(yaml11("{x: 1, y: 2}"), json!({ "x": 1, "true": 2 }));
    assert_eq!(yaml12("on: 1\ny: 2"), json!({ "on": 1, "y": 2 }));
    assert!(read("1: a", Schema::Yaml12ish).unwrap_err().message.contains("put 1 in quotes"));
    assert!(refused("null: a").message.contains("null"));
    assert!(refused("? [a]\n: b").message.contains("list or mapping"));
    assert!(refused("a: {{ x }}").message.contains("{{"));
}

#[test]
fn numbers_that_json_cannot_hold_are_refused() {
    for text in [".inf", "-.Inf", "+.INF", ".nan", ".NaN"] {
        let error = refused(&format!("a:\n  b: {text}"));
        assert_eq!((error.line, error.column, error.problem), (2, 6, YamlProblem::Value), "{error}");
    }
    assert_eq!(yaml11("a: '.inf'"), json!({ "a": ".inf" }));
    assert!(refused("a: !!int x").message.contains("!!int"));
    assert!(refused("a: !!binary '%%'").message.contains("base64"));
    assert!(refused("a: !!binary /w==").message.contains("no text"));
}

#[test]
fn merge_keys_follow_the_order_of_their_reader() {
    let base = "base: &base {x: 1, y1: 1}\nother: &other {x: 2, z: 2}\n";
    let before = format!("{base}a:\n  x: 5\n  <<: *base\n");
    assert_eq!(
        yaml11(&before)["a"],
        json!({ "x": 1, "y1": 1 }),
        "YAML 1.1: the merge overrides what is above it"
    );
    assert_eq!(yaml12(&before)["a"], json!({ "x": 5, "y1": 1 }));
    for read in [yaml11, yaml12] {
        let after = read(&format!("{base}a:\n  <<: *base\n  x: 5\n"));
        assert_eq!(after["a"], json!({ "x": 5, "y1": 1 }));
        let list = read(&format!("{base}a:\n  <<: [*base, *other]\n"));
        assert_eq!(list["a"], json!({ "x": 1, "y1": 1, "z": 2 }), "the first of the list wins");
        assert_eq!(
            read("a:\n  \"<<\": {x: 1}"),
            json!({ "a": { "<<": { "x": 1 } } }),
            "quoted: an ordinary key"
        );
        assert_eq!(read("a: <<"), json!({ "a": "<<" }));
    }
    assert!(refused("a:\n  <<: 5").message.contains("merge key"));
}

#[test]
fn repeated_keys_are_refused_or_told_of() {
    let text = "a:\n  k: 1\n  l: 2\n  k: 3\n";
    let error = parse(text.as_bytes(), &Options::new(Schema::Yaml12ish, DuplicateKeys::Error)).unwrap_err();
    assert_eq!(error.problem, YamlProblem::DuplicateKey);
    assert_eq!(error.to_string(), "line 4, column 3: key 'k' was already given at line 2");
    let documents = parse(text.as_bytes(), &Options::default()).unwrap();
    assert_eq!(documents[0].value, json!({ "a": { "k": 3, "l": 2 } }));
    assert_eq!(documents[0].duplicate_keys, [DuplicateKey { key: "k".into(), line: 4, first_line: 2 }]);
    assert_eq!(yaml11("on: 1\nyes: 2"), json!({ "true": 2 }), "two spellings of one key are one key");
}

#[test]
fn a_key_that_overrides_a_merged_one_is_no_repetition() {
    let strict = Options::new(Schema::Yaml11, DuplicateKeys::Error);
    parse(b"b: &b {x: 1}\na:\n  <<: *b\n  x: 2\n", &strict).unwrap();
}

#[test]
fn anchors_are_copied_and_belong_to_one_document() {
    let value = yaml11("a: &list [1, {b: c}]\nb: *list\nc: &word text\nd: *word\n&key e: 1\nf: *key\n");
    assert_eq!(
        value,
        json!({ "a": [1, {"b": "c"}], "b": [1, {"b": "c"}], "c": "text", "d": "text", "e": 1, "f": "e" })
    );
    assert!(refused("a: &x 1\n---\nb: *x").message.contains("'x' was not defined"));
    assert!(refused("a: &x [*x]").message.contains("part of"));
    assert_eq!(yaml11("a: &x 1\nb: *x\nc: &x 2\nd: *x"), json!({ "a": 1, "b": 1, "c": 2, "d": 2 }));
}

#[test]
fn documents_know_their_lines_and_empty_ones_are_dropped() {
    let text = "# comment\n---\n---\nnull\n---\n# more\na: 1\n--- # text\n- b\n...\n---\n{}\n";
    let documents = parse(text.as_bytes(), &Options::default()).unwrap();
    let found: Vec<_> = documents.iter().map(|document| (document.line, document.value.clone())).collect();
    assert_eq!(found, [(7, json!({ "a": 1 })), (9, json!(["b"])), (12, json!({}))]);
    assert_eq!(parse(b"", &Options::default()).unwrap(), []);
    assert_eq!(parse(b"# only a comment\n", &Options::default()).unwrap(), []);
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    assert_eq!(yaml11("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n"), json!({ "a": 1, "b": "x\ny\n" }));
}

#[test]
fn a_text_may_end_anywhere() {
    assert_eq!(yaml11("a: |\n  x"), json!({ "a": "x" }));
    assert_eq!(yaml11("a: |+\n  x"), json!({ "a": "x" }));
    assert_eq!(yaml11("a: |-\n  x"), json!({ "a": "x" }));
    assert_eq!(yaml11("a: |\n  x\n  "), json!({ "a": "x\n" }));
    assert_eq!(yaml11("a: >\n  x\n  y"), json!({ "a": "x y" }));
    assert_eq!(yaml11("a: |"), json!({ "a": "" }));
    assert_eq!(yaml11("a:"), json!({ "a": null }));
    assert_eq!(yaml11("a: x\\"), json!({ "a": "x\\" }));
}

#[test]
fn json_is_read_with_all_its_escapes() {
    assert_eq!(
        yaml11(r#"{"a": 1.0, "b": [true, null, "x\/y"], "c": {}}"#),
        json!({ "a": 1, "b": [true, null, "x/y"], "c": {} })
    );
    assert_eq!(yaml11("{\n\t\"a\": \"\\ud83d\\ude00\",\n\t\"n\": 2.0\n}"), json!({ "a": "😀", "n": 2 }));
    let two = parse(b"{\"a\": 1}\n{\"b\": 2}\n", &Options::default()).unwrap();
    assert_eq!(two.iter().map(|document| document.line).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(refused("{\"a\": 1,, }").line, 1);
}

#[test]
fn errors_name_the_place_and_a_remedy() {
    let cases = [
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\n  b: 2\n", 2, "mapping values"),
        ("a: @x", 1, "cannot start any token"),
        ("a: %x", 1, "cannot start any token"),
        ("a: 1\nb: \"x\n", 2, "quoted scalar that begins at line 2"),
        ("a: 1\n---\nb: [1, 2\nc: 3\n", 4, "that begins at line 3"),
        ("a: 1\n...\nb: 2\n", 3, "document start"),
        ("a: \u{7}", 1, "U+0007"),
        ("a: [!x, b]", 1, "space behind the tag"),
        ("a: \"x\\", 1, "quoted scalar that begins at line 1"),
    ];
    for (text, line, words) in cases {
        let error = refused(text);
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.to_string().contains(words), "{text:?}: {error}");
        assert_eq!(error.problem, YamlProblem::Syntax, "{text:?}");
    }
    assert_eq!(refused("a: 1\n---\nb: 2\n---\nc: [").documents_before, 2);
    let binary = parse(b"ok: 1\nno: \xff\xfe", &Options::default()).unwrap_err();
    assert_eq!((binary.line, binary.column), (2, 5), "{binary}");
    assert!(parse(b"\xff\xfea\0", &Options::default()).unwrap_err().message.contains("UTF-16"));
}

#[test]
fn a_comma_behind_an_exclamation_mark_stays_text() {
    let value =
        yaml11("a: Hello!, world\nb: [\"one!,two\", three]\nc: |\n  Wow!, {x: !y, z}\n# !x,\nd: \\\ne: x\\");
    assert_eq!(
        value,
        json!({
            "a": "Hello!, world", "b": ["one!,two", "three"], "c": "Wow!, {x: !y, z}\n", "d": "\\", "e": "x\\"
        })
    );
}

#[test]
fn tags_may_be_written_in_full() {
    assert_eq!(yaml11("[!<tag:yaml.org,2002:str> 1, !!str 2, ! 3]"), json!(["1", "2", "3"]));
    for text in ["[!<tag:yaml.org,2002:str>,x]", "['a!<b',!c,d>]", "[\"a!<b\",!c,d]", "[!<a!b,c>,d]", "{!x,}"]
    {
        let _ = read(text, Schema::Yaml11);
    }
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert_eq!(refused(&bomb).problem, YamlProblem::Limit);
    let long = "x".repeat(1 << 20);
    let strings = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 10_000].join(", "));
    assert_eq!(refused(&strings).problem, YamlProblem::Limit);
    let mut merges = "m0: &m0 {a: 1, b: 2}\n".to_owned();
    for level in 1..40 {
        merges.push_str(&format!("m{level}: &m{level}\n  x: *m{0}\n  y1: *m{0}\n  <<: *m{0}\n", level - 1));
    }
    assert_eq!(refused(&merges).problem, YamlProblem::Limit);
}

#[test]
fn ten_thousand_levels_are_refused_without_a_stack_overflow() {
    let flow = "[".repeat(10_000);
    let mappings = "{a: ".repeat(10_000);
    let dashes = "- ".repeat(10_000);
    let block: String = (0..10_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [flow, mappings, dashes, block, json] {
        let error = refused(&text);
        assert_eq!(error.problem, YamlProblem::Limit, "{error}");
    }
    let mut aliases = "a0: &a0 [x]\n".to_owned();
    for level in 1..10_000 {
        aliases.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(refused(&aliases).message.contains("nested"));
    let deep = format!("{}{}", "[".repeat(250), "]".repeat(250));
    yaml11(&deep);
}

#[test]
fn sizes_are_limited() {
    let limits = Limits { bytes: 100, depth: 10, documents: 2, nodes: 8, alias_nodes: 10 };
    let options = Options { limits, ..Options::default() };
    let refused = |text: &str, words: &str| {
        let error = parse(text.as_bytes(), &options).unwrap_err();
        assert_eq!(error.problem, YamlProblem::Limit, "{error}");
        assert!(error.message.contains(words), "{error}");
    };
    refused(&"a".repeat(101), "100 bytes");
    refused("a\n---\nb\n---\nc\n", "2 documents");
    refused("[1, 2, 3, 4, 5, 6, 7, 8, 9]", "8 keys and values");
    refused("1\n---\n[1, 2, 3, 4, 5, 6, 7, 8]", "8 keys and values");
    let directives: String = (0..100).map(|n| format!("%TAG !e{n}! tag:e\n")).collect();
    let error = parse(directives.as_bytes(), &Options::default()).unwrap_err();
    assert_eq!(error.problem, YamlProblem::Limit, "{error}");
}

#[test]
fn text_is_written_as_go_yaml_writes_it() {
    let quoted_twice = [
        "yes",
        "1",
        "1e3",
        "",
        "null",
        "0x1",
        "2024-01-02",
        "~",
        "y",
        "on",
        "1_000",
        "0o7",
        "true",
        "1.5",
        ".5",
        "0644",
        "12:30:45",
        ".inf",
    ];
    for text in quoted_twice {
        assert_eq!(to_string(&json!(text)), format!("\"{text}\"\n"));
        assert_eq!(to_string(&json!({ text: 1 })), format!("\"{text}\": 1\n"));
    }
    for text in
        ["a: b", "- x", "#c", "*a", "trail ", " lead", "a #b", "@x", "!x", "{{ x }}", "x:", "%x", "`x", "'a"]
    {
        assert_eq!(to_string(&json!(text)), format!("'{}'\n", text.replace('\'', "''")));
    }
    for text in [
        "a#b",
        "=",
        "<<",
        "é",
        "it's",
        "a\"b",
        "a:b",
        "-x",
        "?x",
        "a, b",
        "[x".trim_start_matches('['),
        "tRue",
    ] {
        assert_eq!(to_string(&json!(text)), format!("{text}\n"));
    }
    assert_eq!(to_string(&json!("tab\tx")), "\"tab\\tx\"\n");
    assert_eq!(to_string(&json!("😀 \u{7}")), "\"\\U0001F600 \\a\"\n");
}

#[test]
fn structure_is_written_as_go_yaml_writes_it() {
    let value = json!({
        "z": [{ "name": "x", "v": 1, "l": [1, [2, 3]] }, {}, [], null],
        "a": { "b": { "c": "d" }, "e": {} },
        "keep": "x\n\n", "clip": "x\ny\n", "strip": "x\n\n  y", "lead": " x\ny",
        "f": 1.5, "big": 1e21, "small": 0.000_001, "huge": 1.234_567_5e6
    });
    let expected = "z:\n- name: x\n  v: 1\n  l:\n  - 1\n  - - 2\n    - 3\n- {}\n- []\n- null\na:\n  b:\n    c: d\n  e: {}\n\
                    keep: |+\n  x\n\nclip: |\n  x\n  y\nstrip: |-\n  x\n\n    y\nlead: |2-\n   x\n  y\n\
                    f: 1.5\nbig: 1e+21\nsmall: 1e-06\nhuge: 1.2345675e+06\n";
    assert_eq!(to_string(&value), expected);
    assert_eq!(documents_to_string([&json!({ "a": 1 }), &json!([2])]), "a: 1\n---\n- 2\n");
    assert_eq!(documents_to_string([]), "");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "[-a-z0-9:#'\"!,{}\\[\\]| \n\t\r]{0,16}",
        "[0-9+_.:xobeE-]{1,10}",
        "( |\n|x){0,6}",
        "\\PC{0,8}",
        any::<String>(),
        "[a-z]{120,140}",
        proptest::sample::select(vec![
            "<<",
            "yes",
            "y",
            "~",
            "null",
            "---",
            "...",
            "--- x",
            "1e3",
            "0x_",
            "=",
            "\u{feff}a"
        ])
        .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", scalar::from_float),
        (-1e6..1e6).prop_filter_map("finite", scalar::from_float),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((text(), inner), 0..5)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_is_read_back(value in value()) {
        let text = to_string(&value);
        for schema in [Schema::Yaml11, Schema::Yaml12ish] {
            let read = read(&text, schema);
            prop_assert_eq!(read.as_ref(), Ok(&value), "{}", text);
        }
    }

    #[test]
    fn documents_are_read_back_one_by_one(values in proptest::collection::vec(value(), 0..4)) {
        let text = documents_to_string(&values);
        let read = parse(text.as_bytes(), &Options::default()).map(|documents| {
            documents.into_iter().map(|document| document.value).collect::<Vec<_>>()
        });
        let expected: Vec<_> = values.into_iter().filter(|value| !value.is_null()).collect();
        prop_assert_eq!(read, Ok(expected), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = read(&text, Schema::Yaml11);
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(
        text in "([-?:,\\[\\]{}#&*!|>'\"%@`\\\\ \n\t\r]|[a-c0-2<.~]|\u{feff}|\u{85}|---|\\.\\.\\.|\n  |: |- |&a |\\*a|!!|!<|!b,|<tag:yaml\\.org,|>|%TAG|%YAML 1\\.1|\\\\x|\\\\u|<<: ){0,40}"
    ) {
        let _ = read(&text, Schema::Yaml11);
        let _ = read(&text, Schema::Yaml12ish);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(&bytes, &Options::default());
    }
}

#[test]
fn fields_for_which_nothing_is_written_are_told_of() {
    let text = b"a:\nb: null\nc:\n- d:\n  e: ''\n-\n";
    let documents = parse(text, &Options::new(Schema::Yaml12ish, DuplicateKeys::Error)).unwrap();
    let paths: Vec<String> = documents[0].blank_fields.iter().map(|path| path.join("/")).collect();
    assert_eq!(paths, ["a", "c/0/d", "c/1"]);
}
