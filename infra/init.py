"""`tidemark init`: a commented `tidemark.toml`. The same text, with other meters, is what `up` and `demo` write for themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from topics.errors import UsageError

HEAD: Final = """\
# Tidemark. This file proposes; `tidemark apply` (and `up`) publishes what changed and says from when it holds.
# Secrets never stand here: STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET, TIDEMARK_CLICKHOUSE__USER and …__PASSWORD come from the environment.
# Any key can be set there too: TIDEMARK_KAFKA__BOOTSTRAP=broker:9092 wins over this file.
"""

SERVERS: Final = """
[kafka]
bootstrap = "localhost:9092"
partitions = 4                # fixed for ever: a customer's home is murmur2(customer) mod partitions
replication = 3               # `tidemark up` uses 1, on its own broker
min_insync = 2
retention = "7d"              # the longest stop of a worker that loses nothing

[clickhouse]
url = "http://localhost:8123"

[stripe]
api_base = "https://api.stripe.com"
mode = "usage_records"        # or "meters": Billing Meters; a meter can say otherwise for itself (stripe_mode)
calls_per_second = 80         # below your account's limit: 100 in live mode, 25 in test mode
# meter_calls_per_second = 20 # meter events have a limit of their own: 1000 in live mode; in test mode they count towards the 25
# gate = "hold"               # a draft invoice that still lacks usage of ours waits for it, at most 72 hours; "warn" only says so
# live = true                 # allows a live key: real invoices
# base_amount = 1900          # a fixed fee for each period, in cents, that `tidemark stripe setup` puts on every subscription;
                              # or base_price = "price_…", which is there already
# currency = "usd"            # of the prices that set-up makes, and their interval
# interval = "month"
"""

TIMING: Final = """
[timing]
dedup = "7d"                  # copies within this time of each other are counted once
horizon = "30d"               # how late an event may still correct its window
future = "5m"                 # how far ahead a producer's clock may be
revision_delay = "30s"        # late events are merged this long into one corrected total
"""

ALARMS: Final = """
[alarms]                      # when a running worker's /ready says no, and why; nothing is stopped by it
undelivered = "15m"           # the oldest due window that no provider has answered for
standstill = "5m"             # records wait, and nothing of them is done
"""

RECONCILE: Final = """
[reconcile]                   # `tidemark serve reconcile`: every number from the raw event to the invoice line, compared
every = "1h"
back = "62d"                  # billing periods that touch this time: with months, the running one and the one before
whole = "1d"                  # so often a run looks at everything, however old
"""

EXAMPLE_METERS: Final = """
[[meters]]
slug = "api_calls"
event_type = "api.request"    # CloudEvents `type`
value = "count"               # count events, or name the property of `data` with the quantity
# where = { region = "eu" }   # only events whose `data` has these values
window = "1h"                 # 10s … 1d, must divide a day: one report at Stripe for each window
grace = "5m"                  # how long after its end a window waits for late events before it is reported
allow_negative = false
# stripe_price = "price_…"    # the subscription's item with this price is billed; `tidemark stripe setup` makes one where missing
# unit_amount = "0.04"        # of that price, in the currency's smallest unit
# stripe_mode = "meters"      # two meters over one event type, one in each mode, are compared before a switch: `tidemark stripe compare`
# stripe_aggregation = "hour" # mode meters: the Billing Meter keeps one number for each UTC hour or day ("day"), or adds deltas up ("sum")
# stripe_meter = "mtr_…"      # mode meters: which one; or stripe_event_name, by default the slug
# scale = 1                   # units sent = quantity × scale
# late = "invoice_item"       # what comes after its invoice is final: on the next invoice; or "credit_note", "next_period", or "hold" for a person

[[meters]]
slug = "tokens"
event_type = "llm.request"
value = "tokens"              # {"data": {"tokens": 1843}}; a decimal string is read exactly too
"""

BUILT_IN_METERS: Final = """
[[meters]]
slug = "api_calls"
event_type = "api.request"    # CloudEvents `type`
value = "count"               # count events, or name the property of `data` with the quantity
window = "1h"                 # one report at Stripe for each window
grace = "5m"                  # how long after its end a window waits for late events before it is reported

[[meters]]
slug = "tokens"
event_type = "llm.request"
value = "tokens"

[[meters]]
slug = "requests"             # what `tidemark send access-log` sends
event_type = "http.request"
value = "count"

[[meters]]
slug = "egress_bytes"
event_type = "http.request"
value = "bytes"

[[meters]]
slug = "rows"                 # for a quick try: `tidemark send csv usage.csv --customer acme --type csv.row --value amount`
event_type = "csv.row"
value = "value"
"""

CUSTOMERS: Final = """
# Who is billed where. Without this, `tidemark stripe setup` makes what is missing at Stripe and `tidemark stripe sync` reads it.
# [[customers]]
# id = "acme"                 # CloudEvents `subject`, and the record's key
# email = "billing@acme.example"  # given to the customer that set-up makes; stripe_customer = "cus_…" names one that is there
# [[customers.items]]
# meter = "api_calls"
# stripe_subscription_item = "si_…"
# period_anchor = "2026-11-03T10:23:45Z"   # optional, like `period`: where absent, `apply` asks Stripe
# period = "month"
# scale = 1                   # units sent = quantity × scale
"""


def example_configuration() -> str:
    """What `init` writes."""
    return HEAD + SERVERS + TIMING + ALARMS + RECONCILE + EXAMPLE_METERS + CUSTOMERS


def built_in_configuration() -> str:
    """What `up` writes where there is no file: meters for every kind of `send`."""
    return HEAD + "\n[kafka]\npartitions = 4                # fixed for ever\n" + TIMING + BUILT_IN_METERS + CUSTOMERS


def write_configuration(path: Path, *, force: bool = False, text: str | None = None) -> None:
    """Writes the file. Raises UsageError where one is there already or the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(example_configuration() if text is None else text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; --force overwrites it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
