"""`explain` of periods, lines and amounts on the engine: proof in one pass, money from a price, and evidence that a stranger's program recomputes."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from infra.cli import run
from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.evidence import events
from sinks.clickhouse.span import span
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, write_raw, write_topic
from tests.contract.test_archive_amendments import archived
from tests.contract.test_archive_explain import Story, cell
from tests.core.amend_world import FIRST, NOW_S, Bench, voided
from tests.core.meterlog import NOW_MS, Log, Stored, control, customers, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.catalog import DEFINITIONS, RECEIPTS, REJECTED, VERDICTS, WINDOWS
from topics.codec import encode
from topics.instants import format_s, parse_s
from topics.meters import Meter, Timing
from topics.quantity import ONE
from topics.receipt import receipt_key
from topics.window_total import decode_window_total

METER = Meter(slug="calls", event_type="api.request", value="n", window_s=3600)
START_S = parse_s("2026-11-20T10:00:00Z") or 0
(ACME,) = customers(1)
ITEM = Item(meter="calls", item="si_9", price="price_9", subscription="sub_9", period_anchor_s=START_S, period="day", starts_at_s=START_S)
END_S = START_S + 86_400


class Told:
    """acme's day on item si_9: three rounds of events in six hours, some twice, some late; each revision that was emitted is delivered."""

    def __init__(self, seed: int) -> None:
        rng, log = random.Random(seed), Log()
        log.add(*meters_record((METER,), Timing(horizon_ms=86_400_000 * 2, revision_delay_ms=0)), NOW_MS - 90_000_000)
        data = {"v": 1, "digest": items_digest((ITEM,)), "replaces": None, "items": (ITEM,)}
        log.add(*control(BINDING_TYPE, ACME, data, ACME.encode()), NOW_MS - 90_000_000)
        self.topics = Topics(1, log)
        for turn in range(3):
            begin = log.end
            for number in range(12):
                self._event(log, rng, f"{turn}-{number}" if rng.random() < 0.9 or not number else f"{turn}-{number - 1}")
            for batch in log.batches(begin, rng, log.end):
                self.topics.meter.apply(batch)
            self.topics._flush()
            self.topics._emit()
        self.log = log
        self.totals = [decode_window_total(record.value, "test") for record in self.topics.records(WINDOWS)]

    def _event(self, log: Log, rng: random.Random, name: str) -> None:
        time_s = START_S + rng.randrange(6 * 3600)
        log.add(ACME.encode(), usage(ACME, name, format_s(time_s), {"n": rng.randrange(1, 9)}), NOW_MS - 3_600_000)

    def receipts(self) -> list[Stored]:
        """An intent and an answer for each revision."""
        found: list[Any] = []
        revisions: dict[int, int] = {}
        for total in self.totals:
            start_s = total.window.start_s
            revision = revisions[start_s] = revisions.get(start_s, 0) + 1
            place = {"cell": f"si_9|{start_s}", "item": "si_9", "timestamp_s": max(start_s, START_S + 1), "units": total.quantity}
            for state in ("intent", "delivered"):
                made = cell(total, revision, state, **({"request_id": f"req_{start_s}_{revision}"} if state == "delivered" else {}))
                found.append(type(made)(**{name: getattr(made, name) for name in made.__struct_fields__} | place))
        return [Stored(at, receipt_key(receipt), encode(receipt), (), NOW_MS) for at, receipt in enumerate(found)]

    def write(self, clickhouse: ClickHouse) -> None:
        """Everything, raw rows twice."""
        for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
            write_topic(clickhouse, topic, self.topics.records(topic))
        for _ in range(2):
            write_raw(clickhouse, self.log.records, self.topics.records(DEFINITIONS))
        write_topic(clickhouse, RECEIPTS, self.receipts())

    @property
    def units(self) -> int:
        """What the newest totals come to."""
        newest = {total.window.start_s: total.quantity for total in self.totals}
        return sum(map(int, newest.values()))


class Stage(NamedTuple):
    """The archive, the configuration that names it, and what was told."""

    told: Told
    archive: ClickHouse
    config: Path
    bill: dict[str, Any]


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


@pytest.fixture(scope="module")
def stage(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """acme's day, and an invoice for it: the first 10 units free, then 1.5 cents."""
    told, archive = Told(3), archive_at(engine_url, "day")
    told.write(archive)
    first, second = {"id": "il_1", "quantity": 10, "amount": 0}, {"id": "il_2", "quantity": told.units - 10}
    second["amount"] = (3 * (told.units - 10) + 1) // 2
    common = {"currency": "usd", "period": {"start": START_S, "end": END_S}, "subscription_item": "si_9", "price": {"id": "price_9"}}
    lines = {"data": [common | first, common | second], "has_more": False}
    bill = {"id": "in_1", "status": "paid", "number": "ACME-0001", "created": END_S + 3600, "subscription": "sub_9", "lines": lines}
    tiers = [{"up_to": 10, "unit_amount_decimal": "0"}, {"up_to": None, "unit_amount_decimal": "1.5"}]
    answers = {
        "/v1/invoices": {"data": [bill], "has_more": False},
        "/v1/invoices/in_1": bill,
        "/v1/subscriptions/sub_9": {"id": "sub_9", "customer": "cus_9"},
        "/v1/prices/price_9": {"id": "price_9", "currency": "usd", "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers},
    }
    with canned(answers) as stripe:
        config = tmp_path_factory.mktemp("config") / "tidemark.toml"
        config.write_text(f'[clickhouse]\nurl = "{engine_url}"\ndatabase = "day"\n[stripe]\napi_base = "{stripe}"\n')
        yield Stage(told, archive, config, bill)


class canned:  # noqa: N801 - reads as the function that it replaces
    """A server that answers with what it is given."""

    def __init__(self, answers: dict[str, Any]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """One of the answers."""
                body = json.dumps(answers[self.path.partition("?")[0]]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *_: Any) -> None:
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def asked(stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, expect: int = 0) -> Any:
    """The JSON of `explain`, and its exit code as expected."""
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_canned")
    code = run(["explain", *words, "--config", str(stage.config), "--json"])
    said = capsys.readouterr()
    assert code == expect, said.err
    return json.loads(said.out) if said.out else said.err


@pytest.mark.parametrize("seed", range(3))
def test_every_revision_of_a_period_is_recounted_in_one_pass(engine_url: str, seed: int) -> None:
    """Each revision that the meter emitted has just the quantity, events and hash that the rows give, also where every row was written twice."""
    told, archive = Told(seed), archive_at(engine_url, f"pass{seed}")
    told.write(archive)
    found = span(archive, ACME, "calls", START_S, END_S, limit=100)
    emitted = [(total.window.start_s, total.through_offset, total.quantity, total.events, total.hash) for total in told.totals]
    recounted = [
        (window.start_s, revision.through_offset, str(revision.counted_scaled // ONE), revision.counted_events, revision.counted_hash)
        for window in found.windows
        for revision in window.revisions
    ]
    assert sorted(recounted) == sorted(emitted)
    assert found.faults == []
    assert (found.scaled // ONE, found.waiting) == (told.units, ())
    assert found.late_count == sum(total.events for total in newest(told)) - sum(total.events for total in oldest(told)) == len(found.late)
    assert found.duplicate_count == len(found.duplicates) == found.conservation[0].duplicate


def newest(told: Told) -> list[Any]:
    """The newest total of each window."""
    return list({total.window.start_s: total for total in told.totals}.values())


def oldest(told: Told) -> list[Any]:
    """The first total of each window."""
    return list({total.window.start_s: total for total in reversed(told.totals)}.values())


def test_a_window_is_in_the_state_that_the_view_says(engine_url: str) -> None:
    """Delivered, parked, undelivered, unbound and open windows have the state, reason and quantities of the view `coverage`."""
    archive = archive_at(engine_url, "states")
    Story().write(archive)
    rows = archive.read("SELECT customer, toUnixTimestamp(toDateTime(window_start)) AS at, state, reason, counted, delivered FROM coverage")
    assert len(rows) == 5
    for row in rows:
        (window,) = [each for each in span(archive, row["customer"], "calls", row["at"], row["at"] + 1).windows if each.start_s == row["at"]]
        said = (window.state, window.reason, window.now_scaled, window.delivered_scaled)
        assert said == (row["state"], row["reason"], *(round(float(row[name]) * 10**12) for name in ("counted", "delivered")))


def test_a_period_shows_its_windows_its_line_and_its_money(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The period of an instant is the binding's, of one meter or all; its invoice line is found, and the price's steps come to the line's amount."""
    found = asked(stage, monkeypatch, capsys, ACME, "calls", "--period", format_s(START_S + 5000))
    assert found == asked(stage, monkeypatch, capsys, ACME, "--period", format_s(START_S))
    (meter,) = found["meters"]
    assert (found["from"], found["to"], found["proof"]["holds"]) == (format_s(START_S), format_s(END_S), True)
    assert (meter["quantity"], meter["delivered_units"], meter["line"]["units"]) == (str(stage.told.units),) * 2 + (stage.told.units,)
    assert meter["money"]["verdict"] == "equal"
    assert [step["tier"] for step in meter["money"]["working"]["steps"]] == [1, 2]
    assert all(window["proved"] and window["state"] == "delivered" for window in meter["windows"])
    part = asked(stage, monkeypatch, capsys, ACME, "calls", "--from", format_s(START_S), "--to", format_s(START_S + 7200))
    assert [window["start"] for window in part["meters"][0]["windows"]] == [format_s(START_S), format_s(START_S + 3600)]
    assert part["meters"][0]["money"] is None
    asked(stage, monkeypatch, capsys, ACME, "calls", "--period", "2020-01-01", expect=2)
    asked(stage, monkeypatch, capsys, ACME, "calls", "--from", "2020-01-01", "--to", "2020-01-02", expect=1)


def test_a_line_is_found_by_what_is_printed_on_it(stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By its amount or its units the very line is explained that its id explains; where none matches the nearest is said, with exit code 1."""
    total = sum(line["amount"] for line in stage.bill["lines"]["data"])
    by_amount = asked(stage, monkeypatch, capsys, ACME, "--amount", f"{total // 100}.{total % 100:02d}")
    by_units = asked(stage, monkeypatch, capsys, ACME, "--units", str(stage.told.units), "--around", "2026-11")
    by_name = asked(stage, monkeypatch, capsys, "--invoice-line", "in_1/il_1")
    for found in (by_amount, by_units):
        assert [each["windows"] for each in found["matches"]] == [by_name["windows"]]
    assert (by_name["proof"]["holds"], by_name["proof"]["faults"]) == (True, [])
    assert (by_name["number"], by_name["money"]["stripe"]) == ("ACME-0001", total)
    requests = {attempt["request_id"] for window in by_name["windows"] for attempt in window["deliveries"]}
    assert requests == {f"req_{total.window.start_s}_{number}" for total in oldest(stage.told) for number in range(1, 1 + emitted(stage.told, total))}
    nowhere = str(stage.config.parent / "none" / "line.html")
    assert "cannot be written" in asked(stage, monkeypatch, capsys, "--invoice-line", "in_1/il_1", "--html", nowhere, expect=2)
    missed = asked(stage, monkeypatch, capsys, ACME, "--amount", "9999.99", "--html", nowhere, expect=1)
    assert (missed["matches"], missed["nearest"][0]["but"]) == ([], "another amount")


def emitted(told: Told, total: Any) -> int:
    """How often its window was emitted."""
    return sum(each.window == total.window for each in told.totals)


DOCUMENT = Path(__file__).resolve().parents[2] / "infra" / "docs" / "explaining.md"


def recipe() -> str:
    """The program as the document shows it."""
    (shown,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return str(shown)


def recomputed(folder: Path, evidence: bytes) -> tuple[int, str]:
    """Exit code and words of the document's program over a file, by a Python that sees nothing of ours."""
    program, file = folder / "recompute.py", folder / "evidence.jsonl"
    program.write_text(recipe(), encoding="utf-8")
    file.write_bytes(evidence)
    done = subprocess.run([sys.executable, "-I", "-S", str(program), str(file)], capture_output=True, text=True, cwd=folder, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_documents_program_is_short_and_the_one_on_the_page() -> None:
    """The program that a sceptic runs has at most sixty lines, and the page shows the same."""
    packaged = DOCUMENT.parents[1] / "explaining" / "recompute.txt"
    assert recipe() == packaged.read_text(encoding="utf-8")
    assert len(recipe().splitlines()) <= 60


def test_evidence_is_recomputed_without_us_and_no_change_goes_unseen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The program finds the file of a line and of a period right; a changed quantity, body, revision, total or order, or an event less, is found."""
    file, html = tmp_path / "line.jsonl", tmp_path / "line.html"
    found = asked(stage, monkeypatch, capsys, "--invoice-line", "in_1/il_2", "--evidence", str(file), "--html", str(html))
    whole = file.read_bytes()
    code, said = recomputed(tmp_path, whole)
    assert (code, "all of it follows" in said) == (0, True), said
    assert found["evidence"]["sha256"] in said
    assert found["evidence"]["sha256"] in html.read_text(encoding="utf-8")
    assert found["evidence"]["events"] == found["events"]
    lines = whole.splitlines(keepends=True)
    row = json.loads(lines[3])
    changes = {
        "a quantity": [*lines[:3], lines[3].replace(f'"quantity":"{row["quantity"]}"'.encode(), b'"quantity":"9"'), *lines[4:]],
        "a body": [*lines[:3], lines[3].replace(b"api.request", b"api.reques2"), *lines[4:]],
        "an event less": [*lines[:3], *lines[4:]],
        "another order": [lines[0], lines[2], lines[1], *lines[3:]],
        "a revision": [re.sub(rb'"events":\d+', b'"events":99', lines[0], count=1), *lines[1:]],
        "the line's units": [lines[0].replace(b'"units":%d' % stage.told.units, b'"units":1'), *lines[1:]],
    }
    for what, changed in changes.items():
        assert b"".join(changed) != whole, what
        assert recomputed(tmp_path, b"".join(changed))[0] == 1, what
    asked(stage, monkeypatch, capsys, ACME, "--period", format_s(START_S), "--evidence", str(file))
    assert recomputed(tmp_path, file.read_bytes())[0] == 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_evidence_comes_whole_in_pages_of_any_size(stage: Stage, size: int) -> None:
    """However many events are read at once, each counted one comes once, in the order of the log."""
    rows = [json.loads(line) for line in events(stage.archive, ACME, "calls", START_S, END_S, size=size)]
    offsets = [row["offset"] for row in rows]
    assert offsets == sorted(set(offsets))
    assert sum(int(row["quantity"]) for row in rows) == stage.told.units
    assert all(json.loads(row["body"])["id"] == row["id"] for row in rows)


def test_an_event_that_is_gone_is_found_in_every_form(engine_url: str, stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When a raw row is deleted the period does not hold, its evidence does not either, and the hash of its window is another one."""
    told, archive = Told(3), archive_at(engine_url, "gone")
    told.write(archive)
    before = span(archive, ACME, "calls", START_S, END_S)
    last = max(total.first_offset for total in told.totals)
    archive.command(f"ALTER TABLE raw_events DELETE WHERE kafka_offset = {last} SETTINGS mutations_sync = 1")
    after = span(archive, ACME, "calls", START_S, END_S)
    assert any("its events sum up to" in fault for fault in after.faults)
    changed = [then.start_s for then, now in zip(before.windows, after.windows, strict=True) if then.now_hash != now.now_hash]
    assert changed == [window.start_s for window in after.windows if window.faults]
    assert len(changed) == 1
    config = tmp_path / "tidemark.toml"
    config.write_text(stage.config.read_text().replace('"day"', '"gone"'))
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_canned")
    file = tmp_path / "line.jsonl"
    assert run(["explain", "--invoice-line", "in_1/il_1", "--config", str(config), "--evidence", str(file), "--json"]) == 1
    assert recomputed(tmp_path, file.read_bytes())[0] == 1


def test_an_amendment_is_told_and_recomputed_with_its_event(
    engine_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A voided event stays listed, with who voided it and why as the reason of the revision; the evidence adds up with both."""
    bench = Bench()
    bench.event(5)
    bench.amend(voided(bench.event(7), 7))
    archived(engine_url, "amended", bench.log)
    config, file, html = tmp_path / "tidemark.toml", tmp_path / "window.jsonl", tmp_path / "window.html"
    config.write_text(f'[clickhouse]\nurl = "{engine_url}"\ndatabase = "amended"\n')
    words = ["explain", FIRST, "calls", format_s(NOW_S), "--config", str(config), "--evidence", str(file), "--html", str(html), "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    (said,) = found["amendments"]
    assert (said["kind"], said["who"], said["reason"], said["of"]["event_id"], said["quantity"]) == ("void", "ann", "sent twice by hand", "e2", "-7")
    assert [event["event_id"] for event in found["counted"]] == ["e1", "e2", said_by(found)]
    assert "1 amendment (void by ann: sent twice by hand)" in found["revisions"][-1]["cause"]
    assert found["quantity"] == "5"
    assert recomputed(tmp_path, file.read_bytes())[0] == 0
    assert "sent twice by hand" in html.read_text(encoding="utf-8")
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert run([*words[:3], "--from", "2026-11-20", "--to", "2026-11-23", "--config", str(config), "--json"]) == 0
    (meter,) = json.loads(capsys.readouterr().out)["meters"]
    assert (meter["counts"]["amendments"], meter["money"]) == (1, None)


def said_by(found: dict[str, Any]) -> str:
    """The id of the amendment's own record."""
    return str(next(event["event_id"] for event in found["counted"] if event["quantity"].startswith("-")))
