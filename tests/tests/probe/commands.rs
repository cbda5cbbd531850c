//! The commands that a probe shows work as they are.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use whydrop_tests::{
    apiserver::ApiServer,
    binary,
    lab::Family,
    probe::Probed,
    record::{Layer, LayerResult},
    tracer::run_to_end,
    traffic::TcpServer,
};

use super::{PORT, Shop, probe};

/// A probe takes objects from files and an API server at once, and uses those of the API server if it has
/// any. `explain` takes one of the two, and gets that one.
#[test]
fn explain_with_files_and_an_api_server() -> Result<()> {
    let shop = Shop::build()?;
    let [cart, ..] = shop.carts();
    let _server = TcpServer::echo(cart, cart.socket(Family::V4, PORT))?;
    let file = shop.write(&shop.objects(Vec::new()))?;
    let to = cart.socket(Family::V4, PORT);
    let probe = probe(&shop.lab, &shop.lab.pod_a, to, Family::V4).cluster(&file);

    let api = ApiServer::up()?;
    let kubeconfig = api.kubeconfig(shop.directory.path())?;
    let live = ["--kubeconfig", &kubeconfig.display().to_string()].join(" ");
    let probe = probe.with("--kubeconfig").with(kubeconfig.display());
    works(&probe.run()?, &live)?;

    // It is gone.
    let config =
        fs::read_to_string(&kubeconfig)?.replace(&api.address().to_string(), "127.0.0.1:1");
    fs::write(&kubeconfig, config)?;
    works(&probe.run()?, &format!("--cluster {}", file.display()))
}

/// The command of each of these rows says where the objects are, and says nothing else of that.
fn works(probed: &Probed, objects: &str) -> Result<()> {
    probed.healthy()?;
    for layer in [Layer::Policy, Layer::Firewall] {
        let row = probed.expect(layer, LayerResult::Ok, "")?;
        let expected = format!("whydrop explain {objects} --from ");
        ensure!(row.test.starts_with(&expected), "{row:?}");
        let mut command = Command::new(binary());
        command.args(row.test.split(' ').skip(1));
        let output = run_to_end(&mut command)?;
        ensure!(output.status.success(), "{}: {output:?}", row.test);
    }
    Ok(())
}
