//! The paths of a table's columns, compiled into the tree of fields that a message is walked along.
//!
//! Invariant: nodes are numbered in pre-order, so a node's descendants are the numbers from its own up to
//! [`Node::end`], and the root is node 0.

use std::ops::Range;

use headwater_segment::schema::{ColumnType, TableSchema};
use headwater_segment::spec::{FieldPath, OnError, PathStep, TableSpec};

/// Index into [`Plan::nodes`].
pub(super) type NodeId = usize;
/// The whole message.
pub(super) const ROOT: NodeId = 0;

/// What to look for in a message and where to put it. Never changes once made.
pub(super) struct Plan {
    pub(super) columns: Vec<Target>,
    pub(super) nodes: Vec<Node>,
    /// Columns that are read from the key or a header, with their index.
    pub(super) envelope: Vec<(usize, Envelope)>,
    /// Whether any column is read from the payload.
    pub(super) reads_payload: bool,
}

/// A column as its values are converted.
pub(super) struct Target {
    pub(super) data_type: ColumnType,
    pub(super) nullable: bool,
    /// Whether a value that does not fit becomes NULL.
    pub(super) lenient: bool,
    /// The path as the spec writes it.
    pub(super) path: String,
}

/// A part of a message beside its payload.
pub(super) enum Envelope {
    Key,
    Header(String),
}

/// A place in a message: the columns that stand there, and the places inside it.
pub(super) struct Node {
    /// The field's name with its closing quote, as producers write it; `None` if it cannot be written without escapes.
    pub(super) quoted: Option<Box<[u8]>>,
    pub(super) columns: Vec<usize>,
    /// Children by field name, ordered as [`search_order`] says.
    fields: Vec<(Box<str>, NodeId)>,
    /// Children by array index, ascending.
    pub(super) items: Vec<(usize, NodeId)>,
    end: NodeId,
    /// The child that is looked for first in a message never seen, and the sibling that is looked for after this one.
    pub(super) first_guess: NodeId,
    pub(super) next_guess: NodeId,
}

impl Node {
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Whether nothing inside is looked for.
    #[inline]
    pub(super) fn is_leaf(&self) -> bool {
        self.fields.is_empty() && self.items.is_empty()
    }

    /// The child of a field name.
    pub(super) fn field(&self, name: &str) -> Option<NodeId> {
        self.fields
            .binary_search_by(|(known, _)| search_order(known).cmp(&search_order(name)))
            .ok()
            .map(|at| self.fields[at].1)
    }
}

/// Lengths are compared first: most names that are not known differ from the known ones in it.
fn search_order(name: &str) -> (usize, &[u8]) {
    (name.len(), name.as_bytes())
}

impl Plan {
    pub(super) fn new(schema: &TableSchema, spec: &TableSpec) -> Self {
        let mut root = Draft::default();
        let (mut columns, mut envelope, mut reads_payload) = (Vec::new(), Vec::new(), false);
        for (index, (column, spec)) in schema.columns().iter().zip(&spec.columns).enumerate() {
            columns.push(Target {
                data_type: column.data_type.clone(),
                nullable: column.nullable,
                lenient: spec.on_error == OnError::Null && column.nullable,
                path: path_text(&spec.path),
            });
            match &spec.path {
                FieldPath::Key => envelope.push((index, Envelope::Key)),
                FieldPath::Header(name) => envelope.push((index, Envelope::Header(name.clone()))),
                FieldPath::Payload(steps) => {
                    reads_payload = true;
                    steps.iter().fold(&mut root, Draft::child).columns.push(index);
                }
            }
        }
        let mut nodes = Vec::new();
        root.number(None, &mut nodes);
        Self { columns, nodes, envelope, reads_payload }
    }

    /// The columns that stand at a place or inside it, and the places.
    pub(super) fn subtree(&self, node: NodeId) -> Range<NodeId> {
        node..self.nodes[node].end
    }
}

/// The tree while columns are added to it.
#[derive(Default)]
struct Draft {
    columns: Vec<usize>,
    children: Vec<(PathStep, Draft)>,
}

impl Draft {
    fn child(&mut self, step: &PathStep) -> &mut Self {
        let at = self.children.iter().position(|(known, _)| known == step).unwrap_or_else(|| {
            self.children.push((step.clone(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    /// Moves this place and all inside it to the end of `nodes`, and returns its number.
    fn number(self, step: Option<&PathStep>, nodes: &mut Vec<Node>) -> NodeId {
        let id = nodes.len();
        nodes.push(Node {
            quoted: step.and_then(quoted),
            columns: self.columns,
            fields: Vec::new(),
            items: Vec::new(),
            end: id,
            first_guess: id,
            next_guess: id,
        });
        let (mut fields, mut items, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (step, draft) in self.children {
            let child = draft.number(Some(&step), nodes);
            match step {
                PathStep::Index(index) => items.push((index, child)),
                PathStep::Field(name) => {
                    names.push(child);
                    fields.push((name.into_boxed_str(), child));
                }
            }
        }
        for (at, child) in names.iter().enumerate() {
            nodes[*child].next_guess = names[(at + 1) % names.len()];
        }
        fields.sort_by(|(a, _), (b, _)| search_order(a).cmp(&search_order(b)));
        items.sort_by_key(|(index, _)| *index);
        let end = nodes.len();
        let node = &mut nodes[id];
        node.first_guess = names.first().copied().unwrap_or(id);
        (node.fields, node.items, node.end) = (fields, items, end);
        id
    }
}

fn quoted(step: &PathStep) -> Option<Box<[u8]>> {
    match step {
        PathStep::Field(name) if !name.chars().any(|c| c < ' ' || c == '"' || c == '\\') => {
            Some(format!("{name}\"").into_bytes().into())
        }
        _ => None,
    }
}

/// A path as a spec writes it.
fn path_text(path: &FieldPath) -> String {
    let FieldPath::Payload(steps) = path else {
        return match path {
            FieldPath::Header(name) => format!("$headers.{name}"),
            _ => "$key".into(),
        };
    };
    steps.iter().fold(String::from("$"), |text, step| match step {
        PathStep::Field(name) if text == "$" => name.clone(),
        PathStep::Field(name) => format!("{text}.{name}"),
        PathStep::Index(index) => format!("{text}[{index}]"),
    })
}
