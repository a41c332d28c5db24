//! Questions about a table, their answers, and the judgement of an answer: pure, nothing here asks anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::model::{CLASSES, Cut, Model, Totals};

/// Earlier answers that a new one is compared with.
const HISTORY_ANSWERS: usize = 256;
/// Rows of [`Question::Greatest`].
const GREATEST: usize = 10;

/// The shapes of a question. Each takes another way through the engine: counts from statistics, a hash set over
/// everything, groups on a generated column and on an expression, a top-k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Rows and the sum of ids.
    Totals,
    /// The same, and how many different ids there are.
    Distinct,
    /// The same per partition.
    PerPartition,
    /// The same per class of ids.
    PerClass,
    /// The ten greatest ids.
    Greatest,
}

impl Question {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Totals, Self::Distinct, Self::PerPartition, Self::PerClass, Self::Greatest];

    /// The question of a checker's n-th turn. The costly one comes seldom: its price grows with the table.
    pub(crate) fn of_turn(turn: u64) -> Self {
        match turn % 8 {
            3 => Self::Distinct,
            1 => Self::PerPartition,
            5 => Self::PerClass,
            2 | 7 => Self::Greatest,
            _ => Self::Totals,
        }
    }

    /// As SQL.
    pub(crate) fn sql(self, table: &str) -> String {
        match self {
            Self::Totals => format!("SELECT count(*), sum(id) FROM {table}"),
            Self::Distinct => format!("SELECT count(*), sum(id), count(DISTINCT id) FROM {table}"),
            Self::PerPartition => {
                format!("SELECT count(*), sum(id), \"$partition\" FROM {table} GROUP BY \"$partition\"")
            }
            Self::PerClass => {
                format!("SELECT count(*), sum(id), id % {CLASSES} FROM {table} GROUP BY id % {CLASSES}")
            }
            Self::Greatest => format!("SELECT id FROM {table} ORDER BY id DESC LIMIT {GREATEST}"),
        }
    }
}

/// An answer, with the cut that it claims to be for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Number of the process that gave it.
    pub(crate) process: u32,
    /// What was asked.
    pub(crate) question: Question,
    /// Table log version.
    pub(crate) log_version: u64,
    /// What the answer says that it contains.
    pub(crate) cut: Cut,
    /// What it says.
    pub(crate) content: AnswerContent,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AnswerContent {
    /// Rows and sum of ids, and for [`Question::Distinct`] how many different ids.
    Totals(Totals, Option<u64>),
    /// Totals per partition or per class.
    Groups(BTreeMap<i64, Totals>),
    /// Ids, descending.
    Ids(Vec<u64>),
}

impl AnswerContent {
    fn read(rows: &[Value], question: Question) -> Result<Self, String> {
        match question {
            Question::Totals | Question::Distinct => {
                let [row] = rows else { return Err(format!("{} rows instead of one", rows.len())) };
                let distinct = (question == Question::Distinct).then(|| whole(&row[2])).transpose()?;
                Ok(Self::Totals(totals(row)?, distinct))
            }
            Question::PerPartition | Question::PerClass => {
                let mut groups = BTreeMap::new();
                for row in rows {
                    let key = row[2].as_i64().ok_or_else(|| format!("{} is not a group", row[2]))?;
                    if groups.insert(key, totals(row)?).is_some() {
                        return Err(format!("group {key} is there twice in {rows:?}"));
                    }
                }
                Ok(Self::Groups(groups))
            }
            Question::Greatest => {
                Ok(Self::Ids(rows.iter().map(|row| whole(&row[0])).collect::<Result<_, _>>()?))
            }
        }
    }

    /// How many rows it has counted; `None` if it was not asked that.
    fn rows(&self) -> Option<u64> {
        match self {
            Self::Totals(totals, _) => Some(totals.rows),
            Self::Groups(groups) => Some(groups.values().map(|totals| totals.rows).sum()),
            Self::Ids(_) => None,
        }
    }
}

impl Answer {
    /// Reads the JSON document of `POST /sql`.
    pub(crate) fn read(
        document: &Value,
        table: &str,
        question: Question,
        process: u32,
    ) -> Result<Self, String> {
        let (log_version, cut) = read_cut(document, table)?;
        let rows = document["rows"].as_array().ok_or("the answer has no rows")?;
        let content = AnswerContent::read(rows, question)?;
        Ok(Self { process, question, log_version, cut, content })
    }
}

/// Log version and offsets of the cut that a document claims to be for.
pub(crate) fn read_cut(document: &Value, table: &str) -> Result<(u64, Cut), String> {
    let cut = &document["cut"][table];
    let log_version = whole(&cut["log_version"])?;
    let offsets = cut["offsets"].as_object().ok_or("the answer has no cut with offsets")?;
    let offset = |(partition, offset): (&String, &Value)| {
        let partition = partition.parse().map_err(|_| format!("{partition:?} is not a partition"))?;
        Ok((partition, offset.as_i64().ok_or_else(|| format!("{offset} is not an offset"))?))
    };
    Ok((log_version, offsets.iter().map(offset).collect::<Result<Cut, String>>()?))
}

/// The first two values of a row.
pub(crate) fn totals(row: &Value) -> Result<Totals, String> {
    Ok(Totals { rows: whole(&row[0])?, id_sum: whole(&row[1])? })
}

/// A number that may be NULL (the sum of no rows) or, to be exact in JavaScript, text.
fn whole(value: &Value) -> Result<u64, String> {
    match value {
        Value::Null => Ok(0),
        Value::Number(number) => {
            number.as_u64().ok_or_else(|| format!("{number} is not a whole number of 0 or more"))
        }
        Value::String(text) => {
            text.parse().map_err(|_| format!("{text:?} is not a whole number of 0 or more"))
        }
        other => Err(format!("{other} is not a number")),
    }
}

/// What is to be said about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Exactly what the cut must contain.
    Exact,
    /// The cut reaches past what is certain; to be judged again later.
    Early,
    /// Rows are missing, or repeated.
    Wrong(String),
}

/// Compares an answer with what was written.
pub(crate) fn judge(answer: &Answer, model: &Model) -> Judgement {
    let wrong = match &answer.content {
        AnswerContent::Totals(given, distinct) => {
            let Some(expected) = model.totals(&answer.cut) else { return Judgement::Early };
            if *given != expected {
                Some(format!("{given:?} instead of {expected:?}"))
            } else {
                distinct
                    .filter(|distinct| *distinct != expected.rows)
                    .map(|distinct| format!("{distinct} different ids instead of {}", expected.rows))
            }
        }
        AnswerContent::Groups(given) => {
            let Some(expected) = expected_groups(answer, model) else { return Judgement::Early };
            groups_fault(given, &expected)
        }
        AnswerContent::Ids(given) => {
            let Some(expected) = model.greatest(&answer.cut, GREATEST) else { return Judgement::Early };
            let expected: Vec<u64> = expected.into_iter().map(u64::from).collect();
            (*given != expected).then(|| format!("{given:?} instead of {expected:?}"))
        }
    };
    wrong.map_or(Judgement::Exact, Judgement::Wrong)
}

fn expected_groups(answer: &Answer, model: &Model) -> Option<BTreeMap<i64, Totals>> {
    if answer.question == Question::PerClass {
        let classes = model.class_totals(&answer.cut)?;
        return Some(classes.into_iter().enumerate().map(|(class, totals)| (class as i64, totals)).collect());
    }
    let partitions = model.partition_totals(&answer.cut)?;
    Some(partitions.into_iter().map(|(partition, totals)| (i64::from(partition), totals)).collect())
}

/// A group without rows may be missing.
fn groups_fault(given: &BTreeMap<i64, Totals>, expected: &BTreeMap<i64, Totals>) -> Option<String> {
    let groups: BTreeSet<i64> = expected.keys().chain(given.keys()).copied().collect();
    let of = |totals: &BTreeMap<i64, Totals>, group| totals.get(group).copied().unwrap_or_default();
    let wrong: Vec<String> = groups
        .iter()
        .map(|group| (group, of(given, group), of(expected, group)))
        .filter(|(_, given, expected)| given != expected)
        .map(|(group, given, expected)| format!("group {group}: {given:?} instead of {expected:?}"))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Whether `later` contains everything that `earlier` does.
pub(crate) fn contains(later: &Cut, earlier: &Cut) -> bool {
    earlier.iter().all(|(partition, end)| *end <= 0 || later.get(partition).is_some_and(|later| later >= end))
}

/// Answers seen lately: a row that was visible at a cut is visible at every cut that contains it (invariant 3). This
/// needs no knowledge of what was written.
#[derive(Debug, Default)]
pub(crate) struct History {
    answers: VecDeque<Answer>,
}

impl History {
    /// Compares an answer with the earlier ones, and remembers it.
    pub(crate) fn check(&mut self, answer: &Answer) -> Option<String> {
        let rows_now = answer.content.rows()?;
        let fault = self.answers.iter().find_map(|other| {
            let rows = (other.content.rows()?, rows_now);
            let forwards = contains(&answer.cut, &other.cut) && rows.1 < rows.0;
            let backwards = contains(&other.cut, &answer.cut) && rows.0 < rows.1;
            (forwards || backwards)
                .then(|| format!("the count does not grow with the cut: {other:?} and then {answer:?}"))
        });
        if self.answers.len() == HISTORY_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer.clone());
        fault
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::model::Content;
    use super::*;

    fn document(rows: Value) -> Value {
        json!({"rows": rows, "cut": {"t": {"log_version": 3, "offsets": {"0": 2, "1": 1}, "freshness_ms": null}}})
    }

    fn read(question: Question, rows: Value) -> Answer {
        Answer::read(&document(rows), "t", question, 1).unwrap()
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.acknowledge(0, 0, Content::Row(10), None);
        model.acknowledge(0, 1, Content::Row(20), None);
        model.acknowledge(1, 0, Content::Row(5), None);
        model.acknowledge(1, 1, Content::Row(6), None);
        model.settle();
        model
    }

    #[test]
    fn answers_are_judged_at_their_cut() {
        let wrong = |answer: Answer| matches!(judge(&answer, &model()), Judgement::Wrong(_));
        assert_eq!(judge(&read(Question::Totals, json!([[3, "35"]])), &model()), Judgement::Exact);
        assert_eq!(judge(&read(Question::Distinct, json!([[3, 35, 3]])), &model()), Judgement::Exact);
        let groups = json!([[1, 5, 1], [2, 30, 0]]);
        assert_eq!(judge(&read(Question::PerPartition, groups), &model()), Judgement::Exact);
        assert!(wrong(read(Question::Totals, json!([[4, 41]]))), "a row past the cut");
        assert!(wrong(read(Question::Totals, json!([[3, 36]]))), "another row in its place");
        assert!(wrong(read(Question::Totals, json!([[0, null]]))), "all lost");
        assert!(wrong(read(Question::Distinct, json!([[3, 35, 2]]))), "one repeated in the place of another");
        assert!(wrong(read(Question::PerPartition, json!([[2, 30, 1], [1, 5, 0]]))), "partitions swapped");
        assert!(wrong(read(Question::PerPartition, json!([[3, 35, 0]]))), "a partition missing");
        let classes = json!([[1, 10, 3], [1, 20, 6], [1, 5, 5]]);
        assert_eq!(judge(&read(Question::PerClass, classes), &model()), Judgement::Exact);
        assert!(wrong(read(Question::PerClass, json!([[1, 10, 3], [1, 20, 5], [1, 5, 6]]))), "swapped");
        let greatest = |ids| read(Question::Greatest, ids);
        assert_eq!(judge(&greatest(json!([["20"], [10], [5]])), &model()), Judgement::Exact);
        assert!(wrong(greatest(json!([[20], [5], [10]]))), "not in order");
        assert!(wrong(greatest(json!([[20], [10]]))), "one missing");
        assert!(wrong(greatest(json!([[20], [20], [10], [5]]))), "one repeated");
        let mut early = read(Question::Totals, json!([[3, 35]]));
        early.cut.insert(0, 9);
        assert_eq!(judge(&early, &model()), Judgement::Early);
    }

    #[test]
    fn documents_that_are_no_answer() {
        let read = |document| Answer::read(&document, "t", Question::Totals, 1);
        assert!(read(json!({"rows": [[1, 1]], "cut": {}})).is_err());
        assert!(read(document(json!([[-1, 1]]))).is_err());
        assert!(read(document(json!([]))).is_err());
        assert!(read(document(json!([[1, 1], [1, 1]]))).is_err());
        let twice = document(json!([[1, 1, 0], [1, 1, 0]]));
        assert!(Answer::read(&twice, "t", Question::PerPartition, 1).is_err());
    }

    #[test]
    fn counts_grow_with_cuts() {
        let answer = |ends: [i64; 2], rows| {
            let mut answer = read(Question::Totals, json!([[rows, 0]]));
            answer.cut = Cut::from([(0, ends[0]), (1, ends[1])]);
            answer
        };
        let mut history = History::default();
        assert_eq!(history.check(&answer([5, 5], 10)), None);
        assert_eq!(history.check(&answer([6, 4], 3)), None, "neither contains the other");
        assert_eq!(history.check(&answer([5, 5], 10)), None);
        assert!(history.check(&answer([5, 6], 9)).is_some());
        let mut history = History::default();
        assert_eq!(history.check(&answer([5, 5], 10)), None);
        assert!(history.check(&answer([4, 5], 11)).is_some(), "a smaller cut with more rows");
    }
}
