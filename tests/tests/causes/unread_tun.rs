//! A process does not read its tun device: packets wait in the ring, then find it full
//! (Nyr/openvpn-install#651).

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::UdpSocket,
    thread,
    time::Duration,
};

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Stage},
    lab::tun_device,
};

/// A tun device of the node, whose other end is this process.
fn tun(stage: &Stage, more: libc::c_int) -> Result<File> {
    let file = stage.enter("node", || tun_device("tun0", libc::IFF_TUN | more))?;
    stage.ip(
        "node",
        "link set tun0 txqueuelen 4; link set tun0 up; addr add 10.20.8.1/24 dev tun0",
    )?;
    Ok(file)
}

/// The process has gone, and the device was to stay.
#[test]
fn no_process_has_it_open() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.ip(
        "node",
        "tuntap add dev tun0 mode tun; link set tun0 up; addr add 10.20.8.1/24 dev tun0",
    )?;
    let report = stage.trace(["node", "a"], "10.20.8.9:53", |watch| {
        watch.ask("a", "10.20.8.9:53")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("route", "confirmed")
            .why("tun0 has no carrier, as when no process has it open")
            .fix("start the program that tun0 belongs to"),
    )?;
    Ok(())
}

#[test]
fn packets_wait_in_the_ring() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.keep(tun(&stage, 0)?);
    let report = stage.trace(["node", "a"], "10.20.8.9:53", |watch| {
        watch.ask("a", "10.20.8.9:53")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("queue", "likely")
            .why("waits in the ring of tun0")
            .why(format!("(pid {})", std::process::id()))
            .fix("restart"),
    )?;
    Ok(())
}

/// With virtio-net headers, a segment counts otherwise in the queue than in the ring, so that the
/// difference shows nothing: a virtual machine's tap that is read would seem not to be.
#[test]
fn other_counts_show_nothing() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.keep(tun(&stage, libc::IFF_VNET_HDR)?);
    let report = stage.trace(["node", "a"], "10.20.8.9:53", |watch| {
        watch.ask("a", "10.20.8.9:53")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["off-node", "unknown"]).never_says(["waits in the ring"]),
    )?;
    Ok(())
}

/// A busy process: each packet that it reads is followed by another one.
#[test]
fn ring_is_read_and_never_empty() -> Result<()> {
    let stage = Stage::routed_pods()?;
    let mut file = tun(&stage, 0)?;
    stage.ip("node", "link set tun0 txqueuelen 100")?;
    let client = stage.enter("node", || UdpSocket::bind("10.20.8.1:0"))?;
    let send = move || client.send_to(b"another packet", "10.20.8.8:9");
    for _ in 0..20 {
        send()?;
    }
    thread::spawn(move || {
        // It ends with the device.
        while file.read(&mut [0; 2048]).is_ok() {
            thread::sleep(Duration::from_millis(1));
            if send().is_err() {
                return;
            }
        }
    });
    let report = stage.trace(["node", "a"], "10.20.8.9:53", |watch| {
        watch.ask("a", "10.20.8.9:53")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["off-node"])
            .evidence("is read by its process")
            .never_says(["does not read"]),
    )?;
    Ok(())
}

#[test]
fn ring_is_full() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.keep(tun(&stage, 0)?);
    let report = stage.trace(["node", "a"], "10.20.8.9:53", |watch| {
        for _ in 0..5 {
            watch.ask("a", "10.20.8.9:53")?.ends(End::Silent)?;
        }
        watch.until_drop()
    })?;
    report.outcome("unanswered")?.verdict(
        &ExpectedVerdict::any_of(["queue"])
            .why("the ring of tun0 is full")
            .why(format!("(pid {})", std::process::id()))
            .fix("restart"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = Stage::routed_pods()?;
    let mut file = tun(&stage, 0)?;
    thread::spawn(move || {
        let mut packet = [0; 2048];
        // It ends with the device.
        while let Ok(len) = file.read(&mut packet) {
            let answer = answer(&packet[..len]);
            if answer.is_some_and(|answer| file.write_all(&answer).is_err()) {
                return;
            }
        }
    });
    let report = stage.trace(["node", "a"], "10.20.8.9:53", |watch| {
        watch.ask("a", "10.20.8.9:53")?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

/// The answer to a DNS query: both ends swapped, without a checksum of UDP.
fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    const UDP: u8 = 17;
    let is_query = packet.first()? >> 4 == 4 && *packet.get(9)? == UDP;
    let mut answer = packet.to_vec();
    (is_query && packet.len() > 30).then_some(())?;
    answer[12..16].copy_from_slice(&packet[16..20]);
    answer[16..20].copy_from_slice(&packet[12..16]);
    answer[20..22].copy_from_slice(&packet[22..24]);
    answer[22..24].copy_from_slice(&packet[20..22]);
    answer[26..28].fill(0);
    answer[30] |= 0x80;
    Some(answer)
}
