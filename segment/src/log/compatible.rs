//! Which changes of a table's spec its sealed segments allow.
//!
//! | change | allowed |
//! |---|---|
//! | nullable columns added behind the last one | yes: older segments read as NULL |
//! | a column removed, renamed, moved, retyped, its nullability changed | no |
//! | table name, topic | no: offsets are those of the topic |
//! | anything else (brokers, properties, paths, sort key, indexes, seal, retention, dead letters) | yes, for rows from then on (segments are rebuilt with other indexes) |

use crate::spec::TableSpec;

/// Says what forbids replacing `old` by `new`, naming the column and the reason; `Ok` if nothing does.
pub(super) fn check_compatible(old: &TableSpec, new: &TableSpec) -> Result<(), String> {
    if new.name != old.name {
        return Err(format!("the table is named {}, not {}; a table cannot be renamed", old.name, new.name));
    }
    if new.stream.topic != old.stream.topic {
        return Err(format!(
            "table {} reads topic {}; its committed offsets are of that topic, so it cannot change to {}: create another table",
            old.name, old.stream.topic, new.stream.topic
        ));
    }
    for (position, column) in old.columns.iter().enumerate() {
        let refused = |why: String| Err(format!("table {}, column {}: {why}", old.name, column.name));
        let Some(replacement) = new.columns.get(position).filter(|other| other.name == column.name) else {
            return match new.columns.iter().position(|other| other.name == column.name) {
                Some(elsewhere) => refused(format!(
                    "it moved from place {} to {}; keep the order and add new columns behind the last one",
                    position + 1,
                    elsewhere + 1
                )),
                None => refused(
                    "it is missing; sealed segments hold it, so it cannot be removed or renamed".into(),
                ),
            };
        };
        if replacement.data_type != column.data_type {
            return refused(format!(
                "its type is {} and cannot become {}; add a new column instead",
                column.data_type, replacement.data_type
            ));
        }
        if replacement.nullable != column.nullable {
            return refused(format!("its nullability cannot change (nullable is {})", column.nullable));
        }
    }
    match new.columns[old.columns.len()..].iter().find(|column| !column.nullable) {
        Some(column) => Err(format!(
            "table {}, column {}: a new column must be nullable, because rows that are already there have no value for it",
            old.name, column.name
        )),
        None => Ok(()),
    }
}
