"""Points of the security list (infra/docs/security.md) that no other test shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from infra import logs, stripe_catalog
from infra.embedded.testing import engine_server
from infra.face import WorkerFace
from infra.http import WorkerHttp
from infra.settings import load_settings
from infra.stripe_preflight import preflight
from sinks.outcomes import Answer, Wanted, outcome_of
from sinks.stripe.transport import Connections
from tests.contract.archive_engine import archive_at
from tests.contract.stripe_bench import bench
from topics.errors import UsageError

CANARY = "canary51H8xQ2eZvKYlo2C"
KEY = "sk_" + "test_" + CANARY
LIVE = "sk_" + "live_" + CANARY
EMAIL = "canary@acme.example"
DOCUMENT = Path(__file__).resolve().parents[2] / "infra" / "docs" / "security.md"


def asked(url: str, method: str) -> tuple[int, str]:
    """Status and body of a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, data=b"{}" if method != "GET" else None), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_no_answer_of_a_worker_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key in the environment none of a worker's addresses shows it."""
    monkeypatch.setenv("STRIPE_API_KEY", KEY)
    http = WorkerHttp(WorkerFace("report", "report"), "127.0.0.1:0")
    url = await http.start()
    try:
        answers = [await asyncio.to_thread(asked, f"{url}/{name}", "GET") for name in ("status", "live", "ready", "metrics")]
    finally:
        await http.stop()
    assert len(answers) == 4 and not [body for _, body in answers if CANARY in body]


async def test_a_worker_takes_no_orders_over_http() -> None:
    """Nothing can be posted, put or deleted at a worker: what is obeyed stands in the log."""
    http = WorkerHttp(WorkerFace("report", "report"), "127.0.0.1:0")
    url = await http.start()
    try:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for name in ("status", "live", "ready", "metrics"):
                assert (await asyncio.to_thread(asked, f"{url}/{name}", method))[0] == 405
    finally:
        await http.stop()


def test_stripes_certificate_is_verified() -> None:
    """The connection to an https:// address checks the certificate and the host's name, against the authorities that Stripe's library carries."""
    context = Connections("https://api.stripe.com")._context
    assert context is not None and context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def test_a_live_key_is_taken_on_purpose_only(tmp_path: Path) -> None:
    """Setup refuses a live key without --live; the report worker takes one only where the file says `live = true`, and check says so before."""
    path = tmp_path / "tidemark.toml"
    text = '[stripe]\napi_base = "http://127.0.0.1:9"\n{live}[[meters]]\nslug = "a"\nevent_type = "x"\n'
    path.write_text(text.format(live=""))
    settings = load_settings(path, {"STRIPE_API_KEY": LIVE})
    with pytest.raises(UsageError, match="live key") as refused:
        stripe_catalog.setup(settings)
    assert CANARY not in str(refused.value) and not settings.stripe.live
    path.write_text(text.format(live="live = true\n"))
    assert load_settings(path, {"STRIPE_API_KEY": LIVE}).stripe.live


async def test_no_stripe_object_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """At the loudest log level, set-up, sync, check and a report say nothing of customers, their addresses or the key."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.configure("report", logging.DEBUG)
        async with bench(tmp_path) as stripe:
            path = tmp_path / "tidemark.toml"
            path.write_text(f'[[meters]]\nslug = "a"\nevent_type = "x"\n[[customers]]\nid = "acme"\nemail = "{EMAIL}"\n')
            settings = load_settings(path, {"STRIPE_API_KEY": stripe.sandbox.key, "TIDEMARK_STRIPE__API_BASE": stripe.sandbox.url})
            await stripe.call(stripe_catalog.setup, settings)
            items = await stripe.call(stripe_catalog.read_items, settings)
            await stripe.call(preflight, settings)
            await stripe.report(5, "k1", second=60, item=items["acme"][0].item)
            logging.getLogger("report").debug("heard")
            key = stripe.sandbox.key
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    said = "".join(capfd.readouterr())
    assert "heard" in said
    assert not [word for word in (EMAIL, key, "cus_", '"object"') if word in said]


def test_a_receipt_keeps_a_sentence_and_no_object() -> None:
    """Of an error that carries whole objects, as Stripe's do, an outcome keeps Stripe's sentence, cut, and the request's id."""
    error = {"type": "card_error", "code": "x", "message": "No. " * 500, "payment_intent": {"receipt_email": EMAIL}, "request_log_url": EMAIL}
    outcome = outcome_of(Answer(400, json.dumps({"error": error}), {"request-id": "req_1"}), Wanted("si_1", 1, 1))
    assert EMAIL not in repr(outcome) and len(outcome.sentence) <= 500 and outcome.request_id == "req_1"


def test_jumps_of_usage_are_listed(tmp_path: Path) -> None:
    """The document's query runs on the archive as it is, and lists exactly the day on which a customer used far more than it usually does."""
    found = re.search(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    query = found[1]
    days = [f"('{name}', 'calls', toDateTime('2026-11-{day:02} 10:00:00', 'UTC'), {used})" for name, day, used in _usage()]
    rows = f"SELECT * FROM values('customer String, meter String, window_start DateTime, quantity Decimal(38, 12)', {', '.join(days)})"
    with engine_server(tmp_path) as engine, contextlib.closing(archive_at(engine.url, "jumps")) as clickhouse:
        assert clickhouse.read(query) == []
        jumps = clickhouse.read(query.replace("WITH ", f"WITH window_totals AS ({rows}), ", 1))
    assert [(row["customer"], str(row["day"]), float(row["used"]), float(row["usual"])) for row in jumps] == [("jumper", "2026-11-20", 900.0, 100.0)]


def _usage() -> list[tuple[str, int, int]]:
    """Three weeks of two steady customers, one of which jumps on a day, and one that is new and grows."""
    steady = [(name, day, 100) for name in ("jumper", "steady") for day in range(1, 22) if (name, day) != ("jumper", 20)]
    return [*steady, ("jumper", 20, 900), *(("new", day, 10 ** (day - 15)) for day in range(16, 22))]
