//! The catalog queries that tools and drivers send, as they send them.

use super::*;

/// Each must be answered; those with a marker must name the table, or the column.
const QUERIES: &[(&str, &str, Option<&str>)] = &[
    (
        "psql \\dt",
        "SELECT n.nspname as \"Schema\",\n  c.relname as \"Name\",\n  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as \"Type\",\n  pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\"\nFROM pg_catalog.pg_class c\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam\nWHERE c.relkind IN ('r','p','')\n      AND n.nspname <> 'pg_catalog'\n      AND n.nspname !~ '^pg_toast'\n      AND n.nspname <> 'information_schema'\n  AND pg_catalog.pg_table_is_visible(c.oid)\nORDER BY 1,2;",
        Some("orders"),
    ),
    (
        "psql \\d name",
        "SELECT c.oid,\n  n.nspname,\n  c.relname\nFROM pg_catalog.pg_class c\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\nWHERE c.relname OPERATOR(pg_catalog.~) '^(orders)$' COLLATE pg_catalog.default\n  AND pg_catalog.pg_table_is_visible(c.oid)\nORDER BY 2, 3;",
        Some("orders"),
    ),
    (
        "psql \\dn",
        "SELECT n.nspname AS \"Name\",\n  pg_catalog.pg_get_userbyid(n.nspowner) AS \"Owner\"\nFROM pg_catalog.pg_namespace n\nWHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'\nORDER BY 1;",
        Some("system"),
    ),
    (
        "psql \\df",
        "SELECT n.nspname as \"Schema\",\n  p.proname as \"Name\",\n  pg_catalog.pg_get_function_result(p.oid) as \"Result data type\",\n  pg_catalog.pg_get_function_arguments(p.oid) as \"Argument data types\",\n CASE p.prokind\n  WHEN 'a' THEN 'agg'\n  WHEN 'w' THEN 'window'\n  WHEN 'p' THEN 'proc'\n  ELSE 'func'\n END as \"Type\"\nFROM pg_catalog.pg_proc p\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace\nWHERE pg_catalog.pg_function_is_visible(p.oid)\n      AND n.nspname <> 'pg_catalog'\n      AND n.nspname <> 'information_schema'\nORDER BY 1, 2, 4;",
        None,
    ),
    (
        "psycopg TypeInfo",
        "SELECT\n    typname AS name, oid, typarray AS array_oid,\n    oid::regtype::text AS regtype, typdelim AS delimiter\nFROM pg_type t\nWHERE t.oid = 2950\nORDER BY t.oid",
        Some("uuid"),
    ),
    ("pgjdbc connects", "SELECT current_schema(), session_user", Some("alice")),
    (
        "pgjdbc getSchemas",
        "SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) AND (nspname !~ '^pg_toast_temp_' OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_')) ORDER BY TABLE_SCHEM",
        Some("public"),
    ),
    ("SQLAlchemy", "select pg_catalog.version()", Some("PostgreSQL 16")),
    ("SQLAlchemy", "show standard_conforming_strings", Some("on")),
    (
        "DBeaver",
        "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname='headwater'",
        Some("headwater"),
    ),
    (
        "DBeaver",
        "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
        Some("public"),
    ),
    ("DBeaver", "SELECT * FROM pg_catalog.pg_settings where name='standard_conforming_strings'", Some("on")),
    (
        "DBeaver",
        "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')",
        Some("timestamptz"),
    ),
    (
        "Grafana tables",
        "SELECT quote_ident(table_name) AS \"table\" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') ORDER BY 1",
        Some("orders"),
    ),
    (
        "Grafana tables by search path",
        "SELECT\n    CASE WHEN\n          quote_ident(table_schema) IN (\n          SELECT\n            CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END\n          FROM\n            generate_series(\n              array_lower(string_to_array(current_setting('search_path'),','),1),\n              array_upper(string_to_array(current_setting('search_path'),','),1)\n            ) as i,\n            string_to_array(current_setting('search_path'),',') s\n          )\n      THEN quote_ident(table_name)\n      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)\n    END AS \"table\"\n    FROM information_schema.tables\n    WHERE quote_ident(table_schema) NOT IN ('information_schema',\n                             'pg_catalog')",
        Some("orders"),
    ),
    (
        "Grafana columns",
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE quote_ident(table_name) = 'orders'",
        Some("timestamp with time zone"),
    ),
    (
        "Metabase tables",
        "SELECT \"n\".\"nspname\" AS \"schema\", \"c\".\"relname\" AS \"name\", CASE \"c\".\"relkind\" WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END AS \"type\", \"d\".\"description\" AS \"description\", \"stat\".\"n_live_tup\" AS \"estimated_row_count\" FROM \"pg_catalog\".\"pg_class\" AS \"c\" INNER JOIN \"pg_catalog\".\"pg_namespace\" AS \"n\" ON \"c\".\"relnamespace\" = \"n\".\"oid\" LEFT JOIN \"pg_catalog\".\"pg_description\" AS \"d\" ON (\"c\".\"oid\" = \"d\".\"objoid\") AND (\"d\".\"objsubid\" = '0') AND (\"d\".\"classoid\" = 'pg_class'::regclass) LEFT JOIN \"pg_stat_user_tables\" AS \"stat\" ON (\"n\".\"nspname\" = \"stat\".\"schemaname\") AND (\"c\".\"relname\" = \"stat\".\"relname\") WHERE (\"c\".\"relnamespace\" = \"n\".\"oid\") AND (\"n\".\"nspname\" !~ '^pg_') AND (\"n\".\"nspname\" <> 'information_schema') AND c.relkind in ('r', 'p', 'v', 'f', 'm') AND (\"n\".\"nspname\" IN ('public')) ORDER BY \"type\" ASC, \"schema\" ASC, \"name\" ASC",
        Some("orders"),
    ),
    ("asyncpg reset", "SELECT pg_advisory_unlock_all()", None),
    ("asyncpg settings", "SELECT set_config('jit', 'off', false)", Some("off")),
    ("a replica?", "SELECT pg_is_in_recovery()", Some("f")),
];

#[tokio::test]
async fn catalog_queries_of_tools_are_answered() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let mut failures = Vec::new();
    for (tool, sql, marker) in QUERIES {
        let replies = client.query(sql).await;
        let rows: Vec<_> =
            replies.iter().filter(|(kind, _)| *kind == b'D').flat_map(|(_, body)| cells(body)).collect();
        match error_of(&replies) {
            Some(error) => failures.push(format!("{tool}: {error:?}")),
            None => {
                let found = |marker: &&str| rows.iter().flatten().any(|cell| cell.contains(*marker));
                if !marker.as_ref().is_none_or(found) {
                    failures.push(format!("{tool}: no {marker:?} in {rows:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// As psycopg asks for a type by its name; SQLAlchemy has it ask for `hstore` on its first connection.
const TYPE_BY_NAME: &str = "SELECT\n    typname AS name, oid, typarray AS array_oid,\n    oid::regtype::text AS regtype, typdelim AS delimiter\nFROM pg_type t\nWHERE t.oid = to_regtype($1)\nORDER BY t.oid\n";

#[tokio::test]
async fn types_are_found_by_their_names() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    for (name, expected) in
        [("hstore", None), ("uuid", Some("2950")), ("timestamp with time zone", Some("1184"))]
    {
        client.parse("", TYPE_BY_NAME, &[0]).await;
        client.bind("", "", 0, &[name.as_bytes()], 0).await;
        client.send(b'D', b"P\0").await;
        client.execute("", 0).await;
        let replies = client.sync().await;
        assert!(error_of(&replies).is_none(), "{name}: {:?}", error_of(&replies));
        let rows = replies.iter().filter(|(kind, _)| *kind == b'D');
        let oids: Vec<_> = rows.map(|(_, body)| cells(body)[1].clone().unwrap()).collect();
        assert_eq!((oids.first().map(String::as_str), oids.len() < 2), (expected, true), "{name}");
    }
    assert_eq!(
        client.rows("SELECT to_regtype('text'), to_regtype('nope')").await,
        [[Some("25".into()), None]]
    );
}

#[tokio::test]
async fn what_the_catalog_lacks_is_told_by_its_code() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    for (sql, code) in [
        ("SELECT pg_no_such_function(1)", "42883"),
        ("SELECT no_such_function(oid) FROM pg_class", "42883"),
        ("SELECT no_such_column FROM pg_class", "42703"),
        ("SELECT c.no_such_column FROM pg_catalog.pg_class c", "42703"),
        ("SELECT * FROM pg_catalog.no_such_table", "42P01"),
        ("SELECT oid FROM pg_class WHERE )", "42601"),
    ] {
        let replies = client.query(sql).await;
        assert_eq!(code_of(&replies), code, "{sql}: {:?}", error_of(&replies));
    }
}

#[tokio::test]
async fn columns_have_their_types_in_both_catalogs() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let sql = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull \
               FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON a.attrelid = c.oid \
               WHERE c.relname = 'orders' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let cell = |text: &str| Some(text.to_owned());
    let expected = [
        ("orderId", "bigint", "t"),
        ("city", "text", "f"),
        ("price", "numeric(10,2)", "f"),
        ("at", "timestamp with time zone", "f"),
        ("tags", "text[]", "f"),
        ("ref", "uuid", "f"),
        ("body", "json", "f"),
        ("items", "integer", "f"),
    ];
    assert_eq!(
        client.rows(sql).await,
        expected.map(|(name, kind, is_set)| vec![cell(name), cell(kind), cell(is_set)])
    );
    let sql = "SELECT column_name, data_type, numeric_precision FROM information_schema.columns \
               WHERE table_name = 'orders' AND column_name IN ('price', 'tags') ORDER BY ordinal_position";
    let expected =
        [vec![cell("price"), cell("numeric"), cell("10")], vec![cell("tags"), cell("ARRAY"), None]];
    assert_eq!(client.rows(sql).await, expected);
}

#[tokio::test]
async fn the_catalog_never_answers_for_a_table() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    for sql in
        ["SELECT count(*) FROM orders WHERE city = current_user", "SELECT * FROM orders, pg_catalog.pg_class"]
    {
        let fields = error_of(&client.query(sql).await).unwrap_or_else(|| panic!("{sql}"));
        assert!(fields[&'M'].contains("cannot also read orders"), "{fields:?}");
    }
    // Names that only look like the catalog's stay with the engine.
    assert_eq!(
        client.rows("SELECT count(*) FROM orders WHERE city = 'pg_catalog.pg_class'").await,
        [[Some("0".into())]]
    );
}
