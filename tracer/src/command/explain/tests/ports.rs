//! Ports by name and by number.

use super::asked::Files;

const SIDECAR: &str = "{name: migrate, restartPolicy: Always, ports:";

fn text(name: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/policies");
    std::fs::read_to_string(format!("{root}/{name}.yaml")).unwrap()
}

#[test]
fn a_port_of_an_init_container_that_has_ended_is_none() {
    let ended = Files::of(&["init-port"]);
    let sidecar = text("init-port").replace("{name: migrate, ports:", SIDECAR);
    let sidecar = Files::of(&[]).and(&sidecar);
    for (files, port, expected) in [
        (&ended, 9000, false),
        (&ended, 8080, true),
        (&sidecar, 9000, true),
        (&sidecar, 8080, true),
    ] {
        let to = format!("blue/mixed:{port}");
        assert_eq!(files.allowed("blue/ask", &to), Some(expected), "{to}");
    }
}

#[test]
fn an_ephemeral_name_on_two_containers_is_each_of_their_ports() {
    let two = text("init-port").replace(
        "containers: [",
        "containers: [{name: d, ports: [{name: web, containerPort: 8081}, {name: web, \
         containerPort: 8082, protocol: UDP}]}, ",
    );
    // The replacement is made for the init containers, too, which have ended.
    let two = two.replacen("initContainers: [{name: d", "initContainers: [{name: e", 1);
    let files = Files::of(&[]).and(&two);
    for (port, expected) in [(8080, true), (8081, true), (8082, false)] {
        let to = format!("blue/mixed:{port}");
        assert_eq!(files.allowed("blue/ask", &to), Some(expected), "{to}");
    }
}
