"""The invoice gate's requests against the sandbox, by the official client and HTTP: what is set is there, and is gone again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sinks.stripe.drafts import HOLD, RELEASE, DraftInvoice
from sinks.stripe.gate_ports import Declined, StripeDrafts
from tests.contract.stripe_bench import Bench, bench


async def drafted(stripe: Bench) -> str:
    """A draft of a customer that is to be finalised by itself."""
    customer = await stripe.call(stripe.access.post, "/v1/customers", name="acme")
    made = await stripe.call(stripe.access.post, "/v1/invoices", customer=customer["id"], auto_advance="true", metadata={"theirs": "1"})
    name: str = made["id"]
    return name


async def test_a_hold_is_marked_and_leaves_no_trace_when_it_ends(tmp_path: Path) -> None:
    """Both come with one request and go with one; what others wrote into the metadata stays."""
    async with bench(tmp_path) as stripe:
        drafts, name = StripeDrafts(stripe.access), await drafted(stripe)
        held: DraftInvoice = await stripe.call(drafts.change, name, HOLD)
        assert (held.draft.held_by_us, held.draft.auto_advance, held.is_overruled) == (True, False, False)
        assert held.automatically_finalizes_at is None
        again = await stripe.call(drafts.invoice, name)
        assert again is not None and again.draft.held_by_us
        free: DraftInvoice = await stripe.call(drafts.change, name, RELEASE)
        assert (free.metadata, free.auto_advance, free.is_marked) == ({"theirs": "1"}, True, False)
        assert free.automatically_finalizes_at is not None


async def test_all_drafts_are_listed_and_only_drafts(tmp_path: Path) -> None:
    """Page by page; what is final is not among them, and what is not there is said to be gone."""
    async with bench(tmp_path) as stripe:
        drafts = StripeDrafts(stripe.access)
        names = [await drafted(stripe) for _ in range(3)]
        final = await drafted(stripe)
        await stripe.call(stripe.access.post, f"/v1/invoices/{final}/finalize")
        page = await stripe.call(drafts.page, "", "")
        assert {each.id for each in page.drafts} >= set(names) and final not in {each.id for each in page.drafts}
        after = await stripe.call(drafts.page, page.drafts[0].id, "")
        assert [each.id for each in after.drafts] == [each.id for each in page.drafts][1:]
        assert await stripe.call(drafts.invoice, "in_nobody") is None
        with pytest.raises(Declined, match="in_nobody"):
            await stripe.call(drafts.change, "in_nobody", HOLD)
