use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The connection is reset when it is dropped, as that of a process which dies with unread data.
pub(super) fn reset(stream: &TcpStream) {
    // Where it cannot be set, the connection just ends.
    let _set = stream.set_zero_linger();
}

/// Takes what comes and says nothing, until the client is gone.
pub(super) async fn hang(mut stream: TcpStream) {
    let mut taken = [0; 4096];
    while matches!(stream.read(&mut taken).await, Ok(1..)) {}
}

/// The answer to a handshake of one who speaks TLS 1.0 and nothing newer (RFC 2246, 7.4.1.3).
pub(super) async fn old_version(mut stream: TcpStream) {
    const BODY: u8 = 2 + 32 + 1 + 2 + 1;

    let mut hello = Vec::new();
    // A record of a handshake, of TLS 1.0; in it a ServerHello.
    hello.extend_from_slice(&[22, 3, 1, 0, 4 + BODY, 2, 0, 0, BODY]);
    // The version; 32 bytes that are random; no session; RSA with AES-128-CBC and SHA-1; no compression.
    hello.extend_from_slice(&[3, 1]);
    hello.extend_from_slice(&[0x5a; 32]);
    hello.extend_from_slice(&[0, 0, 0x2f, 0]);
    let mut taken = [0; 4096];
    if matches!(stream.read(&mut taken).await, Ok(1..)) && stream.write_all(&hello).await.is_ok() {
        hang(stream).await;
    }
}
