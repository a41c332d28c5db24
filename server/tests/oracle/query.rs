//! Random queries of every shape. Whatever is compared in order is ordered totally.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};

use crate::expression::{Shape, ShapeColumn, aggregate, arithmetic, filter, key};

/// A query, and whether the order of its rows counts.
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) ordered: bool,
}

type Make = fn(&mut StdRng, &[Shape]) -> Query;

/// Every shape; `tables` are two.
const SHAPES: [Make; 18] = [
    rows,
    rows,
    grouped,
    grouped,
    grouped,
    grouped,
    grouped_top,
    grouped_top,
    computed,
    top,
    top,
    join,
    self_join,
    window,
    with,
    set_operation,
    subquery,
    distinct,
];

/// Shapes whose cost does not grow with the square of the rows.
const LINEAR_SHAPES: [Make; 9] =
    [rows, grouped, grouped, grouped, grouped_top, computed, top, window, distinct];

pub(crate) fn query(random: &mut StdRng, tables: &[Shape], linear: bool) -> Query {
    if random.random_ratio(1, 40) {
        return faulty(random, tables);
    }
    let shapes: &[Make] = if linear { &LINEAR_SHAPES } else { &SHAPES };
    shapes.choose(random).unwrap()(random, tables)
}

fn unordered(sql: String) -> Query {
    Query { sql, ordered: false }
}

fn table<'s>(random: &mut StdRng, tables: &'s [Shape]) -> &'s Shape {
    tables.choose(random).unwrap()
}

fn some_where(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    match random.random_ratio(3, 4) {
        true => format!(" WHERE {}", filter(random, shape, alias)),
        false => String::new(),
    }
}

fn list(
    random: &mut StdRng,
    counts: std::ops::Range<usize>,
    mut item: impl FnMut(&mut StdRng) -> String,
) -> Vec<String> {
    let count = random.random_range(counts);
    (0..count).map(|_| item(random)).collect()
}

/// `a AS c0, b AS c1`, so that no two outputs have one name.
fn named(items: &[String]) -> String {
    items.iter().enumerate().map(|(index, item)| format!("{item} AS c{index}")).collect::<Vec<_>>().join(", ")
}

fn rows(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let columns: Vec<String> = match random.random_bool(0.5) {
        true => shape.columns.iter().map(|column| column.of("t")).collect(),
        false => list(random, 1..4, |random| shape.any(random).of("t")),
    };
    unordered(format!("SELECT {} FROM {} t{}", named(&columns), shape.name, some_where(random, shape, "t")))
}

fn grouped_over(random: &mut StdRng, shape: &Shape, source: &str) -> String {
    let keys = list(random, 0..4, |random| key(random, shape, "t"));
    let aggregates = list(random, 1..5, |random| aggregate(random, shape, "t"));
    let items: Vec<String> = keys.iter().chain(&aggregates).cloned().collect();
    let mut sql = format!("SELECT {} FROM {source}{}", named(&items), some_where(random, shape, "t"));
    if !keys.is_empty() {
        sql += &format!(" GROUP BY {}", keys.join(", "));
    }
    if random.random_ratio(1, 5) {
        sql += &format!(
            " HAVING count(*) {} {}",
            ["<", ">="].choose(random).unwrap(),
            random.random_range(1..6)
        );
    }
    sql
}

fn grouped(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    unordered(grouped_over(random, shape, &format!("{} t", shape.name)))
}

/// What a dashboard asks: the first groups by an aggregate.
fn grouped_top(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let keys = list(random, 1..4, |random| sort_key(random, shape, "t"));
    let mut items = keys.clone();
    items.extend(list(random, 1..4, |random| aggregate(random, shape, "t")));
    let directions = ["", " DESC", " DESC NULLS LAST"];
    let direction = directions.choose(random).unwrap();
    let by = random.random_range(keys.len()..items.len());
    // A group's keys are its own, so the order is total.
    let order: Vec<String> =
        std::iter::once(by).chain(0..keys.len()).map(|column| format!("c{column}{direction}")).collect();
    let sql = format!(
        "SELECT {} FROM {} t{} GROUP BY {} ORDER BY {} LIMIT {}",
        named(&items),
        shape.name,
        some_where(random, shape, "t"),
        keys.join(", "),
        order.join(", "),
        random.random_range(0..12)
    );
    Query { sql, ordered: true }
}

/// Arithmetic on integers, beyond their types too.
fn computed(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let items = list(random, 1..4, |random| {
        let column = shape.integer(random).of("t");
        arithmetic(random, shape, "t", &column)
    });
    unordered(format!("SELECT {} FROM {} t{}", named(&items), shape.name, some_where(random, shape, "t")))
}

/// A key to sort by. No CASE: DataFusion refuses some valid plans that merge by one (apache/datafusion#18327).
fn sort_key(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    loop {
        let key = key(random, shape, alias);
        if !key.starts_with("CASE") {
            return key;
        }
    }
}

fn ordering(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    let directions = ["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"];
    let mut keys = list(random, 0..3, |random| {
        format!("{}{}", sort_key(random, shape, alias), directions.choose(random).unwrap())
    });
    let direction = directions.choose(random).unwrap();
    keys.push(format!("{alias}.\"$partition\", {alias}.\"$offset\"{direction}"));
    keys.join(", ")
}

fn top(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let columns = list(random, 1..4, |random| shape.any(random).of("t"));
    let mut sql = format!(
        "SELECT {} FROM {} t{} ORDER BY {}",
        named(&columns),
        shape.name,
        some_where(random, shape, "t"),
        ordering(random, shape, "t")
    );
    if random.random_bool(0.8) {
        sql += &format!(" LIMIT {}", random.random_range(0..20));
    }
    if random.random_ratio(1, 4) {
        sql += &format!(" OFFSET {}", random.random_range(0..10));
    }
    Query { sql, ordered: true }
}

/// Columns of two tables that can be joined on.
fn join_columns<'s>(
    random: &mut StdRng,
    left: &'s Shape,
    right: &'s Shape,
) -> (&'s ShapeColumn, &'s ShapeColumn) {
    let pairs = left.columns.iter().flat_map(|a| right.columns.iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| a.data_type == b.data_type && a.joins()).choose(random).unwrap()
}

fn join(random: &mut StdRng, tables: &[Shape]) -> Query {
    let (left, right) = (&tables[0], &tables[1]);
    let (a, b) = join_columns(random, left, right);
    let mut condition = format!("{} = {}", a.of("t"), b.of("u"));
    if random.random_ratio(1, 3) {
        let (a, b) = join_columns(random, left, right);
        condition +=
            &format!(" AND {} {} {}", a.of("t"), ["=", "<", ">="].choose(random).unwrap(), b.of("u"));
    }
    if random.random_ratio(1, 4) {
        condition += &format!(" AND {}", filter(random, right, "u"));
    }
    let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"].choose(random).unwrap();
    let source = format!("{} t {kind} {} u ON {condition}", left.name, right.name);
    match random.random_bool(0.5) {
        true => unordered(grouped_over(random, left, &source)),
        false => {
            let columns = [
                left.any(random).of("t"),
                right.any(random).of("u"),
                "t.\"$offset\"".into(),
                "u.\"$offset\"".into(),
            ];
            unordered(format!("SELECT {} FROM {source}{}", named(&columns), some_where(random, left, "t")))
        }
    }
}

fn self_join(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let (a, b) = join_columns(random, shape, shape);
    let condition = match random.random_range(0..3) {
        0 => "t.\"$partition\" = u.\"$partition\" AND t.\"$offset\" = u.\"$offset\" + 1".to_owned(),
        1 => format!("{} = {} AND t.\"$offset\" < u.\"$offset\"", a.of("t"), b.of("u")),
        _ => format!("{} IS NOT DISTINCT FROM {}", a.of("t"), a.of("u")),
    };
    let source = format!("{0} t JOIN {0} u ON {condition}", shape.name);
    unordered(grouped_over(random, shape, &source))
}

fn window(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let column = shape.scalar(random);
    let bounded = if column.joins() { column.of("t") } else { "t.k".to_owned() };
    let column = column.of("t");
    let partition = match random.random_bool(0.7) {
        true => format!("PARTITION BY {} ", sort_key(random, shape, "t")),
        false => String::new(),
    };
    let order = ordering(random, shape, "t");
    let rows =
        ["", "", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN 1 PRECEDING AND 3 FOLLOWING"];
    let over = format!("OVER ({partition}ORDER BY {order}{})", rows.choose(random).unwrap());
    let plain_over = format!("OVER ({partition}ORDER BY {order})");
    let ties = format!("OVER ({partition}ORDER BY {})", sort_key(random, shape, "t"));
    let functions = [
        format!("row_number() {plain_over}"),
        format!("rank() {ties}"),
        format!("dense_rank() {ties}"),
        format!("lag({column}, {}) {plain_over}", random.random_range(1..3)),
        format!("lead({column}) {plain_over}"),
        format!("first_value({column}) {over}"),
        format!("last_value({column}) {over}"),
        format!("count({column}) {over}"),
        format!("sum(t.k) {over}"),
        format!("«sum(‹{}›) {over}»", shape.integer(random).of("t")),
        format!("max(t.k * 2 + 1) {over}"),
        format!("max({bounded}) {over}"),
        format!("min(t.k) {over}"),
        format!("ntile(3) {plain_over}"),
    ];
    let count = random.random_range(1..4);
    let mut items: Vec<String> = functions.into_iter().choose_multiple(random, count);
    items.extend(["t.\"$partition\"".into(), "t.\"$offset\"".into()]);
    unordered(format!("SELECT {} FROM {} t{}", named(&items), shape.name, some_where(random, shape, "t")))
}

fn with(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let key = key(random, shape, "t");
    let (first, second) = (aggregate(random, shape, "t"), aggregate(random, shape, "t"));
    let filter = some_where(random, shape, "t");
    let common = format!(
        "WITH g AS (SELECT {key} AS x, count(*) AS n, {first} AS y, {second} AS z FROM {} t{filter} GROUP BY {key})",
        shape.name
    );
    let body = match random.random_range(0..3) {
        0 => "SELECT count(*), sum(n), min(x), max(x) FROM g WHERE n > 1".to_owned(),
        1 => "SELECT a.x, a.y, b.z FROM g a JOIN g b ON a.n = b.n AND a.x IS DISTINCT FROM b.x".to_owned(),
        _ => format!("SELECT t.\"$offset\", g.n, g.y FROM {} t JOIN g ON {key} = g.x", shape.name),
    };
    unordered(format!("{common} {body}"))
}

fn set_operation(random: &mut StdRng, tables: &[Shape]) -> Query {
    let (left, right) = (table(random, tables), table(random, tables));
    let (a, b) = join_columns(random, left, right);
    let (c, d) = join_columns(random, left, right);
    // Of EXCEPT ALL and INTERSECT ALL plain DataFusion does not count the rows.
    let operation = ["UNION", "UNION ALL", "INTERSECT", "EXCEPT"].choose(random).unwrap();
    unordered(format!(
        "SELECT {} AS x, {} AS y FROM {} t{} {operation} SELECT {} AS x, {} AS y FROM {} u{}",
        a.of("t"),
        c.of("t"),
        left.name,
        some_where(random, left, "t"),
        b.of("u"),
        d.of("u"),
        right.name,
        some_where(random, right, "u"),
    ))
}

fn subquery(random: &mut StdRng, tables: &[Shape]) -> Query {
    let (left, right) = (&tables[0], &tables[1]);
    let (a, b) = join_columns(random, left, right);
    let (a, b) = (a.of("t"), b.of("u"));
    let (inner, name) = (some_where(random, right, "u"), &right.name);
    let not = ["", "NOT "].choose(random).unwrap();
    let condition = match random.random_range(0..5) {
        0 => format!("{a} {not}IN (SELECT {b} FROM {name} u{inner})"),
        1 => format!("{a} = (SELECT max({b}) FROM {name} u{inner})"),
        2 => {
            format!("{not}EXISTS (SELECT 1 FROM {name} u WHERE {b} = {a} AND {})", filter(random, right, "u"))
        }
        3 => format!("t.k < (SELECT count(*) FROM {name} u WHERE u.k = t.k)"),
        _ => format!("t.\"$offset\" > (SELECT min(u.\"$offset\") FROM {name} u{inner})"),
    };
    let derived = format!("(SELECT * FROM {} t WHERE {condition}) t", left.name);
    let items = [left.any(random).of("t"), "t.\"$partition\"".into(), "t.\"$offset\"".into()];
    unordered(match random.random_bool(0.5) {
        true => format!("SELECT {} FROM {} t WHERE {condition}", named(&items), left.name),
        // The inner `*` shows only stream columns that the text mentions.
        false => format!("SELECT {} FROM {derived} WHERE {}", named(&items), filter(random, left, "t")),
    })
}

fn distinct(random: &mut StdRng, tables: &[Shape]) -> Query {
    let shape = table(random, tables);
    let keys = list(random, 1..4, |random| key(random, shape, "t"));
    unordered(format!(
        "SELECT DISTINCT {} FROM {} t{}",
        named(&keys),
        shape.name,
        some_where(random, shape, "t")
    ))
}

/// A query that is an error for everybody.
fn faulty(random: &mut StdRng, tables: &[Shape]) -> Query {
    let name = &table(random, tables).name;
    let faults = [
        format!("SELECT nowhere FROM {name}"),
        format!("SELECT k FROM {name}x"),
        format!("SELECT count(*) FROM {name} GROUP BY"),
        format!("SELECT k, count(*) FROM {name}"),
        format!("SELECT no_such_function(k) FROM {name}"),
        format!("SELECT k FROM {name} UNION SELECT k, k FROM {name}"),
        format!("SELECT (SELECT k FROM {name} UNION ALL SELECT 1 UNION ALL SELECT 2)"),
        format!("SELECT sum(k) FROM {name} WHERE sum(k) > 1"),
        "SELECT CAST('x' AS INT)".to_owned(),
    ];
    unordered(faults.choose(random).unwrap().clone())
}
