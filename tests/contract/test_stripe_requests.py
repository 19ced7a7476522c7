"""Every request that we send, against everything that can judge it: the sandbox, stripe-mock, Stripe's description, and Stripe."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
import stripe

from infra.sandbox.testing import sandbox_server
from sinks.stripe.transport import Connections
from tests.contract.openapi_subset import FOLDER, Description
from tests.contract.stripe_mock import METERS, USAGE_RECORDS, NoStripeMock, stripe_mock
from tests.contract.stripe_request_rows import ROWS
from tests.contract.stripe_requests import VERSIONS, Era, Row, filled, kept, new_stage

ERAS: tuple[Era, ...] = ("usage_records", "meters")
MOCKS = {"usage_records": USAGE_RECORDS, "meters": METERS}
FRAGMENTS: dict[Era, tuple[str, ...]] = {
    "usage_records": ("openapi-subscriptions-2023-08-16.json", "openapi-usage-records-2023-08-16.json"),
    "meters": ("openapi-billing-meters-2026-09-30.json",),
}


def rows_of(era: Era) -> list[Row]:
    """The rows that are sent under this era's API version."""
    return [row for row in ROWS if era in row.eras]


def run(url: str, key: str, era: Era, now_s: int) -> list[str]:
    """Sends the rows of an era in order; what was refused, each with its name and Stripe's sentence."""
    connections = Connections(url)
    client = stripe.StripeClient(
        key, stripe_version=VERSIONS[era], base_addresses={"api": url}, max_network_retries=0, http_client=connections
    )
    stage, refused = new_stage(now_s, secrets.token_hex(6)), list[str]()
    try:
        for row in rows_of(era):
            try:
                params: dict[str, Any] = filled(row.params, stage)
                reply = client.raw_request(row.method, filled(row.path, stage), **params)
                kept(row, reply.data, stage)
            except (stripe.StripeError, LookupError) as error:
                refused.append(f"{row.name}: {error}")
    finally:
        connections.close()
    return refused


@pytest.mark.parametrize("era", ERAS)
async def test_the_sandbox_takes_every_request(tmp_path: Path, era: Era) -> None:
    """Every request that we send is one that the sandbox knows and takes."""
    async with sandbox_server(tmp_path) as sandbox:
        now_s = int((await sandbox.control("clock"))["now"])
        assert await asyncio.to_thread(run, sandbox.url, sandbox.key, era, now_s) == []


@pytest.mark.parametrize("era", ERAS)
def test_stripe_mock_takes_every_request(tmp_path: Path, era: Era) -> None:
    """Every request passes the validation of the stripe-mock of its API era."""
    try:
        with stripe_mock(MOCKS[era], tmp_path / "log") as mock:
            assert run(mock.url, mock.key, era, 1_800_000_000) == []
    except NoStripeMock as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("era", ERAS)
def test_stripe_takes_every_request(era: Era) -> None:
    """With a key of a test account in STRIPE_API_KEY every request is taken by Stripe itself."""
    key = os.environ.get("STRIPE_API_KEY", "")
    if not key.startswith(("sk_test_", "rk_test_")):
        pytest.skip("STRIPE_API_KEY is no key of a Stripe test account")
    refused = run("https://api.stripe.com", key, era, int(time.time()))
    if refused and all("Invalid API Key" in sentence for sentence in refused):
        pytest.skip("STRIPE_API_KEY is a key of the sandbox: Stripe does not know it")
    assert refused == []


@pytest.mark.parametrize("era", ERAS)
def test_the_description_knows_every_parameter(era: Era) -> None:
    """Every parameter is one that Stripe's OpenAPI description has for that operation, of its type."""
    absent = [name for name in FRAGMENTS[era] if not (FOLDER / name).exists()]
    if absent:
        pytest.skip(f"no {', '.join(absent)} in ../shared/openapi")
    described = {path: part for part in map(Description, FRAGMENTS[era]) for path in part.paths()}
    stage = new_stage(1_800_000_000, "x") | {name: f"{name}_1" for row in ROWS for name in row.keeps}
    faults, judged = list[str](), 0
    for row in rows_of(era):
        path = next((path for path in described if _same(path, row.path)), None)
        if path is None:
            continue
        judged += 1
        part = described[path]
        faults += [f"{row.name}: {fault}" for fault in part.faults(part.parameters(row.method.upper(), path), filled(row.params, stage))]
    assert faults == [] and judged >= 5


def _same(described: str, ours: str) -> bool:
    """Whether two URLs are the same but for the names in braces."""
    one, other = described.split("/"), ours.split("/")
    return len(one) == len(other) and all(a == b or (a[:1] == b[:1] == "{") for a, b in zip(one, other, strict=True))


def test_a_wrong_request_is_noticed(tmp_path: Path) -> None:
    """The judges do judge: a parameter that Stripe does not have is refused by stripe-mock and by the description."""
    wrong = Row("wrong", ("usage_records",), "post", "/v1/subscription_items/{item}/usage_records", {"quantity": 1, "value": 2})
    part = Description(FRAGMENTS["usage_records"][1]) if (FOLDER / FRAGMENTS["usage_records"][1]).exists() else None
    if part is not None:
        assert part.faults(part.parameters("POST", "/v1/subscription_items/{subscription_item}/usage_records"), dict(wrong.params)) != []
    try:
        with stripe_mock(USAGE_RECORDS, tmp_path / "log") as mock:
            client = stripe.StripeClient(mock.key, base_addresses={"api": mock.url}, max_network_retries=0, http_client=Connections(mock.url))
            with pytest.raises(stripe.InvalidRequestError):
                client.raw_request("post", "/v1/subscription_items/si_1/usage_records", **dict(wrong.params))
    except NoStripeMock as reason:
        pytest.skip(str(reason))
