//! Builds a lab and leaves it standing, to play in by hand.

use std::{io, sync::mpsc, thread};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use whydrop_tests::{
    lab::{
        Hint, Lab, Topology,
        topology::{NodeLab, OverlayLab, RouterLab, Underlay, VoidLab},
    },
    on_interrupt,
    tracer::watching,
};

/// Build a lab of network namespaces and leave it standing until Enter or Ctrl-C
#[derive(Parser)]
#[command(name = "lab", arg_required_else_help = true)]
struct Arguments {
    /// Which lab
    name: Name,

    /// Leave it standing for good, and say how to delete it
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// A node with two pods on a bridge, and a host outside
    Node,
    /// A router between a client and a server
    Router,
    /// Two nodes with a pod each, and VXLAN between them
    Overlay,
    /// The same with a router between the nodes
    OverlayRouted,
    /// A node whose uplink swallows everything
    Void,
}

impl Name {
    fn build(self, lab: &Lab) -> Result<Box<dyn Topology>> {
        Ok(match self {
            Self::Node => Box::new(NodeLab::build_in(lab)?),
            Self::Router => Box::new(RouterLab::build_in(lab)?),
            Self::Overlay => Box::new(OverlayLab::build_in(lab, Underlay::Direct)?),
            Self::OverlayRouted => Box::new(OverlayLab::build_in(lab, Underlay::Routed)?),
            Self::Void => Box::new(VoidLab::build_in(lab)?),
        })
    }
}

fn main() -> Result<()> {
    let Arguments { name, keep } = Arguments::parse();
    if keep {
        ensure!(
            name != Name::Void,
            "this lab cannot be kept: what swallows the packets is this process"
        );
        let lab = Lab::kept("lab");
        let topology = name.build(&lab)?;
        describe(&*topology)?;
        println!("It stays. To delete it:\n");
        for namespace in topology.namespaces() {
            println!("    ip netns delete {}", namespace.name());
        }
        return Ok(());
    }

    // Before anything is built, so that nothing is left behind.
    let (ended, end) = mpsc::channel();
    let interrupted = ended.clone();
    on_interrupt(move || {
        let _ = interrupted.send(());
    })?;
    let topology = name.build(&Lab::new()?)?;
    describe(&*topology)?;
    println!("Enter or Ctrl-C takes it down.");
    thread::spawn(move || {
        // At the end of input, Enter cannot be pressed; a signal will do.
        if io::stdin()
            .read_line(&mut String::new())
            .is_ok_and(|read| read > 0)
        {
            let _ = ended.send(());
        }
    });
    end.recv()?;
    Ok(())
}

/// Prints what is in the lab, and what one can do with it.
fn describe(lab: &dyn Topology) -> Result<()> {
    println!("{}", lab.drawing());
    for namespace in lab.namespaces() {
        println!("{}", namespace.name());
        for line in namespace.run("ip -brief address show")?.lines() {
            if !line.starts_with("lo ") {
                println!("    {line}");
            }
        }
    }
    println!("\nWatch it:\n");
    println!(
        "    whydrop --all {}",
        watching(&lab.namespaces()).join(" ")
    );
    println!("\nTry, in another terminal:\n");
    for Hint { purpose, command } in lab.hints() {
        println!("    # {purpose}\n    {command}");
    }
    println!();
    Ok(())
}
