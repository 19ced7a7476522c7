"""`apply` publishes exactly what differs, with the digest it replaces, and knows each partition's answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import apply as applying
from infra.control import ControlEvent, binding_event, close_event, meters_event, release_event
from infra.proposal import Answer, Proposal, Publication, answers_to, newest, publications, unchanged
from infra.proposing import proposal_of
from infra.settings import CustomerSettings, ItemSettings, MeterSettings, Settings, load_settings
from sinks.stripe.suitability import Terms
from topics.bindings import BindingRecord, Item, ItemVersion, items_digest
from topics.definitions import Definitions
from topics.errors import ConfigurationFault
from topics.event import Event, parse_event
from topics.home import home_of
from topics.meters import BEGINNING_S, Meter, MetersRecord, MeterVersion, Timing, TimingVersion, meters_digest

METERS = (Meter(slug="calls", event_type="api.request"), Meter(slug="tokens", event_type="llm.request", value="tokens"))
PARTITIONS = 4


def item(number: int, meter: str = "calls") -> Item:
    """An item of the provider."""
    return Item(meter=meter, item=f"si_{number}", period_anchor_s=1_700_000_000)


def in_force(proposal: Proposal, partition: int) -> Definitions:
    """A partition on which the proposal holds."""
    found = Definitions()
    digest = meters_digest(proposal.timing, proposal.meters)
    found.apply(TimingVersion(timing=proposal.timing, offset=0, digest=digest))
    for customer, items in proposal.items.items():
        if home_of(customer.encode(), PARTITIONS) == partition:
            for each in items:
                version = ItemVersion(customer=customer, meter=each.meter, item=each, valid_from_s=BEGINNING_S, offset=1, digest=items_digest(items))
                found.apply(version)
    return found


CUSTOMERS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 3).map(lambda n: (item(n),)), max_size=8)


@given(old=CUSTOMERS, new=CUSTOMERS, fresh=st.sets(st.integers(0, PARTITIONS - 1)))
def test_only_what_differs_is_published_and_it_names_what_it_replaces(
    old: dict[str, tuple[Item, ...]], new: dict[str, tuple[Item, ...]], fresh: set[int]
) -> None:
    """From any state in force to any proposal: each difference once, on the right partition, with the digest in force as `replaces`."""
    before = Proposal(Timing(), METERS, old)
    wanted = Proposal(Timing(), METERS, new)
    held = [Definitions() if partition in fresh else in_force(before, partition) for partition in range(PARTITIONS)]
    found = publications(wanted, held)
    assert {publication.partition for publication in found if not publication.customer} == fresh
    for publication in found:
        event = parse_event(publication.event.value)
        assert isinstance(event, Event)
        assert isinstance(event.data, dict)
        assert event.data["digest"] == publication.event.digest
        if publication.customer:
            assert publication.event.key == publication.customer.encode()
            assert publication.partition == home_of(publication.event.key, PARTITIONS)
            assert event.data.get("replaces") == held[publication.partition].customer_digests.get(publication.customer)
    changed = {publication.customer for publication in found if publication.customer}
    homes = {customer: home_of(customer.encode(), PARTITIONS) for customer in new}
    assert changed == {customer for customer in new if homes[customer] in fresh or old.get(customer) != new[customer]}
    assert len(found) + len(unchanged(wanted, held)) == PARTITIONS + len(new)


@given(new=CUSTOMERS)
def test_what_is_in_force_is_not_published_again(new: dict[str, tuple[Item, ...]]) -> None:
    """Applying what holds publishes nothing."""
    proposal = Proposal(Timing(), METERS, new)
    assert publications(proposal, [in_force(proposal, partition) for partition in range(PARTITIONS)]) == []


def test_meters_come_before_items_and_an_unbound_customer_stays_unsaid() -> None:
    """Items name meters, so meters go first; a customer without items who was never bound gets no record."""
    proposal = Proposal(Timing(), METERS, {"acme": (item(1),), "nobody": ()})
    found = publications(proposal, [Definitions() for _ in range(PARTITIONS)])
    assert [bool(publication.customer) for publication in found] == [False] * PARTITIONS + [True]


def test_control_records_are_what_the_fold_reads() -> None:
    """Each control record is a CloudEvent whose data decodes into the record that the fold wants; keys are the subjects."""
    kinds: list[tuple[ControlEvent, Any]] = [
        (meters_event(Timing(), METERS, "old"), MetersRecord),
        (binding_event("a|b", (item(1),), None), BindingRecord),
    ]
    for event, kind in kinds:
        parsed = parse_event(event.value)
        assert isinstance(parsed, Event)
        assert parsed.subject.encode() == event.key
        assert msgspec.convert(parsed.data, kind).digest == event.digest
    assert json.loads(release_event("acme", '["window","k"]', "why").value)["data"]["target"] == '["window","k"]'
    assert close_event("1").value != close_event("2").value


def test_an_answer_is_the_version_with_the_digest() -> None:
    """A partition has answered once it published the digest; what changed is listed with the instant from which it holds."""
    proposal = Proposal(Timing(), METERS, {"acme": (item(1),)})
    home = home_of(b"acme", PARTITIONS)
    found = publications(proposal, [Definitions() for _ in range(PARTITIONS)])
    meters, items = found[home], found[-1]
    assert answers_to(meters, []) is None
    timing = TimingVersion(timing=Timing(), offset=3, digest=meters.event.digest)
    version = MeterVersion(meter=METERS[0], valid_from_s=1_793_700_000, offset=3, digest=meters.event.digest)
    answer = answers_to(meters, [timing, version])
    assert answer is not None
    assert answer.holds == (("calls", "2026-11-03T10:00:00Z"),)
    assert answers_to(items, [timing, version]) is None
    bound = ItemVersion(customer="acme", meter="calls", item=item(1), valid_from_s=BEGINNING_S, offset=4, digest=items.event.digest)
    answer = answers_to(items, [bound])
    assert answer is not None
    assert answer.holds == (("calls", "the beginning"),)


def settings_with(item_settings: ItemSettings, price: str | None = None) -> Settings:
    """Settings with one customer and this item."""
    base = load_settings(None, {})
    meter = MeterSettings(slug="calls", event_type="api.request", stripe_price=price)
    customer = CustomerSettings(id="acme", items=(item_settings,))
    return Settings(base.kafka, base.clickhouse, base.stripe, base.timing, (meter,), (customer,), base.worker, base.status)


FOUND = Item(
    meter="calls", item="si_1", price="price_1", subscription="sub_1", period_anchor_s=5, period="week", period_count=2, starts_at_s=7, ends_at_s=9
)


def found(_item_id: str, _terms: Terms) -> Item:
    """What the provider says of every item."""
    return FOUND


def test_what_the_file_leaves_open_is_read_from_the_provider() -> None:
    """Without anchor and period the provider's are taken; with both the provider is not asked."""
    asked: list[str] = []

    def lookup(item_id: str, _terms: Terms) -> Item:
        asked.append(item_id)
        return FOUND

    open_item = ItemSettings(meter="calls", stripe_subscription_item="si_1")
    (made,) = proposal_of(settings_with(open_item), lookup).items["acme"]
    assert made == FOUND
    assert asked == ["si_1"]
    whole = ItemSettings.model_validate(
        {"meter": "calls", "stripe_subscription_item": "si_2", "period_anchor": "2026-11-03T10:23:45Z", "period": "month"}
    )
    (made,) = proposal_of(settings_with(whole), lookup).items["acme"]
    assert (made.period, made.period_count, made.starts_at_s) == ("month", 1, None)
    assert asked == ["si_1"]


def test_another_price_than_the_file_says_is_a_fault() -> None:
    """Where the provider's item has another price than the meter's, the wrong thing would be billed: a configuration fault."""
    with pytest.raises(ConfigurationFault, match="price_1"):
        proposal_of(settings_with(ItemSettings(meter="calls", stripe_subscription_item="si_1"), price="price_2"), found)


def test_the_files_own_items_win_over_those_read_from_subscriptions() -> None:
    """`stripe sync` brings items of customers that the file does not name; the file's stay as they are written."""
    whole = ItemSettings.model_validate(
        {"meter": "calls", "stripe_subscription_item": "si_2", "period_anchor": "2026-11-03T10:23:45Z", "period": "month"}
    )
    proposal = proposal_of(settings_with(whole), found, {"acme": (item(9),), "other": (item(8),)})
    assert proposal.items["acme"][0].item == "si_2"
    assert proposal.items["other"] == (item(8),)


def test_a_second_attempt_forgets_no_answer_of_the_first() -> None:
    """What the first attempt put in force keeps its date where the second found it unchanged; everything else is as the second says."""
    holds = (("calls", "the beginning"),)
    first = [Answer(0, "", "in force", holds), Answer(1, "", "unchanged"), Answer(1, "acme", "refused"), Answer(2, "globex", "in force", holds)]
    second = [Answer(0, "", "unchanged"), Answer(1, "", "unchanged"), Answer(1, "acme", "in force", holds), Answer(2, "globex", "refused")]
    assert newest(first, second) == [first[0], second[1], second[2], second[3]]


@pytest.mark.parametrize("overtaken", [True, False])
async def test_what_was_overtaken_is_proposed_again(monkeypatch: pytest.MonkeyPatch, overtaken: bool) -> None:
    """A binding that lost a race against a webhook names what is in force now and is taken; one that is refused for itself is refused once."""
    item = Item(meter="calls", mode="usage_records", item="si_1", period_anchor_s=0, period="month")
    proposal = Proposal(Timing(), (), {"acme": (item,)})
    published: list[list[Publication]] = []
    in_force = [_held(proposal)]

    async def publish(_bootstrap: str, to_publish: Sequence[Publication]) -> list[int]:
        published.append(list(to_publish))
        return list(range(len(to_publish)))

    async def answers(_bootstrap: str, to_publish: Sequence[Publication], *_: object) -> list[Answer]:
        first = len(published) == 1
        if first and overtaken:
            in_force[0].customer_digests["acme"] = "that of a webhook"
        state: Literal["in force", "refused"] = "refused" if first or not overtaken else "in force"
        return [Answer(each.partition, each.customer, state) for each in to_publish]

    async def definitions_in_force(*_: object) -> list[Definitions]:
        return in_force

    async def end_offsets(*_: object) -> dict[int, int]:
        return {0: 0}

    for each in (publish, answers, definitions_in_force, end_offsets):
        monkeypatch.setattr(applying, each.__name__, each)
    said = await applying.apply("nowhere", proposal, 1)
    assert [answer.state for answer in said if answer.customer == "acme"] == (["in force"] if overtaken else ["refused"])
    assert len(published) == (2 if overtaken else 1)


def _held(proposal: Proposal) -> Definitions:
    """A partition on which the meters of a proposal are in force."""
    held = Definitions()
    held.meters_digest = meters_digest(proposal.timing, proposal.meters)
    return held
