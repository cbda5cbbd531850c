use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn ip() -> IpAddr {
    IpAddr::from([10, 244, 1, 7])
}

fn pod(name: &str, created: i64) -> Pod {
    Pod {
        id: ObjectName::new("shop", name),
        uid: Some(format!("{name}-{created}")),
        ips: vec![ip()],
        created: Some(created),
        ..Pod::default()
    }
}

fn name(holder: Option<Holder>) -> String {
    match holder {
        Some(Holder::Pod(pod)) => pod.id.name.clone(),
        Some(Holder::Former(pod, until)) => {
            let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            format!("{} until {}", pod.id.name, until.as_secs())
        }
        None => "none".to_owned(),
    }
}

#[test]
fn an_address_belongs_to_the_pod_that_had_it_then() {
    let mut history = History::default();
    history.put(&pod("old", 100), at(200));
    history.remove(&pod("old", 100).id, at(300));
    history.put(&pod("new", 310), at(320));
    assert_eq!(name(history.holder(ip(), at(250))), "old");
    assert_eq!(name(history.holder(ip(), at(305))), "old until 300");
    assert_eq!(name(history.holder(ip(), at(400))), "new");
}

#[test]
fn a_pod_had_its_address_before_it_was_reported_but_not_before_it_was_created() {
    let mut history = History::default();
    history.put(&pod("web", 100), at(200));
    assert_eq!(name(history.holder(ip(), at(150))), "web");
    assert_eq!(name(history.holder(ip(), at(50))), "none");
}

#[test]
fn a_new_holder_does_not_take_what_the_old_one_still_had() {
    let mut history = History::default();
    history.put(&pod("old", 100), at(110));
    history.remove(&pod("old", 100).id, at(300));
    history.put(&pod("new", 200), at(310));
    assert_eq!(name(history.holder(ip(), at(290))), "old");
    assert_eq!(name(history.holder(ip(), at(305))), "new");
}

#[test]
fn a_pod_that_ended_or_lost_its_address_has_it_no_more() {
    let mut history = History::default();
    history.put(&pod("job", 100), at(110));
    let ended = Pod {
        ended: true,
        ..pod("job", 100)
    };
    history.put(&ended, at(200));
    assert_eq!(name(history.holder(ip(), at(210))), "job until 200");
}

#[test]
fn a_namesake_is_another_pod() {
    let mut history = History::default();
    history.put(&pod("db-0", 100), at(110));
    history.put(&pod("db-0", 200), at(210));
    let uid = |then| match history.holder(ip(), then) {
        Some(Holder::Pod(pod)) => pod.uid.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(uid(at(150)), "db-0-100");
    assert_eq!(uid(at(220)), "db-0-200");
}

#[test]
fn pods_of_the_node_s_own_namespace_hold_no_address() {
    let mut history = History::default();
    let proxy = Pod {
        host_network: true,
        ..pod("kube-proxy", 1)
    };
    history.put(&proxy, at(2));
    assert_eq!(name(history.holder(ip(), at(3))), "none");
}

#[test]
fn only_a_few_former_holders_are_remembered() {
    let mut history = History::default();
    for n in 0..100 {
        let pod = pod(&format!("p{n}"), n);
        let now = u64::try_from(n).unwrap() * 10;
        history.put(&pod, at(now + 1));
        history.remove(&pod.id, at(now + 2));
    }
    assert!(history.tenures[&ip()].len() <= FORMER + 1);
    assert!(history.held.is_empty());
}
