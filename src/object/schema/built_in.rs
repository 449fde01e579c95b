//! The kinds of Kubernetes itself, read once from `built_in.txt`.
//!
//! The table's lines are `Type field… `, one type a line, where a field is
//! `name[#number][?][*]:type[=default][@mergeKey][+]`: `#` is its number in protobuf where that is not one more than the
//! last one's, `?` is left out when empty, `*` is a pointer (zero differs from not set), `@` is merged by a strategic merge
//! patch, `+` is a union whose patches retain keys. Types are `s`tring `t`ime b`y`tes `i`nteger `n`umber `b`oolean `q`uantity
//! int-or-string `x`, `*` anything, `[items]` an atomic list, `[items|]` a set, `[items|key,key]` a keyed list, `{values}` a
//! map, and a name another line's type; `~` after a mapping makes it atomic. Lines with `>` name the kinds.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::{DEDUCED, Field, List, ListType, Mapping, Patch, Scalar, Table, Type, TypeRef};
use crate::object::Gvk;

const TEXT: &str = include_str!("built_in.txt");

struct BuiltIn {
    table: Arc<Table>,
    kinds: HashMap<Gvk, usize>,
}

static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| {
    let (table, names, kinds) = read(TEXT);
    let kinds = kinds.into_iter().filter_map(|(gvk, name)| Some((gvk, names.get(&name).copied()?))).collect();
    BuiltIn { table: Arc::new(table), kinds }
});

/// The type of a kind of Kubernetes itself; `None` for kinds that it does not have.
pub fn built_in(gvk: &Gvk) -> Option<TypeRef> {
    let index = *BUILT_IN.kinds.get(gvk)?;
    Some(TypeRef { table: Arc::clone(&BUILT_IN.table), index })
}

/// The kinds that [`built_in`] knows, in no order.
pub fn built_in_kinds() -> impl Iterator<Item = &'static Gvk> {
    BUILT_IN.kinds.keys()
}

/// Where [`table_of_metadata`] has `ObjectMeta`.
const METADATA_TYPES: [&str; 3] = ["ObjectMeta", "OwnerReference", "ManagedFieldsEntry"];

/// A table that holds only the metadata's types, to which a custom resource's types are added.
pub(super) fn table_of_metadata() -> Table {
    let lines = TEXT.lines().filter(|line| {
        METADATA_TYPES
            .iter()
            .any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '~'])))
    });
    read_lines(lines).0
}

/// The place of `ObjectMeta` in a table made by [`table_of_metadata`].
pub(super) fn metadata_index(table: &Table) -> usize {
    table
        .types
        .iter()
        .position(|it| it.map.as_ref().is_some_and(|map| map.field("managedFields").is_some()))
        .unwrap_or(DEDUCED)
}

type Names = HashMap<String, usize>;
type Kinds = Vec<(Gvk, String)>;

fn read(text: &'static str) -> (Table, Names, Kinds) {
    read_lines(text.lines())
}

fn read_lines<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> (Table, Names, Kinds) {
    let mut table = Table::new();
    let mut names = Names::new();
    for line in lines.clone().filter(|line| !line.starts_with('>')) {
        let head = line.split(' ').next().unwrap_or_default();
        let name = head.trim_end_matches('~').to_owned();
        names.insert(name.clone(), table.add(Type { name, ..Type::default() }));
    }
    let mut kinds = Kinds::new();
    for line in lines {
        let mut words = line.split(' ');
        let head = words.next().unwrap_or_default();
        if head == ">" {
            if let (Some(version), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) {
                kinds.push((Gvk::from_api_version(version, kind), name.to_owned()));
            }
            continue;
        }
        let mut map = Mapping { atomic: head.ends_with('~'), ..Mapping::default() };
        let mut number = 0;
        for word in words {
            if let Some(field) = read_field(word, number, &mut table, &names) {
                number = field.number;
                map.push(field);
            }
        }
        let index = names.get(head.trim_end_matches('~')).copied().unwrap_or(DEDUCED);
        if let Some(entry) = table.types.get_mut(index) {
            entry.map = Some(map);
        }
    }
    (table, names, kinds)
}

fn read_field(word: &str, last: u32, table: &mut Table, names: &Names) -> Option<Field> {
    let (head, rest) = word.split_once(':')?;
    let optional = head.ends_with('*');
    let omit_empty = head.contains('?');
    let (name, number) = match head.trim_end_matches(['?', '*']).split_once('#') {
        Some((name, number)) => (name, number.parse().ok()?),
        None => (head.trim_end_matches(['?', '*']), last + 1),
    };
    let (rest, retain_keys) = match rest.strip_suffix('+') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (rest, merge_key) = match rest.split_once('@') {
        Some((rest, key)) => (rest, Some(key)),
        None => (rest, None),
    };
    let (type_text, default) = match rest.split_once('=') {
        Some((type_text, default)) => (type_text, serde_json::from_str(default).ok()),
        None => (rest, None),
    };
    Some(Field {
        name: name.to_owned(),
        number,
        omit_empty,
        optional,
        default,
        patch: Patch {
            merge: merge_key.is_some(),
            merge_key: merge_key.filter(|key| !key.is_empty()).map(str::to_owned),
            retain_keys,
        },
        schema: read_type(type_text, table, names),
    })
}

fn read_type(text: &str, table: &mut Table, names: &Names) -> usize {
    let scalar = |scalar| Type { scalar: Some(scalar), ..Type::default() };
    let schema = match text {
        "*" => return DEDUCED,
        "s" => scalar(Scalar::String),
        "t" => scalar(Scalar::Time),
        "y" => scalar(Scalar::Bytes),
        "i" => scalar(Scalar::Integer),
        "n" => scalar(Scalar::Number),
        "b" => scalar(Scalar::Boolean),
        "q" => scalar(Scalar::Quantity),
        "x" => scalar(Scalar::IntOrString),
        _ => {
            let (inner, atomic) = match text.strip_suffix('~') {
                Some(inner) => (inner, true),
                None => (text, false),
            };
            if let Some(list) = inner.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
                let (items, list_type) = match list.rsplit_once('|').filter(|(_, keys)| !keys.contains(']')) {
                    None => (list, ListType::Atomic),
                    Some((items, "")) => (items, ListType::Set),
                    Some((items, keys)) => {
                        (items, ListType::Map(keys.split(',').map(str::to_owned).collect()))
                    }
                };
                let items = read_type(items, table, names);
                Type { list: Some(List { items, list_type }), ..Type::default() }
            } else if let Some(values) = inner.strip_prefix('{').and_then(|values| values.strip_suffix('}')) {
                let element = Some(read_type(values, table, names));
                Type { map: Some(Mapping { element, atomic, ..Mapping::default() }), ..Type::default() }
            } else {
                return names.get(inner).copied().unwrap_or(DEDUCED);
            }
        }
    };
    table.add(schema)
}
