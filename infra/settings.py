"""One frozen Settings, read once and validated whole: every fault of a configuration is reported at once, with place and remedy.

Order, the later wins: defaults · `tidemark.toml` · the environment · the addresses of a running stack.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from infra.readiness import Limits
from infra.settings_faults import model_faults, unknown_fault, without_faulty
from infra.settings_rules import rule_faults
from infra.settings_sources import Tree, address_faults, merged, read_environment, read_toml, secret_faults, without_secrets
from topics.durations import format_ms, parse_ms
from topics.errors import ConfigurationFault, Fault
from topics.instants import parse_s
from topics.meters import COUNT, Meter, Scalar, Timing
from topics.periods import Interval

M = TypeVar("M", bound=BaseModel)
DEFAULT_FILE: Final = "tidemark.toml"


def _duration(at_least_ms: int) -> BeforeValidator:
    """Reads `5m`; refuses what is shorter than `at_least_ms`."""

    def read(value: object) -> int:
        found = parse_ms(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"{value!r} is no duration: a whole number with ms, s, m, h or d, in quotes")
        if found < at_least_ms:
            raise ValueError(f"{value} is less than {format_ms(at_least_ms)}")
        return found

    return BeforeValidator(read)


def _instant(value: object) -> int:
    text = value.isoformat() if isinstance(value, datetime) else value  # TOML has instants of its own
    found = parse_s(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{str(value)!r} is no RFC 3339 instant in whole seconds with a zone")
    return found


def _whole(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError(f"{value!r} is no whole number")
    return value


def _plain_number(value: object) -> object:
    """A whole number may be written without quotes; a fraction may not: TOML would make it a binary float."""
    return str(value) if type(value) is int else value


def _addresses(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


DurationMs = Annotated[int, _duration(0)]
AtLeastSecondMs = Annotated[int, _duration(1000)]
AtLeastMinuteMs = Annotated[int, _duration(60_000)]
AtLeastHourMs = Annotated[int, _duration(3_600_000)]
InstantS = Annotated[int, BeforeValidator(_instant)]
Whole = Annotated[int, BeforeValidator(_whole)]
Amount = Annotated[str, BeforeValidator(_plain_number), Field(pattern=r"^\d{1,12}(\.\d{1,12})?$")]
"""Of money: smallest units of a currency, with up to twelve places (Stripe: `unit_amount_decimal`)."""
Scale = Annotated[str, BeforeValidator(_plain_number), Field(pattern=r"^\d{1,18}(\.\d{1,12})?$")]
StripeMode = Literal["usage_records", "meters"]
Fractions = Literal["refuse", "ledger", "exact"]
Late = Literal["hold", "next_period", "invoice_item", "credit_note"]
Gate = Literal["off", "warn", "hold"]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]+")]


class Section(BaseModel):
    """A table of the file: frozen, unknown keys are faults, keys are written as their alias says."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=False)


class KafkaSettings(Section):
    """The log. `retention_ms` is the longest stop a worker survives without loss."""

    bootstrap: str = Field(default="localhost:9092", min_length=1, examples=['"localhost:9092"'])
    partitions: Whole = Field(default=4, ge=1, le=1024, examples=["4"])
    replication: Whole = Field(default=3, ge=1, le=9, examples=["3"])
    min_insync: Whole = Field(default=2, ge=1, le=9, examples=["2"])
    retention_ms: AtLeastMinuteMs = Field(default=7 * 86_400_000, alias="retention", examples=['"7d"'])


class ClickhouseSettings(Section):
    """The archive; `user`, `password` and `analyst_password` (of the user that `migrate --analyst` makes) by environment."""

    url: HttpUrl = Field(default="http://localhost:8123", examples=['"http://localhost:8123"'])
    database: str = Field(default="tidemark", pattern=r"^[a-z][a-z0-9_]{0,62}$", examples=['"tidemark"'])
    user: str = Field(default="default", examples=['"default"'])
    password: SecretStr | None = None
    analyst_password: SecretStr | None = None


class StripeSettings(Section):
    """The provider. `api_key` and `webhook_secret` by environment only.

    `gate` is the invoice gate: whether a draft that lacks usage of ours is held (`hold`), only said (`warn`), or nobody's business (`off`).
    `live` allows a live key; `plain_http` an http:// address beyond this machine. `base_price` names the fixed fee that `stripe setup` puts on
    every subscription, `base_amount` (smallest units of `currency` for each `interval`) has one made; `currency` and `interval` are those of
    every price that set-up makes.
    """

    api_base: HttpUrl = Field(default="https://api.stripe.com", examples=['"https://api.stripe.com"'])
    mode: StripeMode = Field(default="usage_records", examples=['"usage_records"'])
    calls_per_second: Whole = Field(default=80, ge=1, le=10_000, examples=["80"])
    meter_calls_per_second: Whole = Field(default=20, ge=1, le=10_000, examples=["20"])
    gate: Gate = Field(default="off", examples=['"hold"'])
    live: bool = Field(default=False, examples=["true"])
    plain_http: bool = Field(default=False, examples=["true"])
    base_price: str | None = Field(default=None, min_length=1, examples=['"price_…"'])
    base_amount: Amount | None = Field(default=None, examples=["1900"])
    currency: str = Field(default="usd", pattern=r"^[a-z]{3}$", examples=['"usd"'])
    interval: Interval = Field(default="month", examples=['"month"'])
    api_key: SecretStr | None = None
    webhook_secret: SecretStr | None = None


class TimingSettings(Section):
    """The log's own clocks (`topics/meters.py`), all in milliseconds."""

    dedup_ms: AtLeastSecondMs = Field(default=7 * 86_400_000, alias="dedup", examples=['"7d"'])
    horizon_ms: AtLeastSecondMs = Field(default=30 * 86_400_000, alias="horizon", examples=['"30d"'])
    future_ms: AtLeastSecondMs = Field(default=300_000, alias="future", examples=['"5m"'])
    revision_delay_ms: DurationMs = Field(default=30_000, alias="revision_delay", examples=['"30s"'])

    def record(self) -> Timing:
        """As a control record carries it."""
        return Timing(dedup_ms=self.dedup_ms, horizon_ms=self.horizon_ms, future_ms=self.future_ms, revision_delay_ms=self.revision_delay_ms)


class AlarmSettings(Section):
    """When a worker that runs calls itself not ready (`infra/readiness.py`), in milliseconds."""

    undelivered_ms: AtLeastSecondMs = Field(default=900_000, alias="undelivered", examples=['"15m"'])
    standstill_ms: AtLeastSecondMs = Field(default=300_000, alias="standstill", examples=['"5m"'])

    def limits(self) -> Limits:
        """As the decision takes them."""
        return Limits(undelivered_s=self.undelivered_ms / 1000, standstill_s=self.standstill_ms / 1000)


class ReconcileSettings(Section):
    """The scheduled reconciliation (`tidemark serve reconcile`): how often it runs, how far back, how often over everything, in ms."""

    every_ms: AtLeastMinuteMs = Field(default=3_600_000, alias="every", examples=['"1h"'])
    back_ms: AtLeastHourMs = Field(default=62 * 86_400_000, alias="back", examples=['"62d"'])
    whole_ms: AtLeastHourMs = Field(default=86_400_000, alias="whole", examples=['"1d"'])


class MeterSettings(Section):
    """One `[[meters]]`. `stripe_price`: a subscription's item with this price is the item for this meter.

    `stripe_mode`: as `[stripe] mode`, for this meter alone. Mode `meters`: `stripe_meter` or `stripe_event_name` (default: the slug) names the
    Billing Meter, `stripe_aggregation` how it must add up (default: as it does). `unit_amount` (smallest units of the currency): of a price that
    set-up makes. `scale`, `fractions` and `late`: of items that do not say otherwise.
    """

    slug: str = Field(examples=['"api_calls"'])
    event_type: str = Field(examples=['"api.request"'])
    value: str = Field(default=COUNT, min_length=1, examples=['"count"'])
    where: dict[str, Scalar] = Field(default_factory=dict, examples=['{ region = "eu" }'])
    window_ms: DurationMs = Field(default=3_600_000, alias="window", examples=['"1h"'])
    grace_ms: DurationMs = Field(default=300_000, alias="grace", examples=['"5m"'])
    allow_negative: bool = Field(default=False, examples=["false"])
    stripe_price: str | None = Field(default=None, min_length=1, examples=['"price_…"'])
    stripe_mode: StripeMode | None = Field(default=None, examples=['"meters"'])
    stripe_meter: str | None = Field(default=None, min_length=1, examples=['"mtr_…"'])
    stripe_event_name: str | None = Field(default=None, min_length=1, max_length=100, examples=['"api_requests"'])
    stripe_aggregation: Literal["hour", "day", "sum"] | None = Field(default=None, examples=['"hour"'])
    unit_amount: Amount | None = Field(default=None, examples=['"0.04"'])
    scale: Scale = Field(default="1", examples=["1"])
    fractions: Fractions | None = Field(default=None, examples=['"refuse"'])
    late: Late = Field(default="hold", examples=['"hold"'])

    def record(self) -> Meter:
        """As a control record carries it; the provider's price is no part of what is counted."""
        return Meter(
            slug=self.slug,
            event_type=self.event_type,
            value=self.value,
            where=dict(self.where),
            window_s=self.window_ms // 1000,
            grace_ms=self.grace_ms,
            allow_negative=self.allow_negative,
        )


class ItemSettings(Section):
    """One `[[customers.items]]`; what is None is read from the provider by `apply`, or is as its meter says (`scale`, `fractions`, `late`)."""

    meter: str = Field(examples=['"api_calls"'])
    stripe_subscription_item: str = Field(min_length=1, examples=['"si_…"'])
    price: str | None = Field(default=None, examples=['"price_…"'])
    period_anchor_s: InstantS | None = Field(default=None, alias="period_anchor", examples=['"2026-11-03T10:23:45Z"'])
    period: Interval | None = Field(default=None, examples=['"month"'])
    scale: Scale | None = Field(default=None, examples=["1"])
    fractions: Fractions | None = Field(default=None, examples=['"refuse"'])
    late: Late | None = Field(default=None, examples=['"hold"'])


class CustomerSettings(Section):
    """One `[[customers]]`: `id` is CloudEvents' `subject`. Without items, `stripe setup` and `stripe sync` find them.

    `email` and `test_clock` are given to a customer that set-up makes; `stripe_customer` says which one is there already.
    """

    id: str = Field(min_length=1, examples=['"acme"'])
    email: str | None = Field(default=None, min_length=3, max_length=512, examples=['"billing@acme.example"'])
    stripe_customer: str | None = Field(default=None, min_length=1, examples=['"cus_…"'])
    test_clock: str | None = Field(default=None, min_length=1, examples=['"clock_…"'])
    items: tuple[ItemSettings, ...] = ()


class WorkerSettings(Section):
    """One process of a stack; set by the supervisor or the container, never in a file."""

    name: str = Field(default="", examples=["meter-0"])
    http: str = Field(default="127.0.0.1:0", pattern=r"^[^:\s]+:\d{1,5}$", examples=["127.0.0.1:8101"])
    dir: str = ""
    session_timeout_s: Whole = Field(default=45, ge=1, le=90, examples=["45"])  # Faust takes none above its request time-out


class StatusSettings(Section):
    """Where `tidemark status` asks when there is no embedded stack: the HTTP addresses of the workers."""

    workers: Annotated[tuple[HttpUrl, ...], BeforeValidator(_addresses)] = Field(default=(), examples=['["http://meter-0:8101"]'])


@dataclass(frozen=True)
class Settings:
    """Everything that a process of ours needs to know; `source` is the file it was read from."""

    kafka: KafkaSettings
    clickhouse: ClickhouseSettings
    stripe: StripeSettings
    timing: TimingSettings
    meters: tuple[MeterSettings, ...]
    customers: tuple[CustomerSettings, ...]
    worker: WorkerSettings
    status: StatusSettings
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    reconcile: ReconcileSettings = field(default_factory=ReconcileSettings)
    embedded: bool = False
    source: Path | None = None

    def meter_records(self) -> tuple[Meter, ...]:
        """All meters as a control record carries them."""
        return tuple(meter.record() for meter in self.meters)


_SECTIONS: Final[dict[str, type[Section]]] = {
    "kafka": KafkaSettings,
    "clickhouse": ClickhouseSettings,
    "stripe": StripeSettings,
    "timing": TimingSettings,
    "alarms": AlarmSettings,
    "reconcile": ReconcileSettings,
    "worker": WorkerSettings,
    "status": StatusSettings,
}
_LISTS: Final[dict[str, type[Section]]] = {"meters": MeterSettings, "customers": CustomerSettings}
_ENVIRONMENT_ONLY: Final = frozenset({"worker"})


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None, stack: Tree | None = None) -> Settings:
    """Settings of a file (default: TIDEMARK_CONFIG, else none), the environment and a running stack's addresses.

    `stack`: tables like those of the file, which win over all else. Raises ConfigurationFault with every fault.
    """
    environment = os.environ if environment is None else environment
    if path is None and environment.get("TIDEMARK_CONFIG"):
        path = Path(environment["TIDEMARK_CONFIG"])
    tree = read_toml(path) if path is not None else {}
    from_environment = read_environment(environment)
    faults = secret_faults(tree) + address_faults(from_environment)
    for name in _ENVIRONMENT_ONLY & tree.keys():
        faults.append(Fault(name, "this section is set by who starts the worker", f"Delete [{name}] from the file."))
        del tree[name]
    whole = merged(without_secrets(tree), from_environment, stack or {})
    sections = _sections(whole, from_environment, faults)
    lists: dict[str, Any] = {name: _list(model, whole.get(name, []), name, faults) for name, model in _LISTS.items()}
    faults += [
        unknown_fault(name if name in tree else f"TIDEMARK_{name.upper()}__…", name, [*_SECTIONS, *_LISTS])
        for name in whole
        if name not in _SECTIONS and name not in _LISTS
    ]
    faults += rule_faults(sections, lists)
    if faults:
        raise ConfigurationFault(faults)
    embedded = environment.get("TIDEMARK_EMBEDDED") == "1" or stack is not None
    return Settings(**sections, meters=lists["meters"], customers=lists["customers"], embedded=embedded, source=path)


def _sections(whole: Tree, from_environment: Tree, faults: list[Fault]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, model in _SECTIONS.items():
        values = whole.get(name, {})
        if not isinstance(values, dict):
            faults.append(Fault(name, "it is no section", f"Write [{name}] and its keys below."))
            continue
        section = _validated(model, values, name, faults, frozenset(from_environment.get(name, ())))
        if section is not None:
            found[name] = section
    return found


def _list(model: type[M], values: object, name: str, faults: list[Fault]) -> tuple[M, ...]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        faults.append(Fault(name, "it is no list of sections", f"Write [[{name}]] with two brackets for each."))
        return ()
    found = (_validated(model, value, f"{name}[{index}]", faults) for index, value in enumerate(values))
    return tuple(section for section in found if section is not None)


def _validated(model: type[M], values: Tree, place: str, faults: list[Fault], from_environment: frozenset[str] = frozenset()) -> M | None:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults += model_faults(error, model, place, from_environment)
        left = without_faulty(values, error)
    # What is right of a faulty section is judged by the rules across keys too, so that all is said at once; nobody else gets to see it.
    try:
        return model.model_validate(left)
    except ValidationError:
        return None
