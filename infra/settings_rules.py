"""Rules across keys of a configuration,; warnings are for `tidemark check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infra.settings_sources import redacted
from infra.settings_stripe import meters_faults, mode_of, provider_faults
from topics.durations import format_ms
from topics.errors import Fault
from topics.home import home_of
from topics.meters import Timing, meter_problems

if TYPE_CHECKING:
    from infra.settings import CustomerSettings, ItemSettings, KafkaSettings, MeterSettings, Settings, StripeMode

_INSTEAD = 'Write late = "invoice_item" (billed on the customer\'s next invoice), "credit_note" or "hold".'


def rule_faults(sections: dict[str, Any], lists: dict[str, tuple[Any, ...]]) -> list[Fault]:
    """Faults that no single key shows. Sections that were faulty themselves are absent and not judged again."""
    faults: list[Fault] = []
    if "kafka" in sections:
        faults += _kafka_faults(sections["kafka"])
    if "stripe" in sections:
        faults += provider_faults(sections["stripe"])
        faults += meters_faults(lists["meters"], sections["stripe"].mode)
    timing = sections["timing"].record() if "timing" in sections else Timing()
    default: StripeMode = sections["stripe"].mode if "stripe" in sections else "usage_records"
    faults += _meters_faults(lists["meters"], timing, default)
    faults += _customers_faults(lists["customers"], {meter.slug: mode_of(meter, default) for meter in lists["meters"]})
    # They quote names, and a key may have been pasted where a name belongs.
    return [Fault(fault.place, redacted(fault.problem), redacted(fault.remedy)) for fault in faults]


def _kafka_faults(kafka: KafkaSettings) -> list[Fault]:
    if kafka.min_insync <= kafka.replication:
        return []
    problem = f"min_insync = {kafka.min_insync} is more than replication = {kafka.replication}: no write would ever be acknowledged"
    return [Fault("kafka.min_insync", problem, f"Write min_insync = {max(1, kafka.replication - 1)}, or raise replication.")]


def _meters_faults(meters: tuple[MeterSettings, ...], timing: Timing, default: StripeMode) -> list[Fault]:
    faults: list[Fault] = []
    for index, meter in enumerate(meters):
        place = f"meters[{index}]"
        faults += _late_faults(place, meter, mode_of(meter, default))
        problems = (problem for problem in meter_problems((meter.record(),), timing) if not problem.startswith("timing "))
        faults += [Fault(place, problem, "Correct this meter; `tidemark init` shows the form.") for problem in problems]
        if meter.window_ms % 1000:
            remedy = 'Write whole seconds, for example window = "10s".'
            faults.append(Fault(f"{place}.window", f"{format_ms(meter.window_ms)} is no whole number of seconds", remedy))
    for slug, count in Counter(meter.slug for meter in meters).items():
        if count > 1:
            faults.append(Fault("meters", f"the slug {slug!r} is there {count} times", "Give each meter its own slug."))
    return faults


def _customers_faults(customers: tuple[CustomerSettings, ...], modes: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    for identity, count in Counter(customer.id for customer in customers).items():
        if count > 1:
            faults.append(Fault("customers", f"the id {identity!r} is there {count} times", "Put all its items below one [[customers]]."))
    for index, customer in enumerate(customers):
        for number, item in enumerate(customer.items):
            faults += _item_faults(f"customers[{index}].items[{number}]", item, modes)
        for slug, count in Counter(item.meter for item in customer.items).items():
            if count > 1:
                problem = f"customer {customer.id!r} has {count} items for meter {slug!r}"
                faults.append(Fault(f"customers[{index}].items", problem, "Keep one item for each meter."))
    items = Counter(item.stripe_subscription_item for customer in customers for item in customer.items)
    for item_id, count in items.items():
        if count > 1:
            problem = f"the subscription item {item_id!r} is bound {count} times: their reports would overwrite each other"
            faults.append(Fault("customers", problem, "Give every customer and meter its own subscription item."))
    return faults


def _late_faults(place: str, owner: ItemSettings | MeterSettings, mode: str | None) -> list[Fault]:
    """A Billing Meter has no second that is an adjustment's own: it keeps one number for an hour or a day, or the sum of all."""
    if owner.late != "next_period" or mode != "meters":
        return []
    problem = 'late = "next_period" is for usage records: a Billing Meter could not tell these units from what is used then'
    return [Fault(f"{place}.late", problem, _INSTEAD)]


def _item_faults(place: str, item: ItemSettings, modes: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    if item.meter not in modes:
        known = ", ".join(sorted(modes)) or "none"
        faults.append(Fault(f"{place}.meter", f"there is no meter {item.meter!r}", f"The meters of this file are: {known}."))
    faults += _late_faults(place, item, modes.get(item.meter))
    if item.fractions == "exact" and modes.get(item.meter) == "usage_records":
        faults.append(Fault(f"{place}.fractions", "usage records take whole units only", 'Write fractions = "refuse" or "ledger".'))
    if item.scale is not None and item.scale.strip("0.") == "":
        faults.append(Fault(f"{place}.scale", "scale is 0, which would report nothing", "Write scale = 1."))
    return faults


def warnings(settings: Settings) -> list[str]:
    """What is allowed and worth saying."""
    found: list[str] = []
    kafka, timing = settings.kafka, settings.timing
    if kafka.replication < 3 or kafka.min_insync < 2:
        found.append(f"kafka: replication {kafka.replication}, min_insync {kafka.min_insync}: one lost disk loses usage; not for money")
    if kafka.retention_ms < 86_400_000:
        found.append(f"kafka.retention: a worker that stands still longer than {format_ms(kafka.retention_ms)} loses usage")
    if timing.dedup_ms < timing.future_ms:
        found.append("timing.dedup is shorter than timing.future: copies may be counted twice inside the tolerance for clocks")
    if not settings.meters:
        found.append("meters: none is configured, so every event will be rejected as no_meter")
    credited = [meter.slug for meter in settings.meters if meter.late == "credit_note"]
    credited += [item.meter for customer in settings.customers for item in customer.items if item.late == "credit_note"]
    if credited and settings.stripe.webhook_secret is None:
        known = "an invoice is known as final by Stripe's webhooks only (`tidemark serve webhooks`, STRIPE_WEBHOOK_SECRET)"
        found.append(f'meters {", ".join(dict.fromkeys(credited))}: late = "credit_note": {known}; until then nothing is credited')
    unbilled = [meter.slug for meter in settings.meters if meter.stripe_price is None]
    explicit = {item.meter for customer in settings.customers for item in customer.items}
    if not settings.embedded and (silent := [slug for slug in unbilled if slug not in explicit]):
        found.append(f"meters {', '.join(silent)}: no stripe_price and no customer's item, so what they count is billed to nobody")
    return found


ID_MEMORY_BYTES = 8
"""What one remembered id costs in memory: 6 bytes a slot of an index that is four fifths full, and room to grow (measured: 7.7)."""
ID_FILE_BYTES = 16
"""What it costs beside that in an unnamed file under the worker's directory: its digest. The same again in `usage.state`."""


def dedup_memory_bytes(settings: Settings, events_per_second: float) -> int:
    """What the ids of one `dedup` span cost all meter workers together in memory at a steady rate."""
    return int(_remembered_ids(settings, events_per_second) * ID_MEMORY_BYTES)


def dedup_file_bytes(settings: Settings, events_per_second: float) -> int:
    """What they cost on the workers' disks."""
    return int(_remembered_ids(settings, events_per_second) * ID_FILE_BYTES)


def _remembered_ids(settings: Settings, events_per_second: float) -> float:
    # A bucket of ids is an hour, and lives from its end on for `dedup`.
    return (settings.timing.dedup_ms + 3_600_000) / 1000 * events_per_second


def homes(settings: Settings) -> dict[str, int]:
    """Each configured customer's home partition (law 1)."""
    return {customer.id: home_of(customer.id.encode(), settings.kafka.partitions) for customer in settings.customers}
