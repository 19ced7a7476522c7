"""`audit` and `/ready` on a running stack: clean while events keep coming, what other hands changed is named, an outage is an alarm that goes."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import clickhouse_connect
import msgspec
import pytest

from tests.system import wire
from tests.system.conftest import NAMED, guarded, take_down
from tests.system.traffic import Message, event, rfc3339, usage
from tests.system.wire import EVENTS
from tests.system.world import World
from topics.catalog import WINDOWS
from topics.codec import encode
from topics.window_total import WindowTotal, decode_window_total

pytestmark = pytest.mark.system
ALARMS = '[alarms]\nundelivered = "2s"\nstandstill = "3s"\n'
GUARD_S = 90.0


class Watched(World):
    """A stack whose workers raise their alarms within seconds."""

    def write_config(self) -> None:
        """The file, with short limits."""
        super().write_config()
        self.config.write_text(ALARMS + self.config.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A stack of two meters with one customer who is billed since two hours ago."""
    made = Watched(tmp_path_factory.mktemp("audited") / "stack", seed=4)
    with guarded(made.directory):
        made.up()
        made.bind(NAMED, ("api_calls", "tokens"), int(time.time()) - 7200, kind="named")
        made.apply()
        yield made
        take_down(made)


def messages(world: World, prefix: str, count: int) -> list[Any]:
    """Usage of several customers, none of it from the future."""
    return list(usage(world.rng, prefix, (NAMED, "globex", "initech"), count, time.time() - 5))


def test_a_stack_is_clean_while_events_keep_coming(watched: Watched) -> None:
    """Audits that run while events are produced, to all partitions and wrong ones, find no difference."""
    watched.send(messages(watched, "before", 400))
    stop = threading.Event()

    def go_on() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            watched.send(messages(watched, f"on-{number}", 60), librdkafka=number % 2 == 0)
            time.sleep(0.2)

    producing = threading.Thread(target=go_on)
    producing.start()
    try:
        found = [watched.command.json("audit") for _ in range(2)]
    finally:
        stop.set()
        producing.join()
    for each in found:
        assert (each["clean"], each["differences"]) == (True, [])
        assert all(line["recounted"] == line["table"] for line in each["partitions"])
    counted = [sum(line["recounted"]["counted"] for line in each["partitions"]) for each in found]
    assert 0 < counted[0] <= counted[1]


def test_a_settled_stack_is_clean_and_all_of_it_is_compared(watched: Watched) -> None:
    """Once settled, every record of the log, every row, verdict and revision is compared, nothing is left out, and a person reads so."""
    watched.command.run("settle", "--close")
    found = watched.command.json("audit")
    status = {line["partition"]: line for line in watched.command.json("status")["partitions"]}
    log = wire.read_log(watched.bootstrap, EVENTS)
    assert (found["clean"], found["unchecked"], found["ids"]) == (True, [], [])
    for line in found["partitions"]:
        held, checked = status[line["partition"]], line["checked"]
        records = sum(record.partition == line["partition"] for record in log.records)
        assert (line["next_offset"], line["residual"], line["archived_to"]) == (held["next_offset"], 0, held["next_offset"])
        assert (checked["log_records"], checked["raw_rows"], checked["copy_records"]) == (records, records, 0)
        assert line["table"]["counted"] == held["counted"]
        assert checked["view_windows"] == checked["windows"] == checked["rows"]
        assert checked["rerouted"] == held["rerouted"]
    assert sum(line["checked"]["rerouted"] for line in found["partitions"]) > 0
    shown = watched.command.run("audit", "--customer", NAMED)
    assert "every number is the same" in shown.stdout
    assert "counting offsets 0 to" in shown.stderr


def test_an_amended_event_is_set_again_at_the_provider(watched: Watched) -> None:
    """A set and then a void of one event reach Stripe, both with who and why; said twice it is done once; every account still agrees."""
    item, sent = watched.bound[NAMED, "tokens"].item, event(NAMED, "typo", "llm.request", '{"tokens": 5000}', rfc3339(time.time() - 90))
    before = watched.provider.usage(item)
    watched.send([Message(NAMED.encode(), sent)])
    watched.command.run("settle", "--close")
    assert watched.provider.usage(item) == before + 5000
    set_to = ("amend", "set", "typo", "7", "--reason", "grams, not tokens", "--who", "ann")
    would = watched.command.json(*set_to, "--dry-run")
    assert (would["state"], [window["difference"] for window in would["windows"]]) == ("dry run", ["-4993"])
    assert watched.command.json("amend", "list") == []
    assert watched.command.json(*set_to)["state"] == "applied"
    watched.command.run("settle", "--close")
    assert watched.provider.usage(item) == before + 7
    void = ("amend", "void", "typo", "--customer", NAMED, "--reason", "sent by a test")
    assert "amended before: set by ann" in watched.command.run(*void).stdout
    watched.command.run("settle", "--close")
    assert watched.provider.usage(item) == before
    again = watched.command.json(*void)
    assert (again["state"], again["amendment"], len(again["event"]["history"])) == ("unchanged", None, 2)
    listed = watched.command.json("amend", "list", "--customer", NAMED)
    assert [(row["kind"], row["event"], row["difference"], row["state"], row["reason"]) for row in listed] == [
        ("void", "typo", "-7", "applied", "sent by a test"),
        ("set", "typo", "-4993", "applied", "grams, not tokens"),
    ]
    rows = watched.rows("SELECT toString(quantity) AS q, amends FROM usage_events WHERE event_id = 'typo' OR amends = 'typo' ORDER BY kafka_offset")
    assert [(row["q"], row["amends"]) for row in rows] == [("5000", ""), ("-4993", "typo"), ("-7", "typo")]
    assert "the archive has no event 'nobody'" in watched.command.run("amend", "void", "nobody", "--reason", "a test", expect=1).stderr
    watched.command.run("amend", "void", "typo", "--reason", " ", expect=2)
    assert "takes no negative quantities" in watched.command.run("amend", "set", "typo", "-7", "--reason", "a test", expect=2).stderr
    watched.command.run("settle")
    found = watched.command.json("audit")
    assert (found["clean"], found["differences"]) == (True, [])


def ready(world: World, name: str) -> tuple[int, str]:
    """What a worker's `/ready` says."""
    process = world.state.process(name)
    try:
        with urllib.request.urlopen(f"{process.http}/ready", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(says: Callable[[], bool], what: str) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + GUARD_S
    while not says():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_a_provider_outage_is_an_alarm_that_ends_by_itself(watched: Watched) -> None:
    """While Stripe answers 503 the report's /ready says so after the limit, with the reason, it is not restarted, and it comes back alone."""
    pid = watched.state.process("report").pid
    until(lambda: ready(watched, "report") == (200, "ready\n"), "the report never was ready")
    watched.provider.control("faults", {"seed": 1, "rates": {"503": 1.0}, "only": "usage_records"})
    try:
        watched.send(messages(watched, "outage", 200))
        watched.command.run("settle", "--close", "--timeout", "1", expect=1)
        until(lambda: ready(watched, "report")[0] == 503, "the report never said that it is stuck")
        _, reason = ready(watched, "report")
        assert "windows are undelivered, the oldest for" in reason
        assert "(limit 2s)" in reason
        until(lambda: "has not answered" in ready(watched, "report")[1], "the report never said that the provider is silent")
        status = watched.command.json("status")
        assert any(alarm.startswith("report: ") and "undelivered" in alarm for alarm in status["alarms"])
        assert "not ready: report:" in watched.command.run("status").stdout
        with urllib.request.urlopen(f"{watched.state.process('report').http}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert "\ntidemark_ready 0.0" in text
        assert "\ntidemark_oldest_undelivered_seconds 0.0" not in text
    finally:
        watched.provider.control("faults", {"seed": 1, "rates": {}})
    until(lambda: ready(watched, "report")[0] == 200, "the report is stuck for ever")
    assert watched.state.process("report").pid == pid
    watched.command.run("settle")


def test_an_archive_that_cannot_write_says_so_until_it_can(watched: Watched) -> None:
    """While ClickHouse answers nothing the archive's /ready says that records wait and since when; the billing goes on, and it comes back alone."""
    engine, archive = watched.state.process("clickhouse").pid, watched.state.process("archive").pid
    assert engine is not None
    os.kill(engine, signal.SIGSTOP)
    try:
        watched.send(messages(watched, "frozen", 100))
        until(lambda: ready(watched, "archive")[0] == 503, "the archive never said that it stands still")
        assert re.search(r"partition \d: \d+ records wait and nothing has been done for \w+, since", ready(watched, "archive")[1])
        until(lambda: ready(watched, "meter-0")[0] == ready(watched, "meter-1")[0] == 200, "the meters wait for ClickHouse")
    finally:
        with suppress(ProcessLookupError):  # on a machine so busy that the supervisor took it for dead
            os.kill(engine, signal.SIGCONT)
    until(lambda: ready(watched, "archive")[0] == 200, "the archive stands still for ever")
    assert watched.state.process("archive").pid == archive
    watched.command.run("settle")
    assert watched.command.json("audit")["clean"]


def forged(world: World) -> WindowTotal:
    """A total that nobody counted, under a revision that no event made, written to usage.windows."""
    record = next(one for one in wire.read_log(world.bootstrap, WINDOWS).records if NAMED.encode() in (one.key or b""))
    total = msgspec.structs.replace(decode_window_total(record.value, "test"), quantity="424242", through_offset=0)
    with_kafka(world, record.key or b"", encode(total), record.partition)
    return total


def with_kafka(world: World, key: bytes, value: bytes, partition: int) -> None:
    """One record to usage.windows, as any client could write it."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": world.bootstrap})
    producer.produce(WINDOWS, value=value, key=key, partition=partition, headers=[("closed_at_ms", b"1")])
    assert producer.flush(GUARD_S) == 0


def test_what_other_hands_changed_is_named(watched: Watched) -> None:
    """A forged total on usage.windows and a row deleted from raw_events are named with partition, customer, window and offset; exit code 1."""
    total = forged(watched)
    watched.command.run("settle")
    found = watched.command.json("audit", expect=1)
    assert not found["clean"]
    wanted = {"kind": "revision", "partition": total.partition, "customer": NAMED, "meter": total.meter, "start": total.start, "offset": 0}
    assert {"usage.windows", "ClickHouse (window_revisions)"} == {next(iter(one["numbers"])) for one in found["differences"]}
    for one in found["differences"]:
        assert {name: one[name] for name in wanted} == wanted
        assert any("424242" in number for number in one["numbers"].values())
    (gone,) = watched.rows("SELECT kafka_partition AS p, kafka_offset AS o, customer AS c FROM usage_events WHERE verdict = 'counted' LIMIT 1")
    with clickhouse_connect.get_client(dsn=f"{watched.state.clickhouse_url}/tidemark") as client:
        chosen = f"kafka_partition = {gone['p']} AND kafka_offset = {gone['o']}"
        client.command(f"ALTER TABLE raw_events DELETE WHERE {chosen} SETTINGS mutations_sync = 1")
    found = watched.command.json("audit", "--partition", str(gone["p"]), expect=1)
    (row,) = [one for one in found["differences"] if one["kind"] == "raw"]
    assert (row["partition"], row["offset"], row["customer"]) == (gone["p"], gone["o"], gone["c"])
    shown = watched.command.run("audit", "--partition", str(gone["p"]), expect=1).stdout
    assert f"partition {gone['p']}, offset {gone['o']}, customer {gone['c']}" in shown
    assert "a row of raw_events was deleted" in shown
    assert watched.command.run("audit", "--no-archive", "--partition", str((total.partition + 1) % 4)).stdout.count("not checked") == 1
