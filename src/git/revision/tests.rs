use super::*;

fn commit(digit: char) -> CommitId {
    CommitId::parse(&digit.to_string().repeat(40)).unwrap()
}

/// A repository whose branch `main` is at 1…, and whose tags are at the digits given.
fn references(tags: &[(&str, char)]) -> References {
    let mut references = References::default();
    references.add("HEAD", commit('1'), Some("refs/heads/main"));
    references.add("refs/heads/main", commit('1'), None);
    references.add("refs/heads/feature/x", commit('2'), None);
    for (tag, digit) in tags {
        references.add(&format!("refs/tags/{tag}"), commit(*digit), None);
    }
    references
}

#[track_caller]
fn resolve(text: &str, prefix: Option<&str>, references: &References) -> Result<Resolution, RevisionError> {
    RevisionSpec::parse(text, prefix).unwrap().resolve(references)
}

#[track_caller]
fn leads_to(text: &str, references: &References, digit: char) {
    assert_eq!(resolve(text, None, references), Ok(Resolution::Commit(commit(digit))), "{text}");
}

#[test]
fn names_lead_to_the_commits_of_their_references() {
    let references = references(&[("v1.0.0", '3')]);
    leads_to("", &references, '1');
    leads_to("HEAD", &references, '1');
    leads_to("main", &references, '1');
    leads_to("refs/heads/main", &references, '1');
    leads_to("heads/main", &references, '1');
    leads_to("feature/x", &references, '2');
    leads_to("v1.0.0", &references, '3');
    leads_to("refs/tags/v1.0.0", &references, '3');
    leads_to(&"A".repeat(40), &references, 'a');
}

#[test]
fn an_annotated_tag_leads_to_the_commit_that_it_tags() {
    let mut references = references(&[("v1.0.0", '3')]);
    references.add("refs/tags/v1.0.0^{}", commit('4'), None);
    leads_to("v1.0.0", &references, '4');
    leads_to("^1", &references, '4');
}

#[test]
fn a_reference_is_never_a_range() {
    let mut references = references(&[("v1.2.5", '4')]);
    leads_to("1.x", &references, '4');
    let exact = |references: &References| RevisionSpec::reference("1.x").unwrap().resolve(references);
    assert_eq!(exact(&references), Err(RevisionError::Unknown { revision: "1.x".to_owned() }));
    references.add("refs/heads/1.x", commit('5'), None);
    assert_eq!(exact(&references), Ok(Resolution::Commit(commit('5'))));
}

#[test]
fn a_range_leads_to_the_highest_tag_in_it() {
    let tags = [("v1.0.0", '3'), ("v1.2.0", '4'), ("1.10.0", '5'), ("v2.0.0-rc1", '6'), ("nightly", '7')];
    let references = references(&tags);
    leads_to("^1.0", &references, '5');
    leads_to("~1.2", &references, '4');
    leads_to("1.x", &references, '5');
    leads_to("*", &references, '5');
    leads_to(">=1.0.0 <1.5", &references, '4');
    leads_to(">=2.0.0-0", &references, '6');
    let none = resolve("^3", None, &references).unwrap_err();
    assert!(none.to_string().contains("none of the 5 tags"), "{none}");
}

#[test]
fn an_exact_version_is_a_name_and_no_range() {
    let references = references(&[("1.2.3", '3')]);
    leads_to("1.2.3", &references, '3');
    assert!(matches!(resolve("1.2", None, &references), Err(RevisionError::Unknown { .. })));
}

#[test]
fn a_range_that_no_tag_satisfies_may_be_the_name_of_a_branch() {
    let mut references = references(&[]);
    references.add("refs/heads/1.x", commit('8'), None);
    leads_to("1.x", &references, '8');
}

#[test]
fn only_tags_with_the_prefix_are_versions() {
    let references = references(&[("api/v1.1.0", '3'), ("web/v1.9.0", '4'), ("1.9.9", '5')]);
    for (text, digit) in [("^1", '3'), ("v1.1.0", '3'), ("main", '1')] {
        let found = resolve(text, Some("api/"), &references);
        assert_eq!(found, Ok(Resolution::Commit(commit(digit))), "{text}");
    }
    assert!(resolve("^2", Some("api/"), &references).is_err());
}

#[test]
fn a_branch_wins_over_a_tag_of_the_same_name() {
    leads_to("main", &references(&[("main", '9')]), '1');
}

#[test]
fn first_digits_lead_to_the_one_commit_that_begins_so() {
    let mut references = references(&[]);
    leads_to("1111111", &references, '1');
    assert_eq!(resolve("ABCDEF1", None, &references), Ok(Resolution::Abbreviated("abcdef1".to_owned())));
    assert!(matches!(resolve("111111", None, &references), Err(RevisionError::Unknown { .. })));
    let sibling = CommitId::parse(&format!("{}{}", "1".repeat(20), "2".repeat(20))).unwrap();
    references.add("refs/heads/sibling", sibling, None);
    assert!(matches!(resolve("1111111", None, &references), Err(RevisionError::Ambiguous { .. })));
}

#[test]
fn text_that_could_be_an_option_is_no_revision() {
    for text in ["--upload-pack=touch /tmp/x", "-x", "a\nb", "a\0b", &"a".repeat(2000)] {
        assert!(RevisionSpec::parse(text, None).is_err(), "{text:?}");
        assert!(RevisionSpec::parse("^1", Some(text)).is_err(), "{text:?}");
    }
}

#[test]
fn an_empty_repository_says_so() {
    let error = resolve("HEAD", None, &References::default()).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
}
