//! Messages and what they are answered with.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::access::Admitted;

pub(super) async fn cancel(server: &Arc<Server>, key: &[u8]) {
    let mut other = Client::connect(server, true);
    other.raw(&[&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), key].concat()).await;
    assert!(other.receive().await.is_none());
}

pub(super) async fn until_running(server: &Server, count: usize) {
    let until = Instant::now() + Duration::from_secs(30);
    while server.state.engine.running() != count {
        assert!(Instant::now() < until, "{} queries run, not {count}", server.state.engine.running());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_client_is_told_what_it_needs_to_know() {
    let server = server().await;
    let mut client = Client::connect(&server, true);
    // Encryption is asked for, and there is none.
    client.raw(&[0, 0, 0, 8, 4, 210, 22, 47]).await;
    assert_eq!(client.io.read_u8().await.unwrap(), b'N');
    client.raw(&startup(&[("user", "alice"), ("database", "headwater"), ("client_encoding", "utf-8")])).await;
    let replies = client.until_ready().await;
    assert_eq!(replies[0], (b'R', vec![0; 4]));
    let told: Vec<String> = replies
        .iter()
        .filter(|(kind, _)| *kind == b'S')
        .map(|(_, body)| String::from_utf8_lossy(body).trim_end_matches('\0').replace('\0', "="))
        .collect();
    for expected in [
        "server_version=16.9",
        "server_encoding=UTF8",
        "client_encoding=UTF8",
        "DateStyle=ISO, MDY",
        "integer_datetimes=on",
        "standard_conforming_strings=on",
        "TimeZone=UTC",
        "session_authorization=alice",
    ] {
        assert!(told.iter().any(|status| status == expected), "{expected}: {told:?}");
    }
    assert!(kinds(&replies).ends_with("KZ") && status_of(&replies) == 'I');
    client.send(b'X', b"").await;
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn who_may_come_in() {
    let server = server_with(Arc::new(Guarded), PostgresLimits::default()).await;
    for (password, expected) in [("right", ""), ("hw_right", ""), ("wrong", "28P01"), ("hw_wrong", "28P01")] {
        let mut client = Client::connect(&server, true);
        client.raw(&startup(&[("user", "alice")])).await;
        assert_eq!(client.receive().await.unwrap(), (b'R', vec![0, 0, 0, 3]));
        client.send(b'p', &text(password)).await;
        let replies = client.until_ready().await;
        assert_eq!(code_of(&replies), expected, "{password}");
        if password == "hw_right" {
            assert_eq!(client.rows("SELECT session_user").await, [[Some("robot".into())]]);
        }
    }
    let mut far = Client::connect(&server, false);
    far.raw(&startup(&[("user", "alice")])).await;
    assert_eq!(code_of(&far.until_ready().await), "28000", "a password never travels in the clear");
    for (parameters, expected) in [
        (&[("database", "headwater")][..], "28000"),
        (&[("user", "a"), ("database", "other")], "3D000"),
        (&[("user", "a"), ("client_encoding", "LATIN1")], "0A000"),
        (&[("user", "a"), ("replication", "true")], "0A000"),
    ] {
        let mut client = Client::connect(&server, true);
        client.raw(&startup(parameters)).await;
        assert_eq!(code_of(&client.until_ready().await), expected, "{parameters:?}");
    }
}

/// As `Guarded`, until what it let in by counts no more.
struct Revocable(AtomicBool);

#[async_trait]
impl AccessControl for Revocable {
    fn is_open(&self) -> bool {
        false
    }

    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError> {
        Guarded.authenticate(credentials).await
    }

    fn stands(&self, admitted: &Admitted) -> bool {
        admitted.principal.name == "alice" && !self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_session_ends_when_its_password_counts_no_more() {
    let access = Arc::new(Revocable(AtomicBool::new(false)));
    let server = server_with(access.clone(), PostgresLimits::default()).await;
    let mut client = Client::start(&server).await;
    client.parse("kept", "SELECT 1", &[]).await;
    assert_eq!(kinds(&client.sync().await), "1Z");
    access.0.store(true, Ordering::Relaxed);
    // Nor does what was prepared before run once more.
    client.bind("", "kept", 0, &[], 0).await;
    let replies = client.until_ready().await;
    let fields = error_of(&replies).unwrap();
    assert_eq!(
        (kinds(&replies).as_str(), fields[&'S'].as_str(), fields[&'C'].as_str()),
        ("E", "FATAL", "28000")
    );
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn a_simple_query_has_several_statements() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let replies = client.query("SELECT 1 AS a; SELECT 'x', NULL;").await;
    assert_eq!(kinds(&replies), "TDCTDCZ");
    assert_eq!(cells(&replies[4].1), [Some("x".into()), None]);
    assert_eq!(kinds(&client.query(" ; -- nothing").await), "IZ");
    let replies = client.query("SELECT 1; SELECT nope; SELECT 2").await;
    assert_eq!(kinds(&replies), "TDCEZ", "what stands behind a failure is not run");
    assert_eq!(client.rows("SHOW server_version").await, [[Some("16.9".into())]]);
    assert_eq!(tag_of(&client.query("EXPLAIN SELECT 1").await), "EXPLAIN");
}

#[tokio::test]
async fn failures_have_code_position_and_hint() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    for (sql, code, at) in [
        ("SELECT 1; SELECT citi FROM orders", "42703", Some("citi")),
        ("SELECT * FROM order_s", "42P01", Some("order_s")),
        ("SELECT 'é' FROM orders WHERE )", "42601", Some(")")),
        ("INSERT INTO orders VALUES (1)", "25006", None),
        ("SELECT 1 / 0", "22012", None),
        ("COPY orders FROM STDIN", "25006", None),
        ("COPY (SELECT 'é', citi FROM orders) TO STDOUT", "42703", Some("citi")),
        ("COPY order_s TO STDOUT", "42P01", None),
        ("SELECT nope(1)", "42883", None),
    ] {
        let replies = client.query(sql).await;
        let fields = error_of(&replies).unwrap_or_else(|| panic!("{sql}"));
        assert_eq!(fields[&'C'], code, "{sql}: {fields:?}");
        if let Some(at) = at {
            let position: usize = fields[&'P'].parse().unwrap();
            assert!(sql.chars().skip(position - 1).collect::<String>().starts_with(at), "{sql}: {position}");
        }
    }
    let fields = error_of(&client.query("SELECT citi FROM orders").await).unwrap();
    assert!(fields[&'H'].contains("city"), "{fields:?}");
    let replies = client.query("SET headwater.rows_max = 10; SELECT * FROM generate_series(1, 11)").await;
    assert_eq!(code_of(&replies), "54000");
    assert!(error_of(&replies).unwrap()[&'H'].contains("headwater.rows_max"));
}

#[tokio::test]
async fn a_failed_transaction_only_ends() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    assert_eq!(status_of(&client.query("BEGIN").await), 'T');
    assert_eq!(status_of(&client.query("SELECT nope").await), 'E');
    assert_eq!(code_of(&client.query("SELECT 1").await), "25P02");
    let replies = client.query("COMMIT").await;
    assert_eq!((tag_of(&replies).as_str(), status_of(&replies)), ("ROLLBACK", 'I'));

    client.query("BEGIN; SAVEPOINT a").await;
    assert_eq!(status_of(&client.query("SELECT nope").await), 'E');
    assert_eq!(status_of(&client.query("ROLLBACK TO a").await), 'T');
    assert_eq!(tag_of(&client.query("COMMIT").await), "COMMIT");
    assert_eq!(code_of(&client.query("ROLLBACK TO a").await), "25P01");
}

#[tokio::test]
async fn statements_are_described_with_the_types_of_their_places() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    let sql = "SELECT id, price, at, tags, ref, body, city FROM orders WHERE at > $1 AND city = $2 AND \"itemCount\" < $3";
    client.parse("s", sql, &[0, 0, 20]).await;
    client.send(b'D', b"Ss\0").await;
    let replies = client.sync().await;
    assert_eq!(kinds(&replies), "1tTZ", "{:?}", error_of(&replies));
    let oids = |body: &[u8]| {
        body[2..].chunks(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(oids(&replies[1].1), [1184, 25, 20]);
    let mut fields = Vec::new();
    let mut rest = &replies[2].1[2..];
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let word = |at: usize| u32::from_be_bytes(rest[end + at..end + at + 4].try_into().unwrap());
        fields.push((String::from_utf8_lossy(&rest[..end]).into_owned(), word(7)));
        rest = &rest[end + 19..];
    }
    let expected = [
        ("id", 20),
        ("price", 1700),
        ("at", 1184),
        ("tags", 1009),
        ("ref", 2950),
        ("body", 114),
        ("city", 25),
    ];
    assert_eq!(fields, expected.map(|(name, oid)| (name.to_owned(), oid)));

    // What the client leaves open in binary is read as it was told.
    client.bind("", "s", 1, &[&0_i64.to_be_bytes(), b"Oslo", &1_i64.to_be_bytes()], 1).await;
    client.execute("", 0).await;
    let replies = client.sync().await;
    assert_eq!(kinds(&replies), "2CZ", "{:?}", error_of(&replies));
    assert_eq!(tag_of(&replies), "SELECT 0");
}

#[tokio::test]
async fn parameters_and_answers_in_both_formats() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.parse("", "SELECT $1 + 1, $2, $3 = ANY($4)", &[23, 25, 20, 1016]).await;
    client.bind("", "", 0, &[b"41", b"x", b"2", b"{1,2}"], 0).await;
    client.send(b'D', b"P\0").await;
    client.execute("", 0).await;
    let replies = client.sync().await;
    assert_eq!(kinds(&replies), "12TDCZ", "{:?}", error_of(&replies));
    assert_eq!(cells(&replies[3].1), [Some("42".into()), Some("x".into()), Some("t".into())]);

    client.parse("", "SELECT $1 * 2", &[0]).await;
    client.bind("", "", 0, &[b"21"], 1).await;
    client.execute("", 0).await;
    let replies = client.sync().await;
    assert_eq!(kinds(&replies), "12DCZ", "{:?}", error_of(&replies));
    assert_eq!(replies[2].1[6..], 42_i64.to_be_bytes());

    client.parse("", "SELECT $1", &[23]).await;
    client.bind("", "", 0, &[b"x"], 0).await;
    client.execute("", 0).await;
    let replies = client.sync().await;
    assert_eq!(
        (kinds(&replies).as_str(), code_of(&replies).as_str()),
        ("1EZ", "22P02"),
        "the rest is skipped"
    );
}

#[tokio::test]
async fn a_portal_is_fetched_in_pieces_in_constant_memory() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.query("BEGIN").await;
    // All of it would be some 18 GB.
    client.parse("", "SELECT value, repeat('x', 1000) FROM generate_series(1, 900000000)", &[]).await;
    client.bind("p", "", 0, &[], 0).await;
    client.query("SET headwater.rows_max = 1000000000").await;
    for _ in 0..3 {
        client.execute("p", 1000).await;
        let replies = client.sync().await;
        let rows = replies.iter().filter(|(kind, _)| *kind == b'D').count();
        assert_eq!(
            (rows, kinds(&replies[rows..]).trim_start_matches('2')),
            (1000, "sZ"),
            "{:?}",
            error_of(&replies)
        );
    }
    assert_eq!(server.state.engine.running(), 1);
    client.send(b'C', b"Pp\0").await;
    client.sync().await;
    until_running(&server, 0).await;
    client.query("COMMIT").await;

    client.query("BEGIN; DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 5)").await;
    assert_eq!(tag_of(&client.query("FETCH FORWARD 2 FROM c").await), "FETCH 2");
    assert_eq!(client.rows("FETCH c").await, [[Some("3".into())]]);
    assert_eq!(tag_of(&client.query("FETCH ALL FROM c").await), "FETCH 2");
    assert_eq!(tag_of(&client.query("CLOSE c").await), "CLOSE CURSOR");
    assert_eq!(code_of(&client.query("FETCH c").await), "34000");
}

#[tokio::test]
async fn a_query_is_cancelled_by_its_key_and_only_then() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.send(b'Q', &text(ENDLESS)).await;
    until_running(&server, 1).await;
    let mut wrong = client.key.clone();
    wrong[7] ^= 1;
    cancel(&server, &wrong).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.state.engine.running(), 1);
    cancel(&server, &client.key.clone()).await;
    let replies = client.until_ready().await;
    assert_eq!(code_of(&replies), "57014");
    until_running(&server, 0).await;
    assert_eq!(client.rows("SELECT 1").await, [[Some("1".into())]], "the session goes on");
    let replies = client.query("SET statement_timeout = '2s'; SELECT 1").await;
    assert!(error_of(&replies).is_none());
    assert_eq!(code_of(&client.query(ENDLESS).await), "57014");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.send(b'Q', &text(ENDLESS)).await;
    until_running(&server, 1).await;
    let left = Instant::now();
    drop(client);
    until_running(&server, 0).await;
    // It takes a few milliseconds; machines that run tests are busy.
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}

#[tokio::test]
async fn what_a_client_may_hold_is_bounded() {
    let limits = PostgresLimits {
        connections_max: 2,
        message_bytes_max: 10_000,
        statements_max: 3,
        portals_max: 2,
        idle_ms_max: 300,
        startup_ms_max: 200,
        ..PostgresLimits::default()
    };
    let server = server_with(Arc::new(OpenAccess), limits).await;
    let mut client = Client::start(&server).await;
    for name in ["a", "b", "c", "d"] {
        client.parse(name, "SELECT 1", &[]).await;
    }
    let replies = client.sync().await;
    assert_eq!((kinds(&replies).as_str(), code_of(&replies).as_str()), ("111EZ", "54000"));
    client.query("BEGIN").await;
    for name in ["p", "q", "r"] {
        client.bind(name, "a", 0, &[], 0).await;
    }
    assert_eq!(code_of(&client.sync().await), "54000");

    let mut second = Client::start(&server).await;
    let mut third = Client::connect(&server, true);
    third.raw(&startup(&[("user", "alice")])).await;
    assert_eq!(code_of(&third.until_ready().await), "53300");

    // Refused by its length, before a byte of it has come.
    second.raw(&[b'Q', 0x3f, 0xff, 0xff, 0xff]).await;
    assert_eq!(code_of(&second.until_ready().await), "08P01");
    assert!(second.receive().await.is_none());

    let mut silent = Client::connect(&server, true);
    let since = Instant::now();
    assert!(silent.receive().await.is_none());
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(code_of(&client.until_ready().await), "57P05", "idle for too long");
}

#[tokio::test]
async fn an_idle_session_ends_with_the_server() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    server.stop.cancel();
    assert_eq!(code_of(&client.until_ready().await), "57P01");
}
