"""Law 16: what the log knows of invoices, and what an operator settles; both change no window."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest

from tests.core.meterlog import NOW_MS, Disk, control, customers, fresh, meters_record
from tests.core.test_definitions import HOUR, play, reasons
from topics.adjustments import SETTLE_TYPE, Settlement, SettleRecord
from topics.codec import encode
from topics.definitions import decode_definition, definition_key
from topics.invoices import FINAL, INVOICE_TYPE, Invoice, InvoiceRecord, Status

CUSTOMER, OTHER = customers(1)[0], customers(2)[1]


def invoice(status: Status = "open", *, customer: str = CUSTOMER, key: bytes | None = None, **more: Any) -> tuple[bytes | None, bytes]:
    """A `tidemark.invoice` record."""
    fields: dict[str, Any] = {"invoice": "in_1", "subscription": "sub_1", "period_start_s": 100, "period_end_s": 200, "seen_at_s": 5, **more}
    return control(INVOICE_TYPE, customer, InvoiceRecord(status=status, **fields), key or customer.encode())


def started(*records: tuple[bytes | None, bytes]) -> Any:
    """A partition that has its meters, and then these records."""
    return play((meters_record((HOUR,)), NOW_MS), *((record, NOW_MS) for record in records))


@pytest.mark.parametrize("order", list(permutations(("draft", "open", "paid"))))
def test_an_invoice_never_goes_back(order: tuple[Status, ...]) -> None:
    """In whatever order its states arrive, and however often, the furthest stays in force, and only what is new is published."""
    partition = started(*(invoice(status, seen_at_s=at) for at, status in enumerate(order)), *(invoice(status) for status in order))
    (held,) = partition.state.definitions.invoices.values()
    assert held.said.status == "paid"
    published = [one for one in partition.state.facts.definitions if isinstance(one, Invoice)]
    ranks = [("draft", "open", "paid").index(one.said.status) for one in published]
    assert ranks == sorted(set(ranks))
    assert not reasons(partition)


def test_the_same_state_with_other_words_counts_only_when_it_was_read_later() -> None:
    """A draft whose items change is taken when it was read later, and not when an older reading arrives after it."""
    partition = started(invoice("draft", items=("si_1",), seen_at_s=7), invoice("draft", items=("si_2",), seen_at_s=6))
    assert next(iter(partition.state.definitions.invoices.values())).said.items == ("si_1",)
    partition = started(invoice("draft", items=("si_1",), seen_at_s=7), invoice("draft", items=("si_2",), seen_at_s=8))
    assert next(iter(partition.state.definitions.invoices.values())).said.items == ("si_2",)


@pytest.mark.parametrize(
    "record",
    [
        invoice(key=OTHER.encode()),
        invoice(invoice=""),
        invoice(subscription=""),
        invoice(period_start_s=300),
        invoice(seen_at_s=1 << 60),
        control(INVOICE_TYPE, CUSTOMER, {"v": 1, "invoice": "in_1"}, CUSTOMER.encode()),
        control(INVOICE_TYPE, CUSTOMER, {"v": 2}, CUSTOMER.encode()),
    ],
    ids=("key", "id", "nothing billed", "period", "instant", "fields", "version"),
)
def test_an_invoice_that_cannot_be_used_is_rejected(record: tuple[bytes | None, bytes]) -> None:
    """A record with another's key, without what it needs, or of another version is `bad_control` and changes nothing."""
    partition = started(record)
    assert reasons(partition) == ["bad_control"]
    assert not partition.state.definitions.invoices


def test_invoices_survive_recovery_and_change_no_window() -> None:
    """What is in force of invoices is recovered from the changelog, and the published record is read back as it was."""
    disk = Disk()
    partition = started(invoice("draft"), invoice("open", finalized_at_s=6))
    version = partition.state.definitions.count
    flush = partition.begin_flush()
    assert flush is not None
    for send in (*flush.first, flush.counters):
        if send.topic == "usage.state":
            disk.append(send.key, send.value)
    again = fresh(disk, random.Random(1))
    assert again.state.definitions.invoices == partition.state.definitions.invoices
    assert again.state.definitions.count == version
    for held in again.state.definitions.invoices.values():
        assert held.said.status in FINAL
        assert decode_definition(encode(held), "here") == held
        assert definition_key(held) == b'["invoice","stripe","default","in_1"]'


def test_a_settlement_is_published_under_its_offset() -> None:
    """A settlement is published for the report with the offset that makes it act once; one whose units are no number is rejected."""
    good = SettleRecord(target="t", units="-7", settled="0", how="in_9")
    partition = started(
        control(SETTLE_TYPE, CUSTOMER, good, CUSTOMER.encode()),
        control(SETTLE_TYPE, CUSTOMER, SettleRecord(target="t", units="seven", settled="0"), CUSTOMER.encode()),
    )
    (found,) = (one for one in partition.state.facts.definitions if isinstance(one, Settlement))
    assert (found.said, found.offset) == (good, 1)
    assert definition_key(found) == b'["settlement","t",1]'
    assert reasons(partition) == ["bad_control"]
