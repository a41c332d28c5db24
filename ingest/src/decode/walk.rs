//! One pass over one message: along the plan, from the bytes into the sink.
//!
//! Invariants: the whole message is validated, wanted or not. A column that is met again takes the later value, and
//! an object or array that is met again first takes back what the earlier one gave to the columns inside it.

use headwater_segment::schema::ColumnType;
use headwater_segment::value::{RowSink, Value};

use super::convert;
use super::error::{DecodeError, Excerpt, Malformed, Misfit};
use super::plan::{Node, NodeId, Plan, ROOT};
use super::scan::{Found, Kind, Scanner, Text};
use super::text::{Space, space_needed};

/// Scratch beyond this many bytes or elements is given back after the message that needed it.
const SCRATCH_KEPT_MAX: usize = 1 << 20;

/// What a decoder keeps between messages: guesses, and space that is used again.
pub(super) struct Memory {
    /// The number of the message, to tell marks of this one from older ones.
    message: u64,
    states: Vec<State>,
    /// Per node: the message in which it was last met.
    met: Vec<u64>,
    /// Per node: the field that came first in it, and the field that came after it, when last seen.
    guesses: Vec<Guess>,
    /// Why columns failed, as met.
    failures: Vec<(usize, String)>,
    scratch: Vec<u8>,
    elements: Vec<Value<'static>>,
}

struct Guess {
    first: NodeId,
    next: NodeId,
}

/// What the message has said about a column so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing, null, or a value that was turned into NULL.
    Null,
    Set,
    Failed,
}

impl Memory {
    pub(super) fn new(plan: &Plan) -> Self {
        let guess = |node: &Node| Guess { first: node.first_guess, next: node.next_guess };
        Self {
            message: 0,
            states: vec![State::Null; plan.columns.len()],
            met: vec![0; plan.nodes.len()],
            guesses: plan.nodes.iter().map(guess).collect(),
            failures: Vec::new(),
            scratch: Vec::new(),
            elements: Vec::new(),
        }
    }
}

/// The walk over one message.
pub(super) struct Walk<'d, S> {
    plan: &'d Plan,
    memory: &'d mut Memory,
    sink: &'d mut S,
}

impl<'d, S: RowSink> Walk<'d, S> {
    pub(super) fn new(plan: &'d Plan, memory: &'d mut Memory, sink: &'d mut S) -> Self {
        memory.message += 1;
        memory.states.fill(State::Null);
        memory.failures.clear();
        if memory.scratch.len() > SCRATCH_KEPT_MAX {
            memory.scratch = Vec::new();
        }
        if memory.elements.capacity() > SCRATCH_KEPT_MAX {
            memory.elements = Vec::new();
        }
        Self { plan, memory, sink }
    }

    /// Reads the columns of the payload.
    pub(super) fn payload(&mut self, text: &str) -> Result<(), Malformed> {
        self.reserve(text.len());
        let mut scanner = Scanner::new(text);
        scanner.blanks();
        self.require_container(&scanner)?;
        self.place(&mut scanner, ROOT, 0)?;
        scanner.end()
    }

    /// Reads a column from bytes beside the payload: the key or a header.
    pub(super) fn envelope(&mut self, column: usize, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        self.reserve(bytes.len());
        let data_type = &self.plan.columns[column].data_type;
        if *data_type == ColumnType::Bytes {
            self.sink.set(column, Value::Bytes(bytes));
            self.memory.states[column] = State::Set;
            return;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.misfit(column, bytes, "not UTF-8".into());
        };
        if !matches!(data_type, ColumnType::Json | ColumnType::Array(_)) {
            let kind = Kind::Text(Text { content: text, escaped: false });
            return self.give(column, &Found { raw: text, kind });
        }
        match Scanner::document(text) {
            Ok(found) => self.give(column, &found),
            Err(_) => self.misfit(column, bytes, "not valid JSON".into()),
        }
    }

    /// Sets what the message left out to NULL, and reports the first column, in the table's order, that has failed.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        for (column, (state, target)) in self.memory.states.iter().zip(&self.plan.columns).enumerate() {
            let reason = match state {
                State::Set => continue,
                State::Null if target.nullable => {
                    self.sink.set(column, Value::Null);
                    continue;
                }
                State::Null => "missing or null, but the column is NOT NULL".to_string(),
                State::Failed => {
                    let mut failures = self.memory.failures.iter().rev();
                    failures
                        .find(|(failed, _)| *failed == column)
                        .map(|(_, why)| why.clone())
                        .unwrap_or_default()
                }
            };
            return Err(DecodeError { path: target.path.clone(), reason });
        }
        Ok(())
    }

    fn reserve(&mut self, length: usize) {
        let needed = space_needed(length);
        if self.memory.scratch.len() < needed {
            self.memory.scratch.resize(needed, 0);
        }
    }

    /// A path that steps into the message needs something to step into.
    fn require_container(&self, scanner: &Scanner<'_>) -> Result<(), Malformed> {
        let root = &self.plan.nodes[ROOT];
        let fits = match scanner.peek() {
            Some(b'{') => root.has_fields() || root.is_leaf(),
            Some(b'[') => !root.items.is_empty() || root.is_leaf(),
            _ => root.is_leaf(),
        };
        match (fits, root.has_fields()) {
            (true, _) => Ok(()),
            (false, true) => Err(scanner.malformed("a JSON object")),
            (false, false) => Err(scanner.malformed("a JSON array")),
        }
    }

    /// Reads the value at a place of the plan, inside `depth` containers.
    #[inline]
    fn place(&mut self, scanner: &mut Scanner<'_>, id: NodeId, depth: usize) -> Result<(), Malformed> {
        let plan = self.plan;
        let node = &plan.nodes[id];
        let found = match node.is_leaf() {
            true => scanner.value(depth)?,
            false => self.container(scanner, id, depth)?,
        };
        for column in &node.columns {
            self.give(*column, &found);
        }
        Ok(())
    }

    /// Reads the value at a place that has places inside it.
    fn container<'m>(
        &mut self,
        scanner: &mut Scanner<'m>,
        id: NodeId,
        depth: usize,
    ) -> Result<Found<'m>, Malformed> {
        if std::mem::replace(&mut self.memory.met[id], self.memory.message) == self.memory.message {
            self.take_back(id);
        }
        let (node, start) = (&self.plan.nodes[id], scanner.at());
        let kind = match scanner.peek() {
            Some(b'{') if node.has_fields() => {
                self.object(scanner, id, depth)?;
                Kind::Object
            }
            Some(b'[') if !node.items.is_empty() => {
                self.array(scanner, node, depth)?;
                Kind::Array
            }
            _ => return scanner.value(depth),
        };
        Ok(Found { raw: scanner.since(start), kind })
    }

    fn take_back(&mut self, id: NodeId) {
        for inner in self.plan.subtree(id) {
            if inner != id {
                self.memory.met[inner] = 0;
            }
            for column in &self.plan.nodes[inner].columns {
                self.memory.states[*column] = State::Null;
            }
        }
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, id: NodeId, depth: usize) -> Result<(), Malformed> {
        let mut last = None;
        let mut has_member = scanner.open(b'}', depth)?;
        while has_member {
            let child = self.field(scanner, id, last)?;
            match child {
                Some(child) => {
                    self.place(scanner, child, depth + 1)?;
                    last = child.into();
                }
                None => {
                    scanner.value(depth + 1)?;
                }
            }
            has_member = scanner.more(b'}')?;
        }
        Ok(())
    }

    /// Passes a field's name and what stands before its value. The field that followed `last` in an earlier message is compared first.
    #[inline]
    fn field(
        &mut self,
        scanner: &mut Scanner<'_>,
        id: NodeId,
        last: Option<NodeId>,
    ) -> Result<Option<NodeId>, Malformed> {
        if !scanner.eat(b'"') {
            return Err(scanner.malformed("a field name in double quotes"));
        }
        let guess = match last {
            Some(last) => &mut self.memory.guesses[last].next,
            None => &mut self.memory.guesses[id].first,
        };
        let plan = self.plan;
        if plan.nodes[*guess].spelling.as_ref().is_some_and(|spelling| scanner.eat_spelling(spelling)) {
            return Ok(Some(*guess));
        }
        let name = scanner.text()?;
        let node = &plan.nodes[id];
        let child = match name.escaped {
            false => node.field(name.content),
            true => {
                node.field(super::text::unescape(name.content, &mut Space::new(&mut self.memory.scratch)))
            }
        };
        if let Some(child) = child {
            *guess = child;
        }
        scanner.colon()?;
        Ok(child)
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, node: &Node, depth: usize) -> Result<(), Malformed> {
        let mut wanted = node.items.iter().peekable();
        let mut index = 0;
        let mut has_member = scanner.open(b']', depth)?;
        while has_member {
            match wanted.next_if(|(item, _)| *item == index) {
                Some((_, child)) => self.place(scanner, *child, depth + 1)?,
                None => {
                    scanner.value(depth + 1)?;
                }
            }
            index += 1;
            has_member = scanner.more(b']')?;
        }
        Ok(())
    }

    /// Converts a value and hands it to the sink.
    #[inline]
    fn give(&mut self, column: usize, found: &Found<'_>) {
        if let Kind::Null = found.kind {
            self.memory.states[column] = State::Null;
            return;
        }
        let mut space = Space::new(&mut self.memory.scratch);
        let outcome = match &self.plan.columns[column].data_type {
            ColumnType::Array(element_type) => {
                let mut elements: Vec<Value<'_>> = std::mem::take(&mut self.memory.elements);
                let outcome = convert::array(element_type, found, &mut space, &mut elements);
                if outcome.is_ok() {
                    self.sink.set(column, Value::List(&elements));
                }
                self.memory.elements = emptied(elements);
                outcome
            }
            scalar => match convert::scalar(scalar, found, &mut space) {
                Ok(value) => {
                    self.sink.set(column, value);
                    Ok(())
                }
                Err(why) => Err(why.into()),
            },
        };
        match outcome {
            Ok(()) => self.memory.states[column] = State::Set,
            Err(misfit) => self.misfit(column, found.raw.as_bytes(), misfit),
        }
    }

    #[cold]
    fn misfit(&mut self, column: usize, value: &[u8], misfit: Misfit) {
        let target = &self.plan.columns[column];
        if target.lenient {
            self.memory.states[column] = State::Null;
            return;
        }
        self.memory.states[column] = State::Failed;
        let reason = format!("{} does not fit {}: {misfit}", Excerpt(value), target.data_type);
        self.memory.failures.push((column, reason));
    }
}

/// The vector without its values, for values of another lifetime. Collecting in place keeps the allocation.
fn emptied(mut values: Vec<Value<'_>>) -> Vec<Value<'static>> {
    values.clear();
    values.into_iter().map(|_| Value::Null).collect()
}
