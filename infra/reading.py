"""Reading ClickHouse for people: one connection from the settings, and the questions that `usage`, `windows`, `bindings` ask of the views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from topics.errors import UsageError
from topics.instants import US_PER_S, parse_us

if TYPE_CHECKING:
    from infra.settings import ClickhouseSettings, Settings
    from sinks.clickhouse.client import ClickHouse

Row = dict[str, Any]

USAGE: Final = """
SELECT meter, sum(quantity) AS quantity, count() AS events, min(occurred_at) AS first, max(occurred_at) AS last
FROM usage_events
WHERE verdict = 'counted' AND customer = {customer:String} AND ({meter:String} = '' OR meter = {meter:String})
  AND occurred_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND occurred_at < fromUnixTimestamp64Micro({to_us:Int64})
GROUP BY meter ORDER BY meter
"""
NOT_COUNTED: Final = """
SELECT verdict, reason, count() AS events
FROM usage_events
WHERE verdict != 'counted' AND customer = {customer:String}
  AND occurred_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND occurred_at < fromUnixTimestamp64Micro({to_us:Int64})
GROUP BY verdict, reason ORDER BY verdict, reason
"""
WINDOWS: Final = """
SELECT c.customer AS customer, c.meter AS meter, c.window_start AS window_start, c.window_end AS window_end, c.state AS state,
       c.reason AS reason, c.counted AS counted, c.counted_events AS events, c.emitted AS emitted, c.delivered AS delivered,
       w.revisions AS revisions
FROM coverage AS c
LEFT JOIN window_totals AS w
  ON w.customer = c.customer AND w.meter = c.meter AND w.window_start = c.window_start AND w.window_end = c.window_end
WHERE ({customer:String} = '' OR c.customer = {customer:String}) AND ({meter:String} = '' OR c.meter = {meter:String})
  AND ({state:String} = '' OR c.state = {state:String})
ORDER BY c.customer, c.meter, c.window_start
LIMIT {limit:UInt32}
"""
BINDINGS: Final = """
SELECT customer, meter, provider, account, mode, item, price, subscription, period_count, period, period_anchor, scale, fractions, late,
       valid_from, valid_until
FROM bindings
WHERE ({customer:String} = '' OR customer = {customer:String})
ORDER BY customer, meter, valid_from
LIMIT {limit:UInt32}
"""
DEAD_LETTERS: Final = """
SELECT reason, count() AS events, uniqExact(customer) AS customers, min(received_at) AS first, max(received_at) AS last,
       any(sentence) AS example, argMax(concat(toString(kafka_partition), ':', toString(kafka_offset)), received_at) AS newest
FROM rejected_events
GROUP BY reason ORDER BY events DESC, reason
"""
DEAD_LETTERS_OF: Final = """
SELECT concat(toString(kafka_partition), ':', toString(kafka_offset)) AS id, reason, customer, event_id, type, received_at, sentence
FROM rejected_events
WHERE ({reason:String} = '' OR reason = {reason:String}) AND ({customer:String} = '' OR customer = {customer:String})
ORDER BY received_at, kafka_partition, kafka_offset
LIMIT {limit:UInt32}
"""
DEAD_LETTER: Final = """
SELECT reason, sentence, customer, subject, event_id, source, type, kafka_topic, kafka_partition, kafka_offset, received_at, rejected_at,
       key_is_null, value_is_null, hex(value) AS value_hex, arrayMap(name -> toString(name), header_names) AS header_names,
       arrayMap(value -> hex(value), header_values) AS header_values_hex
FROM rejected_events
WHERE kafka_partition = {partition:UInt32} AND kafka_offset = {offset:UInt64}
"""

EARLIEST_US: Final = -2_208_988_800 * US_PER_S
"""1900: where the archive's times begin."""
LATEST_US: Final = 10_413_791_999 * US_PER_S
"""2299: where they end."""


def clickhouse(settings: Settings) -> ClickHouse:
    """A connection from the settings; made when it is first asked."""
    from sinks.clickhouse.client import ClickHouse

    return ClickHouse(address_of(settings.clickhouse))


def address_of(section: ClickhouseSettings) -> Any:
    """The archive's address with its password, which no message shows."""
    from sinks.clickhouse.client import Address

    password = section.password.get_secret_value() if section.password is not None else ""
    return Address(url=section.url, database=section.database, user=section.user, password=password)


def ask(settings: Settings, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
    """One read-only question."""
    connection = clickhouse(settings)
    try:
        return connection.read(sql, parameters)
    finally:
        connection.close()


def span(from_text: str | None, to_text: str | None) -> dict[str, int]:
    """`from_us` and `to_us` of two options. Raises UsageError where one is no instant."""
    return {
        "from_us": EARLIEST_US if from_text is None else instant(from_text, "--from"),
        "to_us": LATEST_US if to_text is None else instant(to_text, "--to"),
    }


def instant(text: str, option: str) -> int:
    """Microseconds of RFC 3339 text, of a date, or of a date and time without zone (UTC). Raises UsageError."""
    candidates = (text, f"{text}Z", f"{text}:00Z", f"{text}T00:00:00Z")
    found = next((us for us in map(parse_us, candidates) if us is not None), None)
    if found is None:
        raise UsageError(f"{option} {text!r} is no instant; write 2026-11-03T10:00:00Z or 2026-11-03")
    return found
