//! What a client sends, frame by frame: lengths are checked before anything is allocated, and every read from a frame's body
//! before it is made.
//!
//! The protocol's messages for the other direction are `pgwire`'s. Its decoders are not used: a count or a length in the
//! bytes that is larger than the frame makes them panic, and their bound on a frame is 1 GiB.
//! Source: PostgreSQL's documentation, "Message Formats", protocol 3.0 and 3.2.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest packet before a client is let in: PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
const OPENING_BYTES_MAX: usize = 10_000;
/// Memory is asked for in such steps, as bytes arrive.
const READ_STEP_BYTES: usize = 64 << 10;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Why the next frame is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The connection broke or ended inside a frame.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The frames can no longer be told apart, or one is too large: the connection ends.
    #[error("{0}")]
    Fatal(String),
    /// This frame is wrong; the next one can be read.
    #[error("invalid message format: {0}")]
    Malformed(&'static str),
}

/// The first packet of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Ssl,
    Gss,
    Cancel {
        process: u32,
        secret: Vec<u8>,
    },
    Startup {
        minor: u16,
        parameters: Vec<(String, String)>,
    },
    /// Another major version of the protocol.
    Version {
        major: u16,
        minor: u16,
    },
}

/// A message of a client that was let in.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        rows_max: u32,
    },
    Close(Target),
    Sync,
    Flush,
    Terminate,
    Password(String),
    /// COPY data that nobody asked for; PostgreSQL drops it without a word.
    Copy,
}

/// Values for a statement's parameters.
#[derive(Debug, PartialEq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) formats: Vec<u16>,
    pub(super) values: Vec<Option<Vec<u8>>>,
    pub(super) answer_formats: Vec<u16>,
}

/// A statement or a portal, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

/// Reads the first packet.
pub(super) async fn read_opening(io: &mut (impl AsyncRead + Unpin)) -> Result<Opening, FrameError> {
    let length = io.read_u32().await? as usize;
    if !(8..=OPENING_BYTES_MAX).contains(&length) {
        return Err(FrameError::Fatal(format!("invalid length of startup packet: {length}")));
    }
    let mut bytes = vec![0; length - 4];
    io.read_exact(&mut bytes).await?;
    let mut body = Body(&bytes);
    match body.u32()? {
        SSL_REQUEST => Ok(Opening::Ssl),
        GSS_REQUEST => Ok(Opening::Gss),
        CANCEL_REQUEST => Ok(Opening::Cancel { process: body.u32()?, secret: body.0.to_vec() }),
        version => {
            let (major, minor) = ((version >> 16) as u16, (version & 0xffff) as u16);
            if major != 3 {
                return Ok(Opening::Version { major, minor });
            }
            let mut parameters = Vec::new();
            while body.0.first().is_some_and(|byte| *byte != 0) {
                parameters.push((body.text()?, body.text()?));
            }
            Ok(Opening::Startup { minor, parameters })
        }
    }
}

/// The head of a frame: its type and the length of its body. `None`: the connection has ended between frames.
pub(super) async fn read_head(
    io: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<Option<(u8, usize)>, FrameError> {
    let mut kind = [0];
    if io.read(&mut kind).await? == 0 {
        return Ok(None);
    }
    let length = io.read_u32().await? as usize;
    if length < 4 {
        return Err(FrameError::Fatal(format!("invalid message length {length}")));
    }
    if length - 4 > bytes_max {
        return Err(FrameError::Fatal(format!(
            "a message of {length} bytes is too large, at most {bytes_max} are allowed"
        )));
    }
    match kind[0] {
        b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' | b'X' | b'p' | b'd' | b'c' | b'f' => {
            Ok(Some((kind[0], length - 4)))
        }
        other => Err(FrameError::Fatal(format!("invalid frontend message type {other}"))),
    }
}

/// The body of a frame. Memory grows with what arrives, not with what the head says.
pub(super) async fn read_body(io: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(length.min(READ_STEP_BYTES));
    let read = io.take(length as u64).read_to_end(&mut body).await?;
    match read == length {
        true => Ok(body),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What a frame says.
pub(super) fn parse(kind: u8, bytes: &[u8]) -> Result<Frame, FrameError> {
    let mut body = Body(bytes);
    let frame = match kind {
        b'Q' => Frame::Query(body.text()?),
        b'P' => {
            let (name, sql) = (body.text()?, body.text()?);
            Frame::Parse { name, sql, types: body.list(Body::u32)? }
        }
        b'B' => Frame::Bind(Bind {
            portal: body.text()?,
            statement: body.text()?,
            formats: body.list(Body::u16)?,
            values: body.list(Body::value)?,
            answer_formats: body.list(Body::u16)?,
        }),
        b'D' => Frame::Describe(body.target()?),
        b'E' => Frame::Execute { portal: body.text()?, rows_max: body.u32()? },
        b'C' => Frame::Close(body.target()?),
        b'S' => Frame::Sync,
        b'H' => Frame::Flush,
        b'X' => Frame::Terminate,
        b'p' => Frame::Password(body.text()?),
        b'd' | b'c' | b'f' => return Ok(Frame::Copy),
        _ => return Err(FrameError::Malformed("an unknown type")),
    };
    match body.0.is_empty() {
        true => Ok(frame),
        false => Err(FrameError::Malformed("bytes behind the end")),
    }
}

/// The rest of a frame's body.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(FrameError::Malformed("too short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_be_bytes)
    }

    /// Text up to a zero byte.
    fn text(&mut self) -> Result<String, FrameError> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or(FrameError::Malformed("text without an end"))?;
        let text = std::str::from_utf8(&self.0[..end]);
        let text = text.map_err(|_| FrameError::Malformed("text that is not UTF-8"))?.to_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// So many items as a 16-bit count says. The count costs nothing: each item takes bytes of the frame.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, FrameError>) -> Result<Vec<T>, FrameError> {
        (0..self.u16()?).map(|_| item(self)).collect()
    }

    fn value(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let length = self.u32()?;
        if length == u32::MAX {
            return Ok(None);
        }
        let taken = self.0.split_at_checked(length as usize);
        let (value, rest) = taken.ok_or(FrameError::Malformed("a value longer than its message"))?;
        self.0 = rest;
        Ok(Some(value.to_vec()))
    }

    fn target(&mut self) -> Result<Target, FrameError> {
        match self.take::<1>()? {
            [b'S'] => Ok(Target::Statement(self.text()?)),
            [b'P'] => Ok(Target::Portal(self.text()?)),
            _ => Err(FrameError::Malformed("neither a statement nor a portal")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn lengths_are_checked_before_the_body_is_read() {
        for (bytes, expected) in [
            (&b"Q\xff\xff\xff\xff"[..], "too large"),
            (&b"Q\x00\x00\x04\x01"[..], "too large"),
            (&b"Q\x00\x00\x00\x03"[..], "invalid message length 3"),
            (&b"?\x00\x00\x00\x04"[..], "invalid frontend message type 63"),
        ] {
            let error = read_head(&mut &*bytes, 1020).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert_eq!(read_head(&mut &b"Q\x00\x00\x04\x00"[..], 1020).await.unwrap(), Some((b'Q', 1020)));
        assert_eq!(read_head(&mut &b""[..], 1020).await.unwrap(), None);
        assert!(read_opening(&mut &b"\x00\x00\x27\x11"[..]).await.is_err());
        assert!(read_opening(&mut &b"\x00\x00\x00\x07"[..]).await.is_err());
    }

    #[tokio::test]
    async fn openings_are_told_apart() {
        let cancel = b"\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x05abcd";
        let cancel = read_opening(&mut &cancel[..]).await.unwrap();
        assert_eq!(cancel, Opening::Cancel { process: 5, secret: b"abcd".to_vec() });
        let startup = b"\x00\x00\x00\x15\x00\x03\x00\x00user\x00alice\x00\x00\x00";
        let startup = read_opening(&mut &startup[..]).await.unwrap();
        let parameters = vec![("user".to_owned(), "alice".to_owned())];
        assert_eq!(startup, Opening::Startup { minor: 0, parameters });
    }

    #[test]
    fn a_count_or_length_beyond_the_frame_is_malformed() {
        for (kind, bytes) in [
            (b'P', &b"\0select 1\0\xff\xff"[..]),
            (b'B', &b"\0\0\0\0\0\x01\x7f\xff\xff\xff"[..]),
            (b'B', &b"\0\0\xff\xff"[..]),
            (b'E', &b"\0\0\0"[..]),
            (b'D', &b"X\0"[..]),
            (b'Q', &b"select 1"[..]),
            (b'Q', &b"\xff\0"[..]),
            (b'S', &b"x"[..]),
        ] {
            assert!(matches!(parse(kind, bytes), Err(FrameError::Malformed(_))), "{kind} {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(kind, &bytes);
        }
    }
}
