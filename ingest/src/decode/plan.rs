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
    /// The field's name as producers write it; `None` if it cannot be written without escapes.
    pub(super) spelling: Option<Spelling>,
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
                path: spec.path.to_string(),
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
            spelling: step.and_then(Spelling::new),
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

/// A field's name with the closing quote and the colon, to be compared with a message in one or two words.
pub(super) struct Spelling {
    text: Box<[u8]>,
    /// The first 16 bytes, zeros after the end, and a mask of the bytes that count.
    head: u128,
    mask: u128,
}

impl Spelling {
    fn new(step: &PathStep) -> Option<Self> {
        let PathStep::Field(name) = step else { return None };
        if name.chars().any(|c| c < ' ' || c == '"' || c == '\\') {
            return None;
        }
        let text = format!("{name}\":").into_bytes();
        let (mut head, mut mask) = ([0; 16], [0; 16]);
        for (at, byte) in text.iter().take(16).enumerate() {
            (head[at], mask[at]) = (*byte, 0xFF);
        }
        Some(Self { text: text.into(), head: u128::from_le_bytes(head), mask: u128::from_le_bytes(mask) })
    }

    /// The length of this spelling if `bytes` begin with it.
    #[inline]
    pub(super) fn length_in(&self, bytes: &[u8]) -> Option<usize> {
        let begins = match bytes.first_chunk::<16>() {
            Some(head) => {
                u128::from_le_bytes(*head) & self.mask == self.head
                    && (self.text.len() <= 16 || bytes.starts_with(&self.text))
            }
            None => bytes.starts_with(&self.text),
        };
        begins.then_some(self.text.len())
    }
}
