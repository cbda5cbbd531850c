use super::*;
use crate::cluster::{objects::Sandbox, unreadable::UnreadableName};

fn now() -> SystemTime {
    SystemTime::now()
}

fn pod(name: &str, uid: &str, created: i64, ip: [u8; 4]) -> Pod {
    Pod {
        id: ObjectName::new("shop", name),
        uid: Some(uid.to_owned()),
        created: Some(created),
        ips: vec![IpAddr::from(ip)],
        ..Pod::default()
    }
}

fn here(name: &str, uid: &str, created: i64, ip: [u8; 4], netns: u32) -> Pod {
    Pod {
        sandbox: Some(Sandbox {
            netns: Some(netns),
            ..Sandbox::default()
        }),
        ..pod(name, uid, created, ip)
    }
}

fn apply(cluster: &mut Cluster, source: Source, change: Change) {
    cluster.apply(Update { source, change }, now());
}

const IP: [u8; 4] = [10, 244, 1, 5];

#[test]
fn pods_of_one_node_do_not_make_all_pods_known() {
    let mut cluster = Cluster::default();
    let web = Object::from(here("web", "a", 1, IP, 77));
    apply(
        &mut cluster,
        Source::Cri,
        Change::AllHere(Kind::Pod, vec![web]),
    );
    assert!(!cluster.view().knows(Kind::Pod));
    assert!(matches!(
        cluster.holder(IpAddr::from(IP), now()),
        Some(Holder::Pod(_))
    ));
    apply(
        &mut cluster,
        Source::Cri,
        Change::Gone(Kind::Pod, ObjectName::new("shop", "web")),
    );
    assert!(
        cluster
            .view()
            .pod(&ObjectName::new("shop", "web"))
            .is_none()
    );
    assert!(matches!(
        cluster.holder(IpAddr::from(IP), now()),
        Some(Holder::Former(..))
    ));
}

#[test]
fn the_api_server_s_pod_has_the_runtime_s_namespace_whichever_comes_first() {
    let id = ObjectName::new("shop", "web");
    let from_api = || Change::All(Kind::Pod, vec![Object::from(pod("web", "a", 1, IP))]);
    let from_cri = || Change::Put(Box::new(Object::from(here("web", "a", 1, IP, 77))));
    for cri_first in [true, false] {
        let mut cluster = Cluster::default();
        if cri_first {
            apply(&mut cluster, Source::Cri, from_cri());
            apply(&mut cluster, Source::Api, from_api());
        } else {
            apply(&mut cluster, Source::Api, from_api());
            apply(&mut cluster, Source::Cri, from_cri());
        }
        assert!(cluster.view().knows(Kind::Pod));
        let netns = |cluster: &Cluster| {
            let pod = cluster.view().pod(&id).unwrap();
            pod.sandbox.as_ref().and_then(|sandbox| sandbox.netns)
        };
        assert_eq!(netns(&cluster), Some(77), "runtime first: {cri_first}");
        apply(
            &mut cluster,
            Source::Cri,
            Change::Gone(Kind::Pod, id.clone()),
        );
        assert_eq!(
            netns(&cluster),
            None,
            "the pod stays as the API server has it"
        );
    }
}

#[test]
fn a_lesser_source_does_not_take_back_what_a_better_one_says() {
    let mut cluster = Cluster::default();
    let live = Object::from(pod("web", "new", 9, IP));
    apply(
        &mut cluster,
        Source::Api,
        Change::All(Kind::Pod, vec![live]),
    );
    let old = Object::from(pod("cart", "old", 1, [10, 244, 1, 6]));
    apply(
        &mut cluster,
        Source::File,
        Change::All(Kind::Pod, vec![old]),
    );
    let names = cluster.view().names(Kind::Pod);
    assert_eq!(names, [ObjectName::new("shop", "web")]);
}

#[test]
fn a_better_source_replaces_a_lesser_one() {
    let mut cluster = Cluster::default();
    let old = Object::from(pod("cart", "old", 1, IP));
    apply(
        &mut cluster,
        Source::File,
        Change::All(Kind::Pod, vec![old]),
    );
    let live = Object::from(pod("web", "new", 9, [10, 244, 1, 6]));
    apply(
        &mut cluster,
        Source::Api,
        Change::All(Kind::Pod, vec![live]),
    );
    assert_eq!(
        cluster.view().names(Kind::Pod),
        [ObjectName::new("shop", "web")]
    );
}

#[test]
fn the_runtime_knows_first_of_a_younger_namesake() {
    let mut cluster = Cluster::default();
    let old = Object::from(pod("db-0", "old", 1, IP));
    apply(&mut cluster, Source::Api, Change::All(Kind::Pod, vec![old]));
    let young = Object::from(here("db-0", "young", 5, [10, 244, 1, 9], 88));
    apply(&mut cluster, Source::Cri, Change::Put(Box::new(young)));
    let known = cluster
        .view()
        .pod(&ObjectName::new("shop", "db-0"))
        .unwrap();
    assert_eq!(known.uid.as_deref(), Some("young"));
}

#[test]
fn a_new_list_forgets_what_could_not_be_read() {
    let mut cluster = Cluster::default();
    let somewhere = UnreadableName::new(None, Some("web".to_owned()));
    let unreadable = Change::Unreadable(Kind::Pod, somewhere, Vec::new());
    apply(&mut cluster, Source::Api, unreadable);
    let id = ObjectName::new("shop", "web");
    assert!(cluster.view().unreadable_as(Kind::Pod, &id).is_some());
    apply(
        &mut cluster,
        Source::Api,
        Change::All(Kind::Pod, Vec::new()),
    );
    assert!(cluster.view().unreadable_as(Kind::Pod, &id).is_none());
}
