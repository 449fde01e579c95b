use proptest::prelude::*;

use super::*;
use crate::object::yaml::{DuplicateKeys, Schema, reader::parse_in_full};

fn options() -> impl Iterator<Item = Options> {
    let schemas = [Schema::Yaml11, Schema::Yaml12ish];
    let policies = [DuplicateKeys::LastWins, DuplicateKeys::Error];
    schemas.into_iter().flat_map(move |schema| policies.map(|policy| Options::new(schema, policy)))
}

/// Whether it was read, and as libyaml reads it.
fn is_read(text: &str) -> bool {
    let read = options().map(|options| {
        let simple = parse(text, &options);
        if let Some(documents) = &simple {
            assert_eq!(Ok(documents), parse_in_full(text, &options).as_ref(), "{text}");
        }
        simple.is_some()
    });
    read.fold(false, |any, one| any | one)
}

#[test]
fn usual_manifests_are_read() {
    let texts = [
        "# first\napiVersion: v1\nkind: Service\nmetadata:\n  name: web # a comment\n  labels: {app: web, 'tier': \"x\"}\nspec:\n  \
         ports:\n  - port: 80\n    targetPort: 'http'\n  -   name: b\n      port: 0x10\n\n---\n\n--- \nkind: A\n",
        "a: |\n  x\n    y \n\n  # no comment\n\nb: |-\n  z\n\n\nc:\n- |\n  in a list\n- - 1\n  - ~\n-\n- - x: y\n    z:\n-\n  q: []\n",
        ".dockerconfigjson: e30=\ncommand: [\"/bin/sh\", '-c', a.b, [1, {}]]\nargs:\n- --flag=x:y\n- -1\n- $(VAR) and more\n\
         - 'it''s'\n- \"say \\\"x\\\"\\n\"\nwhen: 2024-01-02\nmode: 0644\nyes: on\n'a b':\n- e: ü # ö\n",
        "",
        "\n# nothing\n---\n",
    ];
    for text in texts.into_iter().chain([MANIFEST]) {
        assert!(text.is_empty() || is_read(text), "{text}");
    }
}

#[test]
fn what_is_unusual_is_left_to_the_full_reader() {
    let texts = [
        "a: b",
        "a: &x b\n",
        "a: *x\n",
        "a: !!str 1\n",
        "a: >\n  b\n",
        "a: b\n  c\n",
        "a:\tb\n",
        "a: b\r\n",
        "? a\n",
        "{a: b}\n",
        "a\n",
        "a: {b: c,\n  d: e}\n",
        "a: \"b\n  c\"\n",
        "a: b: c\n",
        "a: 'b' c\n",
        " a: b\n",
        "a: |2\n   b\n",
        "a: |\n\n  b\n",
        "<<: {}\n",
        "a: b\n c: d\n",
        "a:\n  b: c\n d: e\n",
        "a: @b\n",
        "a: [b, ]\n",
        "a: [b c]\n",
        "%YAML 1.1\n---\n",
        "a: b\n...\n",
        "--- a\n",
        "a: .inf\n",
        "a: -\n",
        "a:\n- b\n  - c\n",
        "a: \u{2028}\n",
        "a: x\u{1}y\n",
        "a: x\u{7f}\n",
        "a: x\u{80}\n",
        "a: x\u{feff}\n",
        "a: x\u{ffff}\n",
        "# \u{1b}\na: x\n",
        "\"a\\\"\": b\n",
    ];
    for text in texts {
        assert!(!is_read(text), "{text:?}");
    }
}

const MANIFEST: &str = include_str!("../../../../benches/support/application.yaml");

/// A change of one line of a text.
#[derive(Clone, Debug)]
enum Edit {
    Drop,
    Repeat,
    Indent(usize),
    Outdent(usize),
    /// Puts a piece in after so many characters, in the place of as many as given.
    Put(usize, usize, String),
    /// Moves the line down by so many.
    Move(usize),
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Edit)>> {
    let piece = prop::sample::select(vec![
        "'", "\"", ": ", ":", "- ", "-", "#", " #", "|", "|-", ">", "[", "]", "{", "}", ",", "&a ", "*a",
        "!", "%", "@", "\\", "~", "?", " ", "", "\t", "é", "---", "...", "<<: ", "0x1", "\n", "\n\n",
        "\u{1}", "\u{7f}", "\u{9f}",
    ]);
    let edit = prop_oneof![
        Just(Edit::Drop),
        Just(Edit::Repeat),
        (1usize..5).prop_map(Edit::Indent),
        (1usize..5).prop_map(Edit::Outdent),
        (0usize..30, 0usize..4, piece).prop_map(|(at, cut, piece)| Edit::Put(at, cut, piece.to_owned())),
        (1usize..8).prop_map(Edit::Move),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), edit), 0..5)
}

fn edited(text: &str, edits: &[(prop::sample::Index, Edit)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (at, edit) in edits.iter().cloned() {
        if lines.is_empty() {
            break;
        }
        let at = at.index(lines.len());
        match edit {
            Edit::Drop => drop(lines.remove(at)),
            Edit::Repeat => lines.insert(at, lines[at].clone()),
            Edit::Indent(by) => lines[at].insert_str(0, &" ".repeat(by)),
            Edit::Outdent(by) => {
                let blanks = lines[at].len() - lines[at].trim_start_matches(' ').len();
                lines[at].drain(..by.min(blanks));
            }
            Edit::Put(from, cut, piece) => {
                let characters: Vec<char> = lines[at].chars().collect();
                let from = from.min(characters.len());
                let rest = &characters[(from + cut).min(characters.len())..];
                lines[at] = characters[..from]
                    .iter()
                    .copied()
                    .chain(piece.chars())
                    .chain(rest.iter().copied())
                    .collect();
            }
            Edit::Move(by) => {
                let line = lines.remove(at);
                lines.insert((at + by).min(lines.len()), line);
            }
        }
    }
    lines.join("\n") + "\n"
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "key",
        "n",
        "yes",
        "- ",
        "-",
        ": ",
        ":",
        " ",
        "  ",
        "\n",
        "\n  ",
        "\n- ",
        "\n    ",
        "#",
        " # x",
        "\"",
        "'",
        "''",
        "|",
        "|-\n",
        "|\n  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        "\\",
        "\\n",
        "1",
        "0x1",
        "~",
        "2024-01-02",
        "---",
        "\n---\n",
        "...",
        "é",
        "&a",
        "*a",
        "!",
        ">",
        "%",
        "?",
        "@",
        "=",
        "<<",
        ".",
        "/",
        "\nkey: ",
        "\n  key: ",
        "\n  - key: ",
        "\nkey:\n",
        "\t",
        "\r\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat() + "\n")
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_is_read_as_libyaml_does(text in pieces()) {
        is_read(&text);
    }

    #[test]
    fn a_manifest_with_a_mistake_is_read_as_libyaml_does_or_not_at_all(edits in edits()) {
        is_read(&edited(MANIFEST, &edits));
    }
}
