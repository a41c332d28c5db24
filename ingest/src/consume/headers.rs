//! Message headers as the decoder and the `$headers` column want them.

use headwater_segment::value::bytes_as_text;

use crate::decode::HeaderSource;
use crate::kafka::stream::RawMessage;

/// Looks headers up by name; the last one of a name counts.
pub(crate) struct HeaderView<'a>(&'a RawMessage<'a>);

impl<'a> HeaderView<'a> {
    pub(crate) fn new(message: &'a RawMessage<'a>) -> Self {
        Self(message)
    }
}

impl HeaderSource for HeaderView<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.header(name)
    }
}

/// The headers as a JSON object of name to text, `None` without headers. Of several of one name the last counts.
pub(crate) fn headers_json(message: &RawMessage<'_>) -> Option<String> {
    let mut object = serde_json::Map::new();
    message.headers(|name, value| {
        let value = match value {
            Some(value) => serde_json::Value::String(bytes_as_text(value).into_owned()),
            None => serde_json::Value::Null,
        };
        object.insert(name.to_string(), value);
    });
    (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string())
}
