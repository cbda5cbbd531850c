//! The same question asked with bpftrace: a one-liner with whydrop's filter and output fields.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddrV4,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    bpf::{self, program_type},
    poll_until,
};

/// bpftrace finds tracepoints in tracefs. If it is not mounted, it is mounted for bpftrace alone.
const START: &str = "mount -t debugfs none /sys/kernel/debug 2>/dev/null
mount -t tracefs none /sys/kernel/tracing 2>/dev/null
exec bpftrace -e \"$0\"";

/// Whether bpftrace is installed. Benchmarks that compare with it are left out otherwise.
pub fn is_here() -> bool {
    let version = Command::new("bpftrace").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Drops of UDP datagrams to an address and port, with the fields that a drop record has.
fn script(target: SocketAddrV4, stack: bool) -> String {
    let (address, port) = (target.ip().octets(), target.port().to_be());
    let address = u32::from_ne_bytes(address);
    let stack = if stack { ", kstack" } else { "" };
    let stack_format = if stack.is_empty() { "" } else { "%s" };
    format!(
        r#"tracepoint:skb:kfree_skb {{
  $skb = (struct sk_buff *)args->skbaddr;
  if ($skb->protocol == 8) {{
    $ip = (struct iphdr *)($skb->head + $skb->network_header);
    if ($ip->protocol == 17 && $ip->daddr == {address}) {{
      $udp = (struct udphdr *)($skb->head + $skb->network_header + 20);
      if ($udp->dest == {port}) {{
        $dev = $skb->dev;
        printf("%llu %d %s %s:%d %s:%d len %d reason %d %s %s if %d ns %u mtu %d mark %d iif %d {stack_format}\n",
          nsecs, pid, comm, ntop($ip->saddr), $udp->source, ntop($ip->daddr), $udp->dest,
          $skb->len, args->reason, ksym(args->location), $dev->name, $dev->ifindex,
          $dev->nd_net.net->ns.inum, $dev->mtu, $skb->mark, $skb->skb_iif{stack});
      }}
    }}
  }}
}}"#
    )
}

/// A running bpftrace.
pub struct Bpftrace {
    child: Child,
    lines: Arc<AtomicU64>,
    readers: Vec<JoinHandle<String>>,
}

/// What it came to.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Events shown.
    pub shown: u64,
    /// Events lost, as it says.
    pub lost: u64,
}

impl Bpftrace {
    /// Starts it and waits until its program runs. `nudge` makes a drop that does not match.
    ///
    /// # Errors
    ///
    /// It does not start, or not in time.
    pub fn start(
        target: SocketAddrV4,
        stack: bool,
        nudge: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", START, &script(target, stack)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start bpftrace")?;
        let lines = Arc::<AtomicU64>::default();
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let counter = Arc::clone(&lines);
        let shown = thread::spawn(move || {
            let mut losses = String::new();
            // A stack has lines of its own, indented.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains(" reason ") {
                    counter.fetch_add(1, Ordering::Relaxed);
                } else if line.starts_with("Lost ") {
                    losses.push_str(&line);
                    losses.push('\n');
                }
            }
            losses
        });
        let said = thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.map(|line| line + "\n").collect::<String>()
        });
        let bpftrace = Self {
            child,
            lines,
            readers: vec![shown, said],
        };
        let pid = bpftrace.pid();
        // Runs are counted only on request; counting costs time.
        let _stats = bpf::enable_stats().context("the kernel does not measure its programs")?;
        poll_until("bpftrace's program to run", || {
            nudge().ok()?;
            let stats = bpf::stats_of(pid).ok()?;
            stats
                .iter()
                .any(|stats| stats.program_type == program_type::TRACEPOINT && stats.runs > 0)
                .then_some(())
        })?;
        Ok(bpftrace)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Events shown so far.
    pub fn shown(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Ends it, and reads what is left.
    ///
    /// # Errors
    ///
    /// It cannot be signalled or waited for.
    pub fn stop(mut self) -> Result<Outcome> {
        kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGINT)?;
        self.child.wait()?;
        let said: Vec<String> = self
            .readers
            .drain(..)
            .map(|reader| reader.join().unwrap_or_default())
            .collect();
        let lost = said
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| {
                line.strip_prefix("Lost ")?
                    .split(' ')
                    .next()?
                    .parse::<u64>()
                    .ok()
            })
            .sum();
        Ok(Outcome {
            shown: self.shown(),
            lost,
        })
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
