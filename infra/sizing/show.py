"""A sizing for `--json`, and from a configuration to the numbers that it knows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from infra.settings_stripe import mode_of
from infra.sizing import constants
from infra.sizing.constants import DRAFT_ROOM_S, EARLY_ROOM_S
from infra.sizing.figure import Sizing
from infra.sizing.load import FIELDS, Stated, option_of

if TYPE_CHECKING:
    from infra.settings import Settings

VERSION: Final = 1


def configured(settings: Settings) -> dict[str, float]:
    """What tidemark.toml says of a load: customers only where it lists them, meters only where there are any."""
    found: dict[str, float] = {
        "dedup_s": settings.timing.dedup_ms / 1000,
        "horizon_s": settings.timing.horizon_ms / 1000,
        "retention_s": settings.kafka.retention_ms / 1000,
        "partitions": settings.kafka.partitions,
        "replication": settings.kafka.replication,
    }
    if settings.customers:
        found["customers"] = len(settings.customers)
    if settings.meters:
        found["meters"] = len(settings.meters)
        found["window_s"] = min(meter.window_ms for meter in settings.meters) / 1000
        found["grace_s"] = max(meter.grace_ms for meter in settings.meters) / 1000
    modes = {mode_of(meter, settings.stripe.mode) for meter in settings.meters} or {settings.stripe.mode}
    by_record = modes != {"meters"}
    found["calls_per_s"] = settings.stripe.calls_per_second if by_record else settings.stripe.meter_calls_per_second
    found["edge_room_s"] = EARLY_ROOM_S if by_record else DRAFT_ROOM_S
    return found


def as_json(stated: Stated, sizing: Sizing) -> dict[str, Any]:
    """Numbers in plain units (bytes, seconds, per second), the rule of each, and every constant, so that a figure can be computed again."""
    return {
        "v": VERSION,
        "load": {
            name: {"option": option_of(name), "value": getattr(stated.load, name), "from": stated.origins[name], "means": FIELDS[name].means}
            for name in FIELDS
        },
        "figures": {figure.key: {"value": figure.value, "unit": figure.unit, "rule": figure.rule} for figure in sizing.figures},
        "misfits": list(sizing.misfits),
        "advice": list(sizing.advice),
        "constants": {name: value for name, value in vars(constants).items() if name.isupper()},
    }
