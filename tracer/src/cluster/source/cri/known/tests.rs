use super::*;

fn pod(name: &str) -> Pod {
    Pod {
        id: ObjectName::new("shop", name),
        ..Pod::default()
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn shown(changes: &[Change]) -> Vec<String> {
    let shown = changes.iter().map(|change| match change {
        Change::Put(object) => format!("+{}", object.id().name),
        Change::Gone(Kind::Pod, id) => format!("-{}", id.name),
        change => panic!("{change:?}"),
    });
    shown.collect()
}

#[test]
fn only_new_sandboxes_are_asked_for() {
    let mut known = Known::default();
    assert_eq!(known.keep(ids(&["b", "a"])), ids(&["a", "b"]));
    known.learn("a".to_owned(), pod("cart"), 1);
    assert_eq!(known.keep(ids(&["a", "b"])), ids(&["b"]));
    assert!(known.refuse("b"));
    assert_eq!(known.keep(ids(&["a", "b"])), ids(&["b"]));
    assert!(!known.refuse("b"), "said once");
    assert!(known.keep(ids(&["a"])).is_empty());
    assert!(known.refuse("b"), "another of that name");
}

#[test]
fn what_comes_and_goes_is_reported_once() {
    let mut known = Known::default();
    known.learn("a".to_owned(), pod("cart"), 1);
    let Change::AllHere(Kind::Pod, objects) = known.all() else {
        panic!("not all of this node");
    };
    assert_eq!(objects.len(), 1);
    assert!(known.changes().is_empty());

    known.keep(ids(&["a", "b"]));
    known.learn("b".to_owned(), pod("web"), 2);
    assert_eq!(shown(&known.changes()), ["+web"]);
    assert!(known.changes().is_empty());

    known.keep(ids(&["b"]));
    assert_eq!(shown(&known.changes()), ["-cart"]);
    assert!(known.changes().is_empty());
}

#[test]
fn a_pod_with_a_new_sandbox_is_another() {
    let mut known = Known::default();
    known.learn("z-old".to_owned(), pod("cart-0"), 1);
    known.all();
    // Both for a moment, then one.
    known.keep(ids(&["z-old", "new"]));
    known.learn("new".to_owned(), pod("cart-0"), 2);
    assert_eq!(shown(&known.changes()), ["-cart-0", "+cart-0"]);
    known.keep(ids(&["new"]));
    assert!(known.changes().is_empty());
}
