"""What a worker shows over HTTP and to Prometheus, and what its logs never show."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest

from infra import logs
from infra.auditing.findings import Kind as FindingKind
from infra.face import WorkerFace
from infra.http import WorkerHttp
from infra.metrics import METRIC_NAMES, VERDICTS, WorkerMetrics
from infra.readiness import Limits
from infra.settings import AlarmSettings
from topics.errors import UsageError

LINE = {name: number for number, name in enumerate(VERDICTS)} | {
    "partition": 3,
    "next_offset": 40,
    "durable_offset": 30,
    "end_offset": 50,
    "residual": 0,
}


class Work:
    """A worker as far as its face knows it."""

    def __init__(self) -> None:
        self.halted: str | None = None
        self.progress = 0
        self.refreshed = 0
        self.slow = False
        self.oldest_undelivered_s = 0.0

    def status(self) -> dict[str, Any]:
        """See `infra.face.Work`."""
        windows = {"open": 2, "due": 0, "reopened": 1}
        line = LINE | {"durable_offset": 30 + self.progress}
        done = {"partitions": [line if self.progress else LINE], "windows": windows, "halted": self.halted, "progress": self.progress}
        return done | {"oldest_undelivered_s": self.oldest_undelivered_s}

    async def refresh(self) -> None:
        """See `infra.face.Work`."""
        self.refreshed += 1
        if self.slow:
            raise TimeoutError


def get(url: str) -> tuple[int, str]:
    """Status code and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_face_of_a_worker_over_its_life() -> None:
    """Waiting, working and halted are told apart by /ready, /live always answers, and /status is whole from the first moment."""
    face, work = WorkerFace("meter", "meter-7"), Work()
    http = WorkerHttp(face, "127.0.0.1:0")
    url = await http.start()
    try:
        face.waiting = "Kafka at 127.0.0.1:1 does not answer yet"
        assert await asyncio.to_thread(get, f"{url}/ready") == (503, "Kafka at 127.0.0.1:1 does not answer yet\n")
        empty = json.loads((await asyncio.to_thread(get, f"{url}/status"))[1])
        assert empty == {
            "name": "meter-7",
            "kind": "meter",
            "alarms": [],
            "ready": False,
            "partitions": [],
            "halted": None,
            "progress": 0,
            "windows": {"open": 0, "due": 0, "reopened": 0},
        }
        face.attach(work)
        assert (await asyncio.to_thread(get, f"{url}/ready"))[0] == 503
        work.progress = 5
        assert await asyncio.to_thread(get, f"{url}/ready") == (200, "ready\n")
        work.slow = True
        full = json.loads((await asyncio.to_thread(get, f"{url}/status"))[1])
        assert full["partitions"] == [LINE | {"durable_offset": 35}]
        assert work.refreshed == 1
        work.halted = "the log is another one"
        assert await asyncio.to_thread(get, f"{url}/ready") == (503, "the log is another one\n")
        assert (await asyncio.to_thread(get, f"{url}/live"))[0] == 200
        assert (await asyncio.to_thread(get, f"{url}/tables"))[0] == 404
    finally:
        await http.stop()


async def test_a_stuck_worker_is_not_ready_and_says_so_until_it_is() -> None:
    """Through HTTP: an outage turns /ready to 503 with its reason after the limit, /live and /metrics go on, and it comes back by itself."""
    clock, work = [0.0], Work()
    limits = Limits(undelivered_s=10.0, standstill_s=10.0)
    face = WorkerFace("report", "report", limits, steady_s=lambda: clock[0], now_ms=lambda: int(clock[0] * 1000) + 1_795_000_000_000)
    http = WorkerHttp(face, "127.0.0.1:0")
    url = await http.start()
    try:
        face.attach(work)
        work.progress = 1
        for at_s, ready in ((0.0, 200), (9.0, 200), (12.0, 200), (23.0, 503)):
            clock[0] = work.oldest_undelivered_s = at_s
            work.progress += 1
            await face.look()
            assert (await asyncio.to_thread(get, f"{url}/ready"))[0] == ready, at_s
        code, reason = await asyncio.to_thread(get, f"{url}/ready")
        assert (code, "undelivered, the oldest for 23s" in reason) == (503, True)
        assert json.loads((await asyncio.to_thread(get, f"{url}/status"))[1])["alarms"] == [reason.strip()]
        assert (await asyncio.to_thread(get, f"{url}/live"))[0] == 200
        assert "tidemark_ready 0.0" in (await asyncio.to_thread(get, f"{url}/metrics"))[1]
        work.oldest_undelivered_s = 0.0
        await face.look()
        assert await asyncio.to_thread(get, f"{url}/ready") == (200, "ready\n")
        assert "tidemark_ready 1.0" in (await asyncio.to_thread(get, f"{url}/metrics"))[1]
    finally:
        await http.stop()


async def test_a_watched_worker_knows_the_ends_of_its_log_unasked() -> None:
    """Nobody needs to ask for /status: the watch itself asks for the ends, so that the lag in /metrics is never that of long ago."""
    face, work = WorkerFace("meter", "meter-0"), Work()
    face.attach(work)
    work.progress = 1
    watching = asyncio.ensure_future(face.watch())
    while not work.refreshed:
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait({watching})
    assert watching.cancelled()


async def test_a_worker_listens_on_loopback_only() -> None:
    """The address of a worker's face is loopback, and nothing else of the process listens (H36)."""
    before = {entry.laddr for entry in psutil.Process().net_connections(kind="inet") if entry.status == psutil.CONN_LISTEN}
    http = WorkerHttp(WorkerFace("report", "report"), "127.0.0.1:0")
    await http.start()
    try:
        now = {entry.laddr for entry in psutil.Process().net_connections(kind="inet") if entry.status == psutil.CONN_LISTEN}
        assert {address.ip for address in now - before} == {"127.0.0.1"}
        assert len(now - before) == 1
    finally:
        await http.stop()


async def test_a_taken_port_is_one_sentence() -> None:
    """An address that is in use is refused with its name and the setting that changes it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=re.escape(address) + r".*TIDEMARK_WORKER__HTTP"):
            await WorkerHttp(WorkerFace("archive", "archive"), address).start()


def test_metrics_are_the_promised_ones() -> None:
    """Every metric of SURFACES is exported under its name with its labels, and shows the worker's own numbers."""
    gate = {"held": 2, "unready": 4, "released_with_alarm": 1}
    backlog = {"by": [{"provider": "stripe", "account": "default", "mode": "meters", "cells": 7, "eta_s": None, "missed": 2}]}
    oldest = {"oldest_undelivered_s": 12.5, "adjustments": 3, "gate": gate, "backlog": backlog}
    metrics = WorkerMetrics("tidemark-meter", lambda: {"kind": "meter", "ready": True, **Work().status(), **oldest}, delivers=True)
    metrics.delivered(3.0)
    metrics.outcome("stripe", "Delivered")
    text = metrics.exposition().decode()
    for name in METRIC_NAMES:
        assert re.search(rf"^{name}(_bucket|_sum)?[ {{]", text, re.MULTILINE), name
    for line in (
        'tidemark_events_total{partition="3",verdict="duplicate"} 1.0',
        'tidemark_conservation_residual{partition="3"} 0.0',
        'tidemark_consumer_lag{group="tidemark-meter",partition="3"} 20.0',
        'tidemark_windows{state="open"} 2.0',
        'tidemark_delivery_outcomes_total{outcome="Delivered",provider="stripe"} 1.0',
        'tidemark_close_to_delivered_seconds_bucket{le="5.0"} 1.0',
        "tidemark_oldest_undelivered_seconds 12.5",
        "tidemark_ready 1.0",
        "tidemark_adjustments_open 3.0",
        'tidemark_backlog_cells{account="default",mode="meters",provider="stripe"} 7.0',
        'tidemark_backlog_eta_seconds{account="default",mode="meters",provider="stripe"} +Inf',
        'tidemark_backlog_missed_cells{account="default",mode="meters",provider="stripe"} 2.0',
        "tidemark_gate_held_invoices 2.0",
        "tidemark_gate_unready_invoices 4.0",
        "tidemark_gate_released_with_alarm_total 1.0",
    ):
        assert line in text, line


def test_an_archive_has_no_counting_metrics() -> None:
    """A worker that counts nothing exports no residual of 0 that could hide the real one; its lag names its topics."""
    line = {"topic": "usage.windows", "partition": 1, "archived_offset": 5, "end_offset": 9}
    text = WorkerMetrics("tidemark-archive", lambda: {"kind": "archive", "partitions": [line], "progress": 1}).exposition().decode()
    assert 'tidemark_consumer_lag{group="tidemark-archive:usage.windows",partition="1"} 4.0' in text
    assert "tidemark_conservation_residual" not in text
    assert "tidemark_oldest_undelivered_seconds" not in text
    assert "tidemark_close_to_delivered_seconds" not in text


def test_a_reports_lag_is_what_its_receipts_do_not_hold() -> None:
    """Totals that the report has read but holds no receipt for yet are lag: a crash would read them again."""
    line = {"partition": 1, "next_offset": 9, "covered_offset": 5, "end_offset": 9}
    text = WorkerMetrics("tidemark-report", lambda: {"kind": "report", "partitions": [line]}).exposition().decode()
    assert 'tidemark_consumer_lag{group="tidemark-report",partition="1"} 4.0' in text


async def test_a_failing_look_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a look raises is said, and the watch goes on; only the end of the worker ends it."""
    face, work = WorkerFace("meter", "meter-0"), Work()
    work.progress = 1
    work.refresh = failing  # type: ignore[method-assign]
    face.attach(work)
    watching = asyncio.ensure_future(face.watch())
    while "looking whether billing is stuck failed" not in caplog.text:
        await asyncio.sleep(0)
    assert not watching.done()
    watching.cancel()
    await asyncio.wait({watching})


async def failing() -> None:
    """A question that fails in a way that nobody foresaw."""
    raise ZeroDivisionError


def test_every_metric_and_every_finding_is_explained() -> None:
    """`infra/docs/operating.md` explains each metric that is exported, each key of [alarms], and each kind of finding of the audit."""
    text = (Path(__file__).resolve().parents[2] / "infra/docs/operating.md").read_text(encoding="utf-8")
    alarms = [field.alias for field in AlarmSettings.model_fields.values()]
    assert [name for name in (*METRIC_NAMES, *get_args(FindingKind), *alarms) if f"`{name}`" not in text and f"\n{name} =" not in text] == []


@pytest.mark.parametrize("kind", ["meter", "report"])
def test_nothing_undelivered_is_said_as_zero(kind: str) -> None:
    """Where no window waits the age is 0 and not absent, so that an alert tells "nothing waits" from "nobody answers"."""
    text = WorkerMetrics(f"tidemark-{kind}", lambda: {"kind": kind, "partitions": [], "oldest_undelivered_s": None}).exposition().decode()
    assert "tidemark_oldest_undelivered_seconds 0.0" in text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("key sk_" + "test_4eC39HqLyjWDarjtT1 refused", "key sk_test_… refused"),
        ("rk_" + "live_abc and whsec_" + "0123", "rk_live_… and whsec_…"),
        ("http://user:pass@host:8123/x", "http://…:…@host:8123/x"),
        ("http://host:8123/x and a@b", "http://host:8123/x and a@b"),
    ],
)
def test_logs_show_no_secret(said: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, webhook secrets and passwords in addresses are blotted out of every line, also where they come as an argument or in a traceback."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("meter-0")
        logging.getLogger("infra.x").warning("at %s", said)
        try:
            raise ValueError(said)
        except ValueError:
            logging.getLogger("infra.x").exception("failed")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    text = capsys.readouterr().err
    assert f"WARNING  meter-0 infra.x: at {shown}\n" in text
    assert f"ValueError: {shown}" in text
    assert text.count(shown) == 2
