//! What a session holds, and for how long: settings, cursors, answers that nobody fetches, descriptions; and what it makes of
//! texts without a type.

use super::messages::until_running;
use super::*;

/// What the client is told of its settings.
fn told(replies: &[Reply]) -> Vec<String> {
    let statuses = replies.iter().filter(|(kind, _)| *kind == b'S');
    statuses
        .map(|(_, body)| String::from_utf8_lossy(body).trim_end_matches('\0').replace('\0', "="))
        .collect()
}

async fn shown(client: &mut Client, setting: &str) -> String {
    client.rows(&format!("SHOW {setting}")).await[0][0].clone().unwrap()
}

#[tokio::test]
async fn settings_go_back_at_the_end_of_a_transaction() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.query("SET application_name = 'before'").await;

    client.query("BEGIN").await;
    assert_eq!(told(&client.query("SET application_name = 'inside'").await), ["application_name=inside"]);
    client.query("SET statement_timeout = 5000").await;
    let replies = client.query("ROLLBACK").await;
    assert_eq!(told(&replies), ["application_name=before"]);
    assert_eq!(shown(&mut client, "statement_timeout").await, "0");

    // What is set for the transaction alone goes back in any case; what is set in it stays.
    client.query("BEGIN").await;
    client.query("SET application_name = 'stays'").await;
    client.query("SET LOCAL application_name = 'goes'").await;
    client.query("SET LOCAL statement_timeout = 7000").await;
    assert_eq!(shown(&mut client, "statement_timeout").await, "7000");
    let replies = client.query("COMMIT").await;
    assert_eq!(
        (told(&replies), tag_of(&replies)),
        (vec!["application_name=stays".to_owned()], "COMMIT".to_owned())
    );
    assert_eq!(shown(&mut client, "statement_timeout").await, "0");

    // A failed one is rolled back, also by COMMIT; and savepoints have settings of their own.
    client.query("BEGIN").await;
    client.query("SET application_name = 'one'").await;
    client.query("SAVEPOINT a").await;
    client.query("SET application_name = 'two'").await;
    client.query("SELECT nope").await;
    assert_eq!(told(&client.query("ROLLBACK TO a").await), ["application_name=one"]);
    client.query("SELECT nope").await;
    assert_eq!(told(&client.query("COMMIT").await), ["application_name=stays"]);

    // Several statements of one message are a transaction.
    let replies = client.query("SET application_name = 'never'; SELECT nope").await;
    assert_eq!(told(&replies), ["application_name=never", "application_name=stays"]);
    assert!(told(&client.query("SET application_name = 'kept'; SELECT 1").await).len() == 1);
    assert_eq!(shown(&mut client, "application_name").await, "kept");
    // Outside of one there is nothing to go back from.
    let replies = client.query("SET LOCAL application_name = 'no'").await;
    assert_eq!(
        (kinds(&replies).as_str(), shown(&mut client, "application_name").await.as_str()),
        ("NCZ", "kept")
    );

    assert_eq!(told(&client.query("RESET ALL").await), ["application_name"]);
    client.query("SET application_name = 'again'").await;
    assert_eq!(told(&client.query("DISCARD ALL").await), ["application_name"]);
}

#[tokio::test]
async fn only_held_cursors_outlive_their_transaction() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let rows = "FOR SELECT * FROM generate_series(1, 5)";
    assert_eq!(code_of(&client.query(&format!("DECLARE c CURSOR {rows}")).await), "25P01");
    // Several statements of one message are a transaction.
    let replies = client.query(&format!("DECLARE c CURSOR {rows}; FETCH 2 FROM c")).await;
    assert_eq!(replies.iter().filter(|(kind, _)| *kind == b'D').count(), 2, "{:?}", error_of(&replies));
    assert_eq!(code_of(&client.query("FETCH c").await), "34000");

    client.query("BEGIN").await;
    client.query(&format!("DECLARE plain CURSOR {rows}")).await;
    client.query(&format!("DECLARE held CURSOR WITH HOLD {rows}")).await;
    assert_eq!(client.rows("FETCH held").await, [[Some("1".into())]]);
    client.query("COMMIT").await;
    assert_eq!(client.rows("FETCH held").await, [[Some("2".into())]]);
    assert_eq!(code_of(&client.query("FETCH plain").await), "34000");
    // It outlives the failure of others, not of its own.
    client.query("BEGIN").await;
    client.query(&format!("DECLARE lost CURSOR WITH HOLD {rows}")).await;
    client.query("ROLLBACK").await;
    assert_eq!(code_of(&client.query("FETCH lost").await), "34000");
    assert_eq!(client.rows("FETCH held").await, [[Some("3".into())]]);
    client.query(&format!("DECLARE alone CURSOR WITH HOLD {rows}")).await;
    assert_eq!(client.rows("FETCH alone").await, [[Some("1".into())]]);
    client.query("CLOSE ALL").await;
    assert_eq!(code_of(&client.query("FETCH held").await), "34000");
    until_running(&server, 0).await;
}

#[tokio::test]
async fn an_answer_that_nobody_fetches_ends_at_its_deadline() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.query("SET statement_timeout = '2s'").await;
    // One waits for room between it and its client, the other has handed over all it has.
    for rows in [900_000_000, 20_000] {
        client.query("BEGIN").await;
        client.parse("", &format!("SELECT value FROM generate_series(1, {rows})"), &[]).await;
        client.bind("p", "", 0, &[], 0).await;
        client.execute("p", 10).await;
        let replies = client.sync().await;
        assert!(kinds(&replies).ends_with("sZ"), "{:?}", error_of(&replies));
        assert_eq!(server.state.engine.running(), 1);
        until_running(&server, 0).await;
        client.execute("p", 0).await;
        assert_eq!(code_of(&client.sync().await), "57014", "{rows}");
        client.query("ROLLBACK").await;
    }
}

#[tokio::test]
async fn descriptions_count_for_what_a_client_may_hold() {
    let limits = PostgresLimits { message_bytes_max: 10_000, ..PostgresLimits::default() };
    let server = server_with(Arc::new(OpenAccess), limits).await;
    let mut client = Client::start(&server).await;
    for (name, sql, expected) in [
        ("a", "SELECT $2000", "54000"),
        ("b", "SELECT $500", ""),
        // It was kept, and takes the place of no other.
        ("b", "", ""),
        ("c", "SELECT $500", ""),
        ("d", "SELECT $500", "54000"),
    ] {
        if !sql.is_empty() {
            client.parse(name, sql, &[]).await;
        }
        client.send(b'D', &text(&format!("S{name}"))).await;
        let replies = client.sync().await;
        assert_eq!(code_of(&replies), expected, "{name} {sql}: {:?}", error_of(&replies));
    }
}

#[tokio::test]
async fn texts_take_the_type_of_their_place() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    type Case<'a> = (&'a str, &'a [&'a [u8]], Result<&'a str, &'a str>);
    let cases: [Case<'_>; 11] = [
        ("SELECT 'Rome' = ANY($1::text[])", &[b"{Berlin,Rome}"], Ok("t")),
        ("SELECT 'Rome' = ANY($1)", &[b"{Berlin,\"New York\"}"], Ok("f")),
        (
            "SELECT count(*) FROM orders WHERE city = ANY($1) AND \"itemCount\" = ANY($2)",
            &[b"{a}", b"{1,2}"],
            Ok("0"),
        ),
        (
            "SELECT count(*) FROM orders WHERE at >= $1 AND at < $1 + INTERVAL '1 day'",
            &[b"2026-01-02"],
            Ok("0"),
        ),
        ("SELECT count(*) FROM orders WHERE city = $1 OR upper(city) = $1", &[b"x"], Ok("0")),
        ("SELECT count(*) FROM orders WHERE at = $1", &[b"2026-01-02 10:00"], Ok("0")),
        ("SELECT $1::DATE", &[b"2026-01-02 +00"], Ok("2026-01-02")),
        ("SELECT value FROM generate_series(1, 9) LIMIT $1 OFFSET $2", &[b"1", b"4"], Ok("5")),
        ("SELECT $1::DATE", &[b"soon"], Err("22P02")),
        ("SELECT count(*) FROM orders WHERE \"itemCount\" = $1", &[b"x"], Err("22P02")),
        ("SELECT count(*) FROM orders WHERE \"itemCount\" = ANY($1)", &[b"1,2"], Err("22P02")),
    ];
    for (sql, values, expected) in cases {
        client.parse("", sql, &[]).await;
        client.bind("", "", 0, values, 0).await;
        client.execute("", 0).await;
        let replies = client.sync().await;
        let row = replies.iter().find(|(kind, _)| *kind == b'D').and_then(|(_, body)| cells(body)[0].clone());
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(row.ok_or_else(|| code_of(&replies)), expected, "{sql}");
    }
}

#[tokio::test]
async fn parameters_are_described_by_every_place() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let cases: [(&str, &[u32]); 5] = [
        ("SELECT $1::bigint, $2::text[]", &[20, 1009]),
        ("SELECT city FROM orders WHERE city = ANY($1) LIMIT $2", &[1009, 20]),
        ("SELECT city FROM orders WHERE at >= $1 AND at < $1 + INTERVAL '1 day'", &[1184]),
        ("SELECT city FROM orders WHERE city = $1 OR upper(city) = $1", &[25]),
        ("SELECT $1", &[25]),
    ];
    for (sql, expected) in cases {
        client.parse("", sql, &[]).await;
        client.send(b'D', b"S\0").await;
        let replies = client.sync().await;
        assert_eq!(kinds(&replies), "1tTZ", "{sql}: {:?}", error_of(&replies));
        let oids: Vec<u32> =
            replies[1].1[2..].chunks(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap())).collect();
        assert_eq!(oids, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_copy_is_one_stream_of_rows() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let copy =
        "COPY (SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 'x' ORDER BY 1) TO STDOUT (FORMAT csv, HEADER)";
    let replies = client.query(&format!("{copy}; SELECT 3")).await;
    assert_eq!(kinds(&replies), "HdddcCTDCZ");
    assert_eq!(replies[0].1, [0, 0, 2, 0, 0, 0, 0]);
    let lines: Vec<&[u8]> = replies[1..4].iter().map(|(_, line)| line.as_slice()).collect();
    assert_eq!(lines, [b"a,b\n".as_slice(), b"1,\n", b"2,x\n"]);
    assert_eq!(tag_of(&replies[..6]), "COPY 2");
    // No rows are described: they come as a copy.
    client.parse("", "COPY (SELECT 1) TO STDOUT (FORMAT binary)", &[]).await;
    client.bind("", "", 0, &[], 0).await;
    client.send(b'D', &[b"P".as_slice(), &text("")].concat()).await;
    client.execute("", 1).await;
    assert_eq!(kinds(&client.sync().await), "12nHddcCZ");
    // What fails on the way ends it.
    let failing = "COPY (SELECT 1 / (value - 5000) FROM generate_series(1, 9000)) TO STDOUT";
    let replies = client.query(failing).await;
    assert_eq!((code_of(&replies).as_str(), kinds(&replies).contains('c')), ("22012", false));
    assert_eq!(kinds(&client.query("SELECT 1").await), "TDCZ");
}

#[tokio::test]
async fn a_row_that_would_take_all_memory_is_refused() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let columns: Vec<String> = (0..270).map(|at| format!("body AS a{at}")).collect();
    let sql = format!("SELECT {} FROM (SELECT repeat('x', 1000000) AS body)", columns.join(", "));
    for sql in [sql.clone(), format!("COPY ({sql}) TO STDOUT BINARY")] {
        let replies = client.query(&sql).await;
        let fields = error_of(&replies).unwrap_or_else(|| panic!("{sql}: {}", kinds(&replies)));
        assert!(fields[&'M'].contains("longer than 256 MiB"), "{sql}: {fields:?}");
        assert!(!kinds(&replies).contains(['D', 'd']), "{sql}");
    }
    assert_eq!(client.rows("SELECT 1").await, [[Some("1".into())]]);
    for (bytes, expected) in [(1024, ""), (1025, "22023")] {
        let sql = format!("COPY (SELECT NULL) TO STDOUT (NULL '{}')", "x".repeat(bytes));
        assert_eq!(code_of(&client.query(&sql).await), expected, "{bytes}");
    }
}

#[tokio::test]
async fn the_query_of_a_copy_counts_for_what_a_client_may_hold() {
    let limits = PostgresLimits { message_bytes_max: 10_000, ..PostgresLimits::default() };
    let server = server_with(Arc::new(OpenAccess), limits).await;
    let mut client = Client::start(&server).await;
    let of = |bytes| format!("SELECT '{}'", "x".repeat(bytes));
    for (name, sql, expected) in
        [("a", format!("COPY ({}) TO STDOUT", of(8000)), ""), ("b", of(4000), "54000"), ("c", of(2000), "")]
    {
        client.parse(name, &sql, &[]).await;
        assert_eq!(code_of(&client.sync().await), expected, "{name}");
    }
}
