use std::{fs, os::unix::net::UnixListener};

use super::*;

fn listen(path: &Path) -> UnixListener {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    UnixListener::bind(path).unwrap()
}

#[test]
fn a_given_socket_must_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cri.sock");
    let missing = Sockets::find(Some(&path)).unwrap_err().to_string();
    assert!(
        missing.contains("--cri-socket") && missing.contains("No such file"),
        "{missing}"
    );
    assert!(missing.contains("leave the option out"), "{missing}");
    let directory = Sockets::find(Some(dir.path())).unwrap_err().to_string();
    assert!(directory.contains("not a socket"), "{directory}");

    let _listener = listen(&path);
    let given = Some(Sockets::Given(path.clone()));
    assert_eq!(Sockets::find(Some(&path)).unwrap(), given);
    let url = PathBuf::from(format!("unix://{}", path.display()));
    assert_eq!(Sockets::find(Some(&url)).unwrap(), given);
}

#[test]
fn the_usual_sockets_are_found_in_their_order_and_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let [run, var_run] = ["run", "var-run"].map(|name| dir.path().join(name));
    let roots = [run.to_str().unwrap(), var_run.to_str().unwrap()];
    assert_eq!(Sockets::found(&roots), None);

    let [containerd, _, k3s] = USUAL.map(|name| run.join(name));
    let _k3s = listen(&k3s);
    let _containerd = listen(&containerd);
    std::os::unix::fs::symlink(&run, &var_run).unwrap();
    let found = Some(Sockets::Found(vec![containerd, k3s]));
    assert_eq!(Sockets::found(&roots), found);
}
