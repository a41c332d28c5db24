//! Requests, read from their bytes.
//!
//! `kafka-protocol` writes the answers, but its decoder reserves memory for as many elements as an array
//! claims to have: twenty bytes from anybody would end the process. Here a count that the rest of the frame
//! cannot hold is an error. Only fields that the broker acts on are kept; what follows the last of them is
//! not read.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;
use uuid::Uuid;

/// Why a frame is not a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestFault {
    #[error("the frame ends inside a field")]
    Truncated,
    #[error("a field is malformed: {0}")]
    Malformed(&'static str),
    #[error("API {0} is not supported")]
    Api(i16),
    #[error("version {version} of {api:?} is not supported")]
    Version { api: ApiKey, version: i16 },
}

type Parsed<T> = Result<T, RequestFault>;

/// The APIs and the versions of them that the broker serves.
pub(super) const SERVED: [(ApiKey, i16, i16); 7] = [
    (ApiKey::Produce, 3, 8),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 1, 12),
    (ApiKey::FindCoordinator, 0, 2),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::InitProducerId, 0, 4),
];

/// A request and what its answer needs.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) correlation_id: i32,
    pub(super) version: i16,
    pub(super) request: Request,
}

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// `supported` is false if the client speaks a newer version than we do.
    ApiVersions {
        supported: bool,
    },
    /// None asks for all topics.
    Metadata(Option<Vec<TopicName>>),
    Produce {
        transactional: bool,
        acks: i16,
        topics: Vec<PerTopic<ProducePartition>>,
    },
    Fetch(FetchRequest),
    ListOffsets(Vec<PerTopic<ListPartition>>),
    InitProducerId {
        transactional: bool,
    },
    FindCoordinator {
        transactional: bool,
    },
}

/// A topic is asked for by its name, or by its identity.
#[derive(Debug)]
pub(super) enum TopicName {
    Name(String),
    Id(Uuid),
}

#[derive(Debug)]
pub(super) struct PerTopic<P> {
    pub(super) topic: String,
    pub(super) partitions: Vec<P>,
}

#[derive(Debug)]
pub(super) struct ProducePartition {
    pub(super) partition: i32,
    pub(super) records: Bytes,
}

#[derive(Debug)]
pub(super) struct FetchRequest {
    pub(super) wait_ms_max: i32,
    pub(super) bytes_min: i32,
    pub(super) bytes_max: i32,
    pub(super) topics: Vec<PerTopic<FetchPartition>>,
}

#[derive(Debug)]
pub(super) struct FetchPartition {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) bytes_max: i32,
}

#[derive(Debug)]
pub(super) struct ListPartition {
    pub(super) partition: i32,
    pub(super) timestamp: i64,
}

impl Frame {
    /// Reads a frame without its length prefix.
    pub(super) fn parse(bytes: Bytes) -> Parsed<Self> {
        let mut reader = Reader { rest: bytes, flexible: false };
        let api_key = reader.i16()?;
        let version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let api = ApiKey::try_from(api_key).map_err(|_| RequestFault::Api(api_key))?;
        let (min, max) = SERVED
            .iter()
            .find_map(|&(served, min, max)| (served == api).then_some((min, max)))
            .ok_or(RequestFault::Api(api_key))?;
        let supported = (min..=max).contains(&version);
        if api == ApiKey::ApiVersions {
            return Ok(Self { correlation_id, version, request: Request::ApiVersions { supported } });
        }
        if !supported {
            return Err(RequestFault::Version { api, version });
        }
        reader.nullable_string()?; // client id, never compact
        reader.flexible = api.request_header_version(version) >= 2;
        reader.tags()?;
        let request = match api {
            ApiKey::Metadata => reader.metadata(version)?,
            ApiKey::Produce => reader.produce()?,
            ApiKey::Fetch => reader.fetch(version)?,
            ApiKey::ListOffsets => reader.list_offsets(version)?,
            ApiKey::InitProducerId => {
                Request::InitProducerId { transactional: reader.nullable_string()?.is_some() }
            }
            ApiKey::FindCoordinator => {
                reader.string()?;
                Request::FindCoordinator { transactional: version >= 1 && reader.i8()? == 1 }
            }
            _ => return Err(RequestFault::Api(api_key)),
        };
        Ok(Self { correlation_id, version, request })
    }
}

/// The fields of a request, one after the other. `flexible` versions have compact lengths and tags.
struct Reader {
    rest: Bytes,
    flexible: bool,
}

impl Reader {
    fn metadata(&mut self, version: i16) -> Parsed<Request> {
        let topics = self.nullable_array(|reader| {
            let id = if version >= 10 { reader.uuid()? } else { Uuid::nil() };
            let name = reader.nullable_string()?;
            reader.tags()?;
            Ok(name.map_or(TopicName::Id(id), TopicName::Name))
        })?;
        Ok(Request::Metadata(topics))
    }

    fn produce(&mut self) -> Parsed<Request> {
        let transactional = self.nullable_string()?.is_some();
        let acks = self.i16()?;
        self.i32()?; // timeout: there are no replicas to wait for
        let topics = self.topics(|reader| {
            let partition = reader.i32()?;
            let length = reader.i32()?;
            let records = reader.bytes(usize::try_from(length).unwrap_or(0))?; // -1: no records
            Ok(ProducePartition { partition, records })
        })?;
        Ok(Request::Produce { transactional, acks, topics })
    }

    fn fetch(&mut self, version: i16) -> Parsed<Request> {
        self.i32()?; // replica
        let (wait_ms_max, bytes_min, bytes_max) = (self.i32()?, self.i32()?, self.i32()?);
        self.i8()?; // isolation level: without transactions both are the same
        if version >= 7 {
            self.i32()?; // fetch session: never granted, so every request is whole
            self.i32()?;
        }
        let topics = self.topics(|reader| {
            let partition = reader.i32()?;
            if version >= 9 {
                reader.i32()?; // leader epoch
            }
            let offset = reader.i64()?;
            if version >= 5 {
                reader.i64()?; // the follower's log start
            }
            Ok(FetchPartition { partition, offset, bytes_max: reader.i32()? })
        })?;
        Ok(Request::Fetch(FetchRequest { wait_ms_max, bytes_min, bytes_max, topics }))
    }

    fn list_offsets(&mut self, version: i16) -> Parsed<Request> {
        self.i32()?; // replica
        if version >= 2 {
            self.i8()?; // isolation level
        }
        let topics = self.topics(|reader| {
            let partition = reader.i32()?;
            if version >= 4 {
                reader.i32()?; // leader epoch
            }
            Ok(ListPartition { partition, timestamp: reader.i64()? })
        })?;
        Ok(Request::ListOffsets(topics))
    }

    fn topics<P>(&mut self, mut partition: impl FnMut(&mut Self) -> Parsed<P>) -> Parsed<Vec<PerTopic<P>>> {
        self.array(|reader| {
            let topic = reader.string()?;
            let partitions = reader.array(|reader| {
                let parsed = partition(reader)?;
                reader.tags()?;
                Ok(parsed)
            })?;
            reader.tags()?;
            Ok(PerTopic { topic, partitions })
        })
    }

    fn array<T>(&mut self, element: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        Ok(self.nullable_array(element)?.unwrap_or_default())
    }

    fn nullable_array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Option<Vec<T>>> {
        let count = if self.flexible { i64::from(self.varint()?) - 1 } else { i64::from(self.i32()?) };
        let Ok(count) = usize::try_from(count) else { return Ok(None) };
        if count > self.rest.len() {
            return Err(RequestFault::Malformed("an array claims more elements than the frame has bytes"));
        }
        // Grows as elements are really read: every element takes at least a byte of the frame.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    fn string(&mut self) -> Parsed<String> {
        self.nullable_string()?.ok_or(RequestFault::Malformed("a name is null"))
    }

    fn nullable_string(&mut self) -> Parsed<Option<String>> {
        let length = if self.flexible { i64::from(self.varint()?) - 1 } else { i64::from(self.i16()?) };
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let bytes = self.bytes(length)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| RequestFault::Malformed("a name is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    fn tags(&mut self) -> Parsed<()> {
        if self.flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = self.varint()?;
                self.bytes(length as usize)?;
            }
        }
        Ok(())
    }

    fn varint(&mut self) -> Parsed<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_| RequestFault::Truncated)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RequestFault::Malformed("a varint is too long"))
    }

    fn bytes(&mut self, length: usize) -> Parsed<Bytes> {
        if length > self.rest.len() {
            return Err(RequestFault::Truncated);
        }
        Ok(self.rest.split_to(length))
    }

    fn uuid(&mut self) -> Parsed<Uuid> {
        Ok(Uuid::from_u128(self.rest.try_get_u128().map_err(|_| RequestFault::Truncated)?))
    }

    fn i8(&mut self) -> Parsed<i8> {
        self.rest.try_get_i8().map_err(|_| RequestFault::Truncated)
    }

    fn i16(&mut self) -> Parsed<i16> {
        self.rest.try_get_i16().map_err(|_| RequestFault::Truncated)
    }

    fn i32(&mut self) -> Parsed<i32> {
        self.rest.try_get_i32().map_err(|_| RequestFault::Truncated)
    }

    fn i64(&mut self) -> Parsed<i64> {
        self.rest.try_get_i64().map_err(|_| RequestFault::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_count_that_the_frame_cannot_hold_is_refused_before_memory_is_reserved() {
        let mut frame = vec![0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff];
        frame.extend_from_slice(&i32::MAX.to_be_bytes());
        assert!(matches!(Frame::parse(frame.into()), Err(RequestFault::Malformed(_))));
    }

    #[test]
    fn unknown_apis_and_versions_are_named() {
        let head =
            |api: i16, version: i16| [api.to_be_bytes(), version.to_be_bytes(), [0; 2], [0; 2]].concat();
        assert!(matches!(Frame::parse(head(19, 0).into()), Err(RequestFault::Api(19))));
        assert!(matches!(Frame::parse(head(999, 0).into()), Err(RequestFault::Api(999))));
        assert!(matches!(Frame::parse(head(1, 13).into()), Err(RequestFault::Version { version: 13, .. })));
        let newer = Frame::parse(head(18, 9).into()).unwrap();
        assert!(matches!(newer.request, Request::ApiVersions { supported: false }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(which in 0..SERVED.len(), up in 0..13_i16, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            let (api, min, max) = SERVED[which];
            let mut frame = [(api as i16).to_be_bytes(), (min + up % (max - min + 1)).to_be_bytes()].concat();
            frame.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
            frame.extend_from_slice(&rest);
            let _ = Frame::parse(frame.into());
        }
    }
}
