//! Attaching to many interfaces, and letting go of them.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{
    Benchmark, Effort,
    figure::{Figure, Samples, Unit},
};
use crate::{
    lab::{Lab, Namespace, VethPairs},
    record::Record,
    tracer::{Tracer, watching},
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "interfaces",
    title: "Many interfaces",
    method: "From the start of the process to the record `started`, which says that everything is \
             attached, and from SIGINT to its end, with this many interfaces in the namespace, \
             minus the same times with only the loopback interface.",
    run,
};

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = Lab::new()?;
    let (alone, peers) = (lab.namespace("alone")?, lab.namespace("peers")?);
    let mut figures = Vec::new();
    for count in [10, 100, 500] {
        let namespace = lab.namespace(&format!("with-{count}"))?;
        let pairs = VethPairs {
            name: &format!("d{count}-"),
            // The loopback interface is one, too.
            count: count - 1,
            group: 0,
        };
        pairs.create(&namespace, &peers)?;
        let (mut attach, mut detach) = (Samples::default(), Samples::default());
        let mut hooks = String::new();
        for _ in 0..effort.rounds(5) {
            let (few, many) = (start_and_stop(&alone)?, start_and_stop(&namespace)?);
            ensure!(
                many.interfaces == count,
                "{} of {count} attached",
                many.interfaces
            );
            attach.push((many.attach - few.attach) * 1e3);
            detach.push((many.detach - few.detach) * 1e3);
            hooks = many.hooks;
        }
        let unit = Unit::Milliseconds;
        let what = format!("{count} interfaces: attach (by {hooks})");
        figures.push(Figure::new(what, unit, attach));
        figures.push(Figure::new(
            format!("{count} interfaces: detach"),
            unit,
            detach,
        ));
    }
    Ok(figures)
}

/// Seconds, and what it was attached to.
struct Times {
    attach: f64,
    detach: f64,
    interfaces: usize,
    hooks: String,
}

fn start_and_stop(namespace: &Namespace) -> Result<Times> {
    let mut arguments = watching(&[namespace]);
    arguments.push("198.51.100.1".to_owned());
    let start = Instant::now();
    let tracer = Tracer::start(arguments)?;
    let attach = start.elapsed().as_secs_f64();
    let started = tracer.records().iter().find_map(|record| match record {
        Record::Started(started) => Some((started.interfaces, started.hooks[2..].join(", "))),
        _ => None,
    });
    let (interfaces, hooks) = started.unwrap_or_default();
    let start = Instant::now();
    tracer.stop()?;
    Ok(Times {
        attach,
        detach: start.elapsed().as_secs_f64(),
        interfaces,
        hooks,
    })
}
