//! What is refused as wrong usage.

use clap::{CommandFactory, error::ErrorKind};

use crate::cli::{Cli, endpoint::Endpoint};

/// A filter that no packet can match is a mistake, and a long wait for nothing.
pub(super) fn refuse_impossible_ends(
    subcommand: Option<&str>,
    to: Option<&Endpoint>,
    from: Option<&Endpoint>,
    has_ports: bool,
) -> Result<(), clap::Error> {
    let ports = [to, from]
        .into_iter()
        .flatten()
        .filter_map(|end| Some((end, end.port()?)));
    if !has_ports && let Some((end, port)) = ports.clone().next() {
        return Err(usage(
            subcommand,
            ErrorKind::ArgumentConflict,
            &format!("icmp has no ports, but {end} has one: omit :{port} or --proto icmp"),
        ));
    }
    if let (Some(to), Some(from)) = (to, from)
        && let (Some(to_net), Some(from_net)) = (to.net(), from.net())
        && to_net.addr().is_ipv4() != from_net.addr().is_ipv4()
    {
        return Err(usage(
            subcommand,
            ErrorKind::ArgumentConflict,
            &format!(
                "{from} and {to} cannot be the ends of one connection: one is IPv4, the other IPv6"
            ),
        ));
    }
    Ok(())
}

/// The error of the program or of one of its subcommands: `clap::Error::exit` prints it.
pub(super) fn usage(subcommand: Option<&str>, kind: ErrorKind, message: &str) -> clap::Error {
    let mut command = Cli::command();
    command.build();
    match subcommand.and_then(|name| command.find_subcommand_mut(name)) {
        Some(subcommand) => subcommand.error(kind, message),
        None => command.error(kind, message),
    }
}
