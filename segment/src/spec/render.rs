//! A spec as text. `parse_spec` reads back the same spec from either form.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{ColumnSpec, FieldPath, OnError, TableSpec};

impl TableSpec {
    /// The spec as one line of JSON, as the table log keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a spec has only text keys and finite numbers")
    }

    /// The spec as YAML, as `describe` shows it.
    pub fn to_yaml(&self) -> String {
        // By way of JSON, because YAML would write enums as tags (`!topic name`) instead of mappings.
        serde_json::to_value(self)
            .map_err(|error| error.to_string())
            .and_then(|tree| serde_yaml_ng::to_string(&tree).map_err(|error| error.to_string()))
            .expect("a spec has only text keys and finite numbers")
    }
}

impl Serialize for ColumnSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("type", &self.data_type)?;
        if !self.nullable {
            map.serialize_entry("nullable", &self.nullable)?;
        }
        if self.path != FieldPath::field(&self.name) {
            map.serialize_entry("path", &self.path)?;
        }
        if self.on_error != OnError::default() {
            map.serialize_entry("on_error", &self.on_error)?;
        }
        if let Some(index) = &self.index {
            map.serialize_entry("index", index)?;
        }
        map.end()
    }
}
