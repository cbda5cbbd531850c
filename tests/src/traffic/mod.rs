//! Traffic, made in process: the sockets live in the lab's namespaces, the code runs here.

mod capture;
mod dns;
mod flood;
mod flow;
mod forged;
mod ip_in_ip;
mod ping;
mod probe_mtu;
mod repair;
mod tcp;
pub mod tls;
pub mod tls_server;
mod udp;
mod wire;
mod zone;

pub use capture::{Capture, Purpose, SEGMENT};
pub use dns::{DnsQuery, DnsServer};
pub use flood::{spoofed_syns, spoofed_syns_of_one_network};
pub use flow::{Flow, Protocol};
pub use forged::ForgedSegment;
pub use ip_in_ip::{INNER, IpInIp};
pub use ping::ping;
pub use repair::numbers;
pub use tcp::{Outcome, TcpAttempt, TcpServer, upload, wait_until_closed};
pub use udp::{UdpClient, UdpServer, wait_until_unbound};
pub use wire::{Wire, WireEnd};
pub use zone::ZoneServer;
