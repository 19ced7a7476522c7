"""Canary secrets at the loudest logging: in no log line, error, answer, outcome or repr (fault row D10)."""

from __future__ import annotations

import asyncio
import io
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from infra import kafka_io, logs
from infra.sandbox.testing import sandbox_server
from infra.settings import load_settings
from sinks.clickhouse.client import Address, ClickHouse
from sinks.outcomes import Wanted, outcome_of
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.client import StripeAccess
from tests.fuzz.liar import lying, reply
from topics.errors import ConfigurationFault, TidemarkError

KEY: Final = "sk_test_" + "canary51H8xQ2eZvKYlo2C"
WEBHOOK: Final = "whsec_" + "canary5f7a9c1e3b5d"
PASSWORD: Final = "canary-pa55w0rd!"
CANARIES: Final = (KEY, WEBHOOK, PASSWORD, KEY[8:], WEBHOOK[6:])


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """Everything that any logger says, formatted as a worker does, with every library at DEBUG."""
    root, stream = logging.getLogger(), io.StringIO()
    held, level = root.handlers[:], root.level
    logs.configure("worker", logging.DEBUG)
    for name in logs.LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [handler]
    yield stream
    root.handlers[:] = held
    root.setLevel(level)
    for name in (*logs.LIBRARIES, *logs.NOISE):
        logging.getLogger(name).setLevel(logging.NOTSET)


def sentences(*calls: object) -> str:
    """What the errors of these calls say, with their causes and their arguments."""
    words: list[str] = []
    for call in calls:
        try:
            words.append(repr(call()))  # type: ignore[operator]
        except TidemarkError as error:
            words += [str(error), repr(error), repr(error.args), repr(error.__cause__), repr(vars(error))]
    return "\n".join(words)


async def test_a_provider_never_makes_us_say_its_key(said: io.StringIO, tmp_path: Path) -> None:
    """Against a sandbox, an echo of every header, a refusal and a dead address: the key is in no log line, answer, outcome or error."""
    async with sandbox_server(tmp_path) as sandbox:
        wrong = StripeAccess(sandbox.url, KEY)
        words = await asyncio.to_thread(sentences, lambda: sync(Eras(wrong, wrong), []), lambda: wrong.get("/v1/customers/cus_x"))
        wrong.close()
    with lying() as liar:
        liar.answering = lambda request: reply(request, random.choice((200, 400, 401, 500)))
        access = StripeAccess(liar.url, KEY, timeout_s=2.0)
        for at in range(20):
            post = ("/v1/subscription_items/si_1/usage_records", "quantity=1&timestamp=2&action=set", "k", lambda at=at: at > 2)
            answer = await asyncio.to_thread(access.report, *post)
            words += repr(answer) + repr(outcome_of(answer, Wanted("si_1", 2, 1)))
        words += await asyncio.to_thread(sentences, lambda: access.summaries("si_1", 0), lambda: access.post("/v1/products", name="x"))
        words += repr(access) + repr(vars(access).keys())
        access.close()
    dead = StripeAccess("http://127.0.0.1:9", KEY, timeout_s=1.0)
    words += await asyncio.to_thread(sentences, lambda: dead.get("/v1/customers"))
    assert len(words) > 500
    assert [canary for canary in CANARIES if canary in words + said.getvalue()] == []


def test_clickhouse_never_makes_us_say_its_password(said: io.StringIO) -> None:
    """Refused, echoed, unreadable and unreachable: the password is in no log line and in no error, whatever the driver puts into its own."""
    words = ""
    with lying() as liar:
        for status in (200, 401, 403, 500):
            liar.answering = lambda request, status=status: reply(request + PASSWORD.encode(), status)  # type: ignore[misc]
            client = ClickHouse(Address(url=liar.url, user="reader", password=PASSWORD))
            words += sentences(client.migrate, lambda client=client: client.rows("SELECT 1"), lambda client=client: client.command("SELECT 1"))
            words += repr(client.address)
    away = ClickHouse(Address(url="http://127.0.0.1:9", password=PASSWORD))
    words += sentences(lambda: away.rows("SELECT 1"))
    assert "does not answer" in words
    assert [canary for canary in CANARIES if canary in words + said.getvalue()] == []


async def test_a_configuration_with_secrets_says_none_of_them(said: io.StringIO, tmp_path: Path) -> None:
    """Secrets of the environment are taken and shown by no repr; in a file, under any name, they are refused without being repeated."""
    good = tmp_path / "good.toml"
    good.write_text('[kafka]\nbootstrap = "127.0.0.1:9"\n')
    environment = {"STRIPE_API_KEY": KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK, "TIDEMARK_CLICKHOUSE__PASSWORD": PASSWORD}
    settings = load_settings(good, environment)
    assert settings.stripe.api_key is not None
    assert settings.stripe.api_key.get_secret_value() == KEY
    words = repr(settings) + str(settings) + repr(settings.stripe) + settings.clickhouse.model_dump_json() + settings.stripe.model_dump_json()
    bad = tmp_path / "bad.toml"
    bad.write_text(
        f'[stripe]\napi_key = "{KEY}"\nprice = "{WEBHOOK}"\n[clickhouse]\nurl = "http://u:{PASSWORD}@h"\n'
        f'[[meters]]\nslug = "{KEY}"\nevent_type = "{KEY}"\n'
    )
    with pytest.raises(ConfigurationFault) as caught:
        load_settings(bad, environment)
    words += str(caught.value) + repr(caught.value.faults)
    logging.getLogger("aiokafka").debug("connecting as user:%s", "nobody")
    with pytest.raises(TidemarkError) as unreachable:
        async with asyncio.timeout(20), kafka_io.producer("127.0.0.1:9"):
            raise AssertionError("nobody is there")
    words += str(unreachable.value)
    assert [canary for canary in CANARIES if canary in words + said.getvalue()] == []
