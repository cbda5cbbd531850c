//! As much of TLS as its first packets show: a ClientHello, and servers that answer it or do not.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use socket2::SockRef;

/// A handshake record that holds a ClientHello (1) or a ServerHello (2) of this length in all, which
/// must be more than nine bytes and less than 16 KiB.
fn record(message: u8, len: u16) -> Vec<u8> {
    let [of0, of1] = (len - 5).to_be_bytes();
    let [in0, in1] = (len - 9).to_be_bytes();
    let mut record = vec![0x16, 0x03, 0x01, of0, of1, message, 0, in0, in1];
    record.resize(len.into(), 0);
    record
}

/// A ClientHello of this length, its record's header included.
pub fn client_hello(len: u16) -> Vec<u8> {
    record(1, len)
}

/// Answers the first data with a ServerHello, and leaves it at that until the client has gone.
pub fn answer(mut connection: TcpStream) {
    let mut buffer = [0; 4096];
    if let Ok(1..) = connection.read(&mut buffer)
        && connection.write_all(&record(2, 122)).is_ok()
    {
        while let Ok(1..) = connection.read(&mut buffer) {}
    }
}

/// Answers the first data with a RST.
pub fn reset(mut connection: TcpStream) {
    let _ = connection.read(&mut [0; 4096]);
    // With nothing left to linger for, closing resets.
    let _ = SockRef::from(&connection).set_linger(Some(Duration::ZERO));
}
