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
    (
        "psql \\du",
        "SELECT r.rolname, r.rolsuper, r.rolinherit,\n  r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,\n  r.rolconnlimit, r.rolvaliduntil,\n  ARRAY(SELECT b.rolname\n        FROM pg_catalog.pg_auth_members m\n        JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)\n        WHERE m.member = r.oid) as memberof\n, r.rolreplication\n, r.rolbypassrls\nFROM pg_catalog.pg_roles r\nWHERE r.rolname !~ '^pg_'\nORDER BY 1;",
        Some("alice"),
    ),
    (
        "psql \\dT",
        "SELECT n.nspname as \"Schema\",\n  pg_catalog.format_type(t.oid, NULL) AS \"Name\",\n  pg_catalog.obj_description(t.oid, 'pg_type') as \"Description\"\nFROM pg_catalog.pg_type t\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace\nWHERE (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))\n  AND NOT EXISTS(SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)\n      AND n.nspname <> 'pg_catalog'\n      AND n.nspname <> 'information_schema'\n  AND pg_catalog.pg_type_is_visible(t.oid)\nORDER BY 1, 2;",
        None,
    ),
    (
        "psql \\d name: policies",
        "SELECT pol.polname, pol.polpermissive,\n  CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,\n  pg_catalog.pg_get_expr(pol.polqual, pol.polrelid),\n  pg_catalog.pg_get_expr(pol.polwithcheck, pol.polrelid),\n  CASE pol.polcmd\n    WHEN 'r' THEN 'SELECT'\n    WHEN 'a' THEN 'INSERT'\n    END AS cmd\nFROM pg_catalog.pg_policy pol\nWHERE pol.polrelid = '16386' ORDER BY 1;",
        None,
    ),
    (
        "psql \\d name: publications",
        "SELECT pubname\n     , NULL\n     , NULL\nFROM pg_catalog.pg_publication p\n     JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid\n     JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid\nWHERE pc.oid ='16386' and pg_catalog.pg_relation_is_publishable('16386')\nUNION\nSELECT pubname\n     , pg_get_expr(pr.prqual, c.oid)\n     , (CASE WHEN pr.prattrs IS NOT NULL THEN\n         (SELECT string_agg(attname, ', ')\n           FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s,\n                pg_catalog.pg_attribute\n          WHERE attrelid = pr.prrelid AND attnum = prattrs[s])\n        ELSE NULL END) FROM pg_catalog.pg_publication p\n     JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid\n     JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid\nWHERE pr.prrelid = '16386'\nUNION\nSELECT pubname\n     , NULL\n     , NULL\nFROM pg_catalog.pg_publication p\nWHERE p.puballtables AND pg_catalog.pg_relation_is_publishable('16386')\nORDER BY 1;",
        None,
    ),
    (
        "pgjdbc getPrimaryKeys",
        "SELECT result.TABLE_CAT AS \"TABLE_CAT\", result.COLUMN_NAME AS \"COLUMN_NAME\", result.KEY_SEQ AS \"KEY_SEQ\" FROM (SELECT current_database() AS TABLE_CAT, a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM, i.indnkeyatts as KEY_COUNT FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid) WHERE true AND ct.relname = 'orders' AND i.indisprimary ) result where result.A_ATTNUM = (result.KEYS).x AND result.KEY_SEQ <= KEY_COUNT ORDER BY result.key_seq",
        None,
    ),
    (
        "pgjdbc getProcedures",
        "SELECT current_database() AS \"PROCEDURE_CAT\", n.nspname AS \"PROCEDURE_SCHEM\", p.proname AS \"PROCEDURE_NAME\", NULL, NULL, NULL, d.description AS \"REMARKS\", 2 AS \"PROCEDURE_TYPE\", p.proname || '_' || p.oid AS \"SPECIFIC_NAME\" FROM pg_catalog.pg_namespace n, pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_description d ON (p.oid=d.objoid) WHERE p.pronamespace=n.oid AND p.prokind='p' AND p.proname LIKE 'x' ORDER BY \"PROCEDURE_SCHEM\", p.oid::text",
        None,
    ),
    (
        "SQLAlchemy get_indexes",
        "SELECT idx_attr.indexrelid AS indexrelid, array_agg(idx_attr.element ORDER BY idx_attr.ord) AS elements FROM (SELECT idx.indexrelid AS indexrelid, idx.ord AS ord, CASE WHEN (idx.attnum = 0) THEN pg_catalog.pg_get_indexdef(idx.indexrelid, idx.ord + 1, true) ELSE CAST(pg_catalog.pg_attribute.attname AS TEXT) END AS element FROM (SELECT pg_catalog.pg_index.indexrelid AS indexrelid, pg_catalog.pg_index.indrelid AS indrelid, unnest(pg_catalog.pg_index.indkey) AS attnum, unnest(pg_catalog.pg_index.indclass) AS att_opclass, generate_subscripts(pg_catalog.pg_index.indkey, 1) AS ord FROM pg_catalog.pg_index WHERE NOT pg_catalog.pg_index.indisprimary AND pg_catalog.pg_index.indrelid IN (20)) AS idx LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_attribute.attnum = idx.attnum AND pg_catalog.pg_attribute.attrelid = idx.indrelid) AS idx_attr GROUP BY idx_attr.indexrelid",
        None,
    ),
    (
        "DBeaver sizes",
        "select c.oid,pg_catalog.pg_total_relation_size(c.oid) as total_rel_size,pg_catalog.pg_relation_size(c.oid) as rel_size\nFROM pg_class c\nWHERE c.oid='orders'::regclass",
        Some("0"),
    ),
    ("names of objects", "SELECT 'public.orders'::regclass::text, 25::regtype::text", Some("orders")),
    (
        "Metabase columns",
        "SELECT FORMAT('%s', c.udt_name) AS \"database-type\", COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST(c.table_schema AS TEXT), CAST(c.table_name AS TEXT)) AS REGCLASS) AS OID), c.ordinal_position) AS \"field-comment\" FROM \"information_schema\".\"columns\" AS c WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND c.table_name = 'orders'",
        Some("timestamptz"),
    ),
    (
        "Metabase foreign keys",
        "SELECT fk_column.attname FROM pg_constraint AS c INNER JOIN pg_attribute AS fk_column ON c.conrelid = fk_column.attrelid WHERE (c.contype = 'f'::char) AND (fk_column.attnum = ANY(c.conkey))",
        None,
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

/// Grafana asks for the columns of a table on the search path, and lists tables beside it with their schemas.
#[tokio::test]
async fn tables_are_told_apart_by_the_search_path() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let on_path = "quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END \
                   FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), \
                   array_upper(string_to_array(current_setting('search_path'),','),1)) as i, \
                   string_to_array(current_setting('search_path'),',') s)";
    let columns = format!(
        "SELECT quote_ident(column_name) AS \"column\" FROM information_schema.columns \
         WHERE CASE WHEN array_length(parse_ident('orders'),1) = 2 THEN false \
         ELSE quote_ident(table_name) = 'orders' AND {on_path} END"
    );
    assert_eq!(client.rows(&columns).await.len(), 8);
    let tables = format!(
        "SELECT CASE WHEN {on_path} THEN table_name ELSE table_schema || '.' || table_name END AS \"table\" \
         FROM information_schema.tables ORDER BY CASE WHEN {on_path} THEN 0 ELSE 1 END, 1"
    );
    let tables = client.rows(&tables).await;
    assert_eq!(tables[0], [Some("orders".into())]);
    assert!(tables.contains(&vec![Some("system.queries".into())]), "{tables:?}");
}

/// Nobody may write, so no tool need offer it.
#[tokio::test]
async fn privileges_are_those_of_a_reader() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let sql = "SELECT has_table_privilege('orders', 'SELECT'), has_table_privilege('alice', 'orders', 'insert'), \
               has_schema_privilege(11, 'USAGE'), has_any_column_privilege('orders', 'UPDATE, SELECT')";
    let cell = |text: &str| Some(text.to_owned());
    assert_eq!(client.rows(sql).await, [[cell("t"), cell("f"), cell("t"), cell("t")]]);
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
        ("id", "bigint", "t"),
        ("city", "text", "f"),
        ("price", "numeric(10,2)", "f"),
        ("at", "timestamp with time zone", "f"),
        ("tags", "text[]", "f"),
        ("ref", "uuid", "f"),
        ("body", "json", "f"),
        ("itemCount", "integer", "f"),
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
