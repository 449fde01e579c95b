//! Folded texts (`>`) as kustomize prints them.
//!
//! It writes each resource as YAML once more before it prints it, folded texts in folded style again, and go-yaml's writer gets
//! their line breaks wrong: a line that is indented more than the one before it moves away by a line, and where the first line is
//! indented, breaks that were doubled are lost. Charts and policies with scripts in them render so, therefore here too.

/// A folded text after it was written by go-yaml and read back.
pub(super) fn written_and_read_back(text: &str) -> String {
    let is_indented = |line: &str| line.starts_with([' ', '\t']);
    let body = text.trim_start_matches('\n');
    let mut written = text.strip_suffix(body).unwrap_or_default().to_owned();
    // The writer looks at the beginning of the text where it means what follows the break.
    let adds_break = !is_indented(body);
    let mut rest = body;
    while let Some(end) = rest.find('\n') {
        let (line, behind) = rest.split_at(end);
        let next = behind.trim_start_matches('\n');
        let breaks = behind.len() - next.len();
        written.push_str(line);
        let breaks = match (is_indented(line), next.is_empty() || is_indented(next)) {
            _ if next.is_empty() && breaks == 1 => 1,
            (true, _) => breaks,
            (false, true) => breaks + usize::from(adds_break),
            (false, false) if adds_break => breaks,
            (false, false) => breaks - 1,
        };
        if breaks == 0 {
            written.push(' ');
        }
        written.extend(std::iter::repeat_n('\n', breaks));
        rest = next;
    }
    written.push_str(rest);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kustomize 5.8.1 prints them.
    #[test]
    fn folded_texts_come_out_as_kustomize_prints_them() {
        let rows = [
            ("a", "a"),
            ("a b c\nd", "a b c\nd"),
            ("a\n  || b", "a\n\n  || b"),
            ("a\n  || b\nc\nd\n  e\n\n  f\n\n\ng\n", "a\n\n  || b\nc\nd\n\n  e\n\n  f\n\n\ng\n"),
            ("\nx\n y\n", "\nx\n\n y\n"),
            ("  a\nb\nc\n\nd\n  e\n", "  a\nb c\nd\n  e\n"),
            ("a b\n\n\n", "a b\n\n\n\n"),
            ("a\n  b\n\n\n", "a\n\n  b\n\n\n"),
            ("d\n\n\n  e", "d\n\n\n\n  e"),
            ("", ""),
            ("\n", "\n"),
        ];
        for (text, printed) in rows {
            assert_eq!(written_and_read_back(text), printed, "{text:?}");
        }
    }
}
