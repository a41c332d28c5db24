//! What goes to the client: messages gather in a buffer of bounded size and leave in large writes.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// So much gathers before it is written.
const WRITE_BYTES: usize = 64 << 10;
/// Longest row: it gathers as a whole, and the same long value may stand in each of 32,767 columns.
pub(super) const ROW_BYTES_MAX: usize = 256 << 20;

/// The sending side of a connection.
pub(super) struct Outgoing<W> {
    io: W,
    buffer: BytesMut,
    /// A client that leaves bytes unread for so long is given up.
    stall: Duration,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub(super) fn new(io: W, stall: Duration) -> Self {
        Self { io, buffer: BytesMut::new(), stall }
    }

    /// Puts a message behind those that wait.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) -> io::Result<()> {
        message.encode(&mut self.buffer).map_err(io::Error::other)
    }

    /// The buffer, for rows.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether there is enough for a write.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= WRITE_BYTES
    }

    /// Writes everything that waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while self.buffer.has_remaining() {
            let written = tokio::time::timeout(self.stall, self.io.write_buf(&mut self.buffer)).await;
            if written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        tokio::time::timeout(self.stall, self.io.flush())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if self.buffer.capacity() > 4 * WRITE_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Writes what waits and closes the connection.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.io.shutdown().await
    }
}

/// Appends a message of the protocol: its kind, and its length, which counts itself.
///
/// # Errors
/// If it is longer than the protocol can say.
pub(super) fn message<E: From<TooLong>>(
    out: &mut BytesMut,
    kind: u8,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    out.put_u8(kind);
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len() - start).map_err(|_| TooLong)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Appends something with its length, in bytes, before it.
///
/// # Errors
/// If it is longer than the protocol can say.
pub(super) fn with_length<E: From<TooLong>>(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| TooLong)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Refuses a row that has grown too long. Asked after each value: behind the last one it would be too late.
///
/// # Errors
/// If it has more than [`ROW_BYTES_MAX`] bytes from `start` on.
pub(super) fn check_row(out: &BytesMut, start: usize) -> Result<(), TooLong> {
    if out.len() - start > ROW_BYTES_MAX { Err(TooLong) } else { Ok(()) }
}

/// More than [`ROW_BYTES_MAX`] in one row, or more than 2 GiB in one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLong;
