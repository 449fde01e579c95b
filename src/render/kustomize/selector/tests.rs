use serde_json::json;

use super::*;

fn id(kind: &str, namespace: &str, name: &str) -> Id {
    Id { gvk: Gvk::new("apps", "v1", kind), name: name.to_owned(), namespace: namespace.to_owned() }
}

fn selector(change: impl FnOnce(&mut Selector)) -> CompiledSelector {
    let mut selector = Selector::default();
    change(&mut selector);
    selector.compile().unwrap()
}

#[test]
fn expressions_match_from_end_to_end_and_empty_ones_everything() {
    let web = id("Deployment", "", "web");
    assert!(selector(|_| {}).matches_id(&web));
    assert!(selector(|s| s.name = "w.*".to_owned()).matches_id(&web));
    assert!(!selector(|s| s.name = "e".to_owned()).matches_id(&web));
    assert!(selector(|s| s.name = "api|web".to_owned()).matches_id(&web));
    assert!(!selector(|s| s.kind = "Deploy".to_owned()).matches_id(&web));
}

#[test]
fn patch_targets_go_by_original_or_current_name_and_effective_namespace() {
    let (original, current) = (id("Deployment", "", "web"), id("Deployment", "shop", "prod-web"));
    let matches =
        |change: fn(&mut Selector)| selector(change).matches_patch_target(&original, &current, &json!({}));
    assert!(matches(|s| s.name = "web".to_owned()));
    assert!(matches(|s| s.name = "prod-web".to_owned()));
    assert!(!matches(|s| s.name = "prod".to_owned()));
    assert!(matches(|s| s.namespace = "default".to_owned()));
    assert!(matches(|s| s.namespace = "shop".to_owned()));
    let role = Id { gvk: Gvk::new("rbac.authorization.k8s.io", "v1", "ClusterRole"), ..id("", "", "r") };
    assert!(!selector(|s| s.namespace = "default".to_owned()).matches_patch_target(&role, &role, &json!({})));
    assert!(selector(|s| s.namespace = "_non.*".to_owned()).matches_patch_target(&role, &role, &json!({})));
}

#[test]
fn label_selectors_follow_kubernetes_syntax() {
    let object = json!({"metadata": {"labels": {"app": "shop", "tier": "web", "n": "5"}}});
    let matches = |text: &str| selector(|s| s.label_selector = text.to_owned()).matches_labels(&object);
    for text in [
        "",
        "app",
        "app=shop",
        "app==shop",
        "app = shop , tier=web",
        "app!=other",
        "none!=x",
        "tier in (api, web)",
        "tier notin (api)",
        "none notin (x)",
        "!none",
        "n>4",
        "n<6",
    ] {
        assert!(matches(text), "{text}");
    }
    for text in [
        "app=x",
        "none",
        "!app",
        "tier in (api)",
        "tier notin (web)",
        "app=shop,tier=api",
        "n>5",
        "app!=shop",
    ] {
        assert!(!matches(text), "{text}");
    }
}

#[test]
fn annotations_are_selected_too() {
    let object = json!({"metadata": {"annotations": {"a": "b"}}});
    assert!(selector(|s| s.annotation_selector = "a=b".to_owned()).matches_labels(&object));
    assert!(!selector(|s| s.annotation_selector = "a=c".to_owned()).matches_labels(&object));
    assert!(!selector(|s| s.label_selector = "a=b".to_owned()).matches_labels(&object));
}

#[test]
fn invalid_selectors_are_errors() {
    for pattern in ["(", "[", "*"] {
        let result = Selector { name: pattern.to_owned(), ..Selector::default() }.compile();
        assert!(matches!(result, Err(SelectorError::Pattern { field: "name", .. })), "{pattern}");
    }
    for text in ["=x", "a in b", "a in (b", "a b", "a=b c", ",", "a,,b", "a in (b) c", "n>x"] {
        assert!(
            Selector { label_selector: text.to_owned(), ..Selector::default() }.compile().is_err(),
            "{text}"
        );
    }
}
