//! Any bytes as YAML: read or refused by both schemas, and what is read comes back when it is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff::object::yaml::{DuplicateKeys, Options, Schema, documents_to_string, parse};

fuzz_target!(|text: &[u8]| {
    let _ = parse(text, &Options::new(Schema::Yaml12ish, DuplicateKeys::Error));
    // Only here does everything come back: an object's annotations are texts for the other schema.
    let options = Options::new(Schema::Yaml11, DuplicateKeys::LastWins);
    let Ok(documents) = parse(text, &options) else { return };
    let values: Vec<_> = documents.into_iter().map(|document| document.value).collect();
    let written = documents_to_string(&values);
    let again = parse(written.as_bytes(), &options).expect("what was written can be read");
    let again: Vec<_> = again.into_iter().map(|document| document.value).collect();
    assert_eq!(values, again, "written as:\n{written}");
});
