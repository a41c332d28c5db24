//! One client's connection: frames in, answers out, in the order of the requests.

use std::io;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::requests::{Frame, Request};
use super::{Shared, answers, fetch};

/// A longer frame is not read.
const FRAME_BYTES_MAX: usize = 100 << 20;

/// Why a connection was closed by us.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes; at most {FRAME_BYTES_MAX} are read")]
    FrameSize(i32),
    #[error("{0}")]
    Request(#[from] super::requests::RequestFault),
    #[error("an answer could not be encoded: {0}")]
    Encode(String),
}

/// Serves requests until the client closes the connection or sends something that is none.
pub(super) async fn serve(shared: &Shared, mut stream: TcpStream) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let address = stream.local_addr()?;
    while let Some(bytes) = read_frame(&mut stream).await? {
        if let Some(answer) = answer(shared, address, Frame::parse(bytes)?).await? {
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// The next frame without its length; None if the client is done.
async fn read_frame(stream: &mut TcpStream) -> Result<Option<Bytes>, ConnectionError> {
    let length = match stream.read_i32().await {
        Ok(length) => length,
        Err(error) if is_goodbye(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = usize::try_from(length)
        .ok()
        .filter(|bytes| *bytes <= FRAME_BYTES_MAX)
        .ok_or(ConnectionError::FrameSize(length))?;
    // Memory is reserved as bytes arrive, not as the length promises.
    let mut frame = BytesMut::new();
    let mut rest = stream.take(bytes as u64);
    while frame.len() < bytes {
        frame.reserve((bytes - frame.len()).min(1 << 20));
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some(frame.freeze()))
}

fn is_goodbye(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// The answer's frame; None where the client wants none (a produce without acknowledgement).
async fn answer(
    shared: &Shared,
    address: SocketAddr,
    frame: Frame,
) -> Result<Option<Bytes>, ConnectionError> {
    let Frame { correlation_id, version, request } = frame;
    let encoded = match request {
        // A newer client reads version 0 and chooses again.
        Request::ApiVersions { supported } => {
            encode(correlation_id, if supported { version } else { 0 }, &answers::api_versions(supported))
        }
        Request::Metadata(asked) => {
            encode(correlation_id, version, &answers::metadata(shared, address, asked))
        }
        Request::Produce { transactional, acks, topics } => {
            let produced = answers::produce(shared, transactional, acks, topics);
            if acks == 0 {
                return Ok(None);
            }
            encode(correlation_id, version, &produced)
        }
        Request::Fetch(request) => encode(correlation_id, version, &fetch::fetch(shared, request).await),
        Request::ListOffsets(topics) => {
            encode(correlation_id, version, &answers::list_offsets(shared, topics))
        }
        Request::InitProducerId { transactional } => {
            encode(correlation_id, version, &answers::init_producer_id(shared, transactional))
        }
        Request::FindCoordinator { transactional } => {
            encode(correlation_id, version, &answers::find_coordinator(transactional))
        }
    };
    encoded.map(Some)
}

fn encode<T: Encodable + HeaderVersion>(id: i32, version: i16, body: &T) -> Result<Bytes, ConnectionError> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    let written = ResponseHeader::default()
        .with_correlation_id(id)
        .encode(&mut out, T::header_version(version))
        .and_then(|()| body.encode(&mut out, version));
    written.map_err(|error| ConnectionError::Encode(error.to_string()))?;
    let length = i32::try_from(out.len() - 4).map_err(|_| ConnectionError::Encode("over 2 GiB".into()))?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}
