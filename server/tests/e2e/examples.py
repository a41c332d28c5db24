"""What people type with curl, and without a header (it says that a body is a form): what must be in the answer.

The test runs each with `bash` against a table `orders` of 1,000 rows, after putting its own address in the place of
http://127.0.0.1:8099. What the README says to type is in test_readme.py.
"""

EXAMPLES = [
    # A question, a JSON answer.
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT city, count(*) AS n FROM orders GROUP BY city ORDER BY n DESC, city LIMIT 3"}'""",
        '"columns":[{"name":"city","type":"STRING"},{"name":"n","type":"LONG"}]',
    ),
    # The same as plain text, and as a link.
    (
        """curl -s http://127.0.0.1:8099/sql -H 'content-type: text/plain' -d 'SELECT count(*) FROM orders'""",
        '"rows":[[1000]]',
    ),
    ("""curl -s 'http://127.0.0.1:8099/sql?q=SELECT%20count(*)%20FROM%20orders'""", '"rows":[[1000]]'),
    # Parameters are values, never text inside the statement.
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT count(*) FROM orders WHERE city = $1 AND id < $2", "parameters": ["Berlin", 100]}'""",
        '"rows":[[25]]',
    ),
    # Formats: json, ndjson, csv, arrow.
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT id, city FROM orders ORDER BY id LIMIT 2", "format": "ndjson"}'""",
        '{"id":0,"city":"Berlin"}',
    ),
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT id, city FROM orders ORDER BY id LIMIT 2", "format": "csv"}'""",
        "id,city",
    ),
    # Limits: a deadline in milliseconds, and a row cap that is an error and never cuts an answer short.
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT * FROM orders", "deadline_ms": 5000, "rows_max": 10}'""",
        '"kind":"rows_exceeded"',
    ),
    # Where a row came from.
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT $partition, max($offset) AS newest FROM orders GROUP BY $partition ORDER BY 1"}'""",
        '"newest"',
    ),
    # How far every partition is, and what could not be decoded.
    (
        """curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT partition, state, committed_offset, visible_offset, lag FROM system.partitions"}'""",
        '"live"',
    ),
    ("""curl -s http://127.0.0.1:8099/sql -d '{"sql": "SELECT count(*) FROM system.dead_letters"}'""", '"rows":[[0]]'),
    # Tables.
    ("""curl -s http://127.0.0.1:8099/tables""", '"orders"'),
    ("""curl -s -X POST http://127.0.0.1:8099/tables/orders/pause""", '"paused":true'),
    ("""curl -s -X POST http://127.0.0.1:8099/tables/orders/resume""", '"paused":false'),
    ("""curl -s -X POST http://127.0.0.1:8099/tables/orders/seal""", '"segments"'),
    # Operation.
    ("""curl -s http://127.0.0.1:8099/healthz""", "ok"),
    ("""curl -s http://127.0.0.1:8099/metrics | grep headwater_partition_visible_offset""", 'table="orders"'),
    # What Pinot's clients send.
    (
        """curl -s http://127.0.0.1:8099/query/sql -d '{"sql": "SELECT count(*) FROM orders"}'""",
        '"rows":[[1000]]',
    ),
]
