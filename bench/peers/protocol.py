"""The driver's end of the lines of JSON that a contest speaks (see bench/src/engines/mod.rs).

A driver is an object with `version`, `load() -> (rows, bytes on disk)`, `open()`, `query(sql) -> (seconds, rows)` and
`client() -> function(sql)`, one such function for each client of its own.
"""

import datetime
import decimal
import json
import sys
import threading
import time


def scalar(value):
    """A value as the contest compares it."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value


def clients(driver, statements, count, seconds):
    """Runs the statements in turn from `count` threads until the time is over."""
    asks = [driver.client() for _ in range(count)]
    latencies_ms, errors = [[] for _ in asks], [0] * count
    began = time.perf_counter()

    def run(number):
        turn = number
        while time.perf_counter() - began < seconds:
            asked = time.perf_counter()
            try:
                asks[number](statements[turn % len(statements)])
                latencies_ms[number].append((time.perf_counter() - asked) * 1e3)
            except Exception:
                errors[number] += 1
            turn += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    return {"latencies_ms": sum(latencies_ms, []), "seconds": elapsed, "errors": sum(errors)}


def answer(driver, request):
    operation = request["op"]
    if operation == "load":
        began = time.perf_counter()
        rows, bytes_on_disk = driver.load()
        return {"rows": rows, "seconds": time.perf_counter() - began, "bytes_on_disk": bytes_on_disk}
    if operation == "open":
        driver.open()
        return {}
    if operation == "query":
        seconds, rows = driver.query(request["sql"])
        return {"seconds": seconds, "rows": [[scalar(value) for value in row] for row in rows]}
    if operation == "clients":
        return clients(driver, request["statements"], request["clients"], request["seconds"])
    raise ValueError(f"no such operation: {operation}")


def serve(start):
    """Answers requests until standard input ends. The answers have standard output for themselves."""
    out, sys.stdout = sys.stdout, sys.stderr
    driver = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "start":
                driver = start(request)
                reply = {"version": driver.version}
            else:
                reply = answer(driver, request)
        except Exception as error:
            reply = {"error": str(error)}
        out.write(json.dumps(reply) + "\n")
        out.flush()
    if driver is not None:
        driver.close()
