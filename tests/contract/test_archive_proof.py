"""What `explain` proves a window with against the views that say the same to analysts, on ClickHouse's engine: two texts of one law."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.bounds import scaled_of
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.ports import Refused
from sinks.clickhouse.span import LONGEST_WINDOW_S, query, shown, span
from tests.contract.test_archive_window_rows import archived
from tests.core.amend_story import Story
from tests.core.test_fold import build_log

SECONDS = "intDiv(toUnixTimestamp64Milli(toDateTime64({}, 3, 'UTC')), 1000)"
RECOUNT = (
    f"SELECT customer, meter, {SECONDS.format('window_start')}, {SECONDS.format('window_end')}, events, hash, quantity, generation, through_offset"
    " FROM window_recount"
)
JUDGED = (
    "SELECT verdict, count(), countIf(has(meters, {meter:String})) FROM judged_events WHERE customer = {customer:String} AND"
    f" if(occurred_at = fromUnixTimestamp64Micro(0, 'UTC'), {SECONDS.format('received_at')}, {SECONDS.format('occurred_at')})"
    " BETWEEN {from_s:Int64} AND {to_s:Int64} - 1 GROUP BY verdict"
)
COUNTED = (
    f"SELECT {SECONDS.format('window_start')} AS start_s, {SECONDS.format('window_end')} AS end_s, groupArray((generation, kafka_offset))"
    " FROM usage_events WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted' GROUP BY start_s, end_s"
)
STORED = (
    "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
    " AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') AND name NOT IN ('generation', 'kafka_offset', 'next_offset') ORDER BY position"
)
GONE = 7
"""Records that a recreated log does not have: another record stands at each offset then."""
Key = tuple[str, str]
"""Customer and meter."""


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def recounted(clickhouse: ClickHouse) -> dict[Key, dict[tuple[int, int], tuple[Any, ...]]]:
    """Of each customer and meter the windows, as the view adds them up."""
    found: dict[Key, dict[tuple[int, int], tuple[Any, ...]]] = {}
    for customer, meter, start_s, end_s, events, content_hash, quantity, generation, through in clickhouse.rows(RECOUNT):
        said = (events, shown(content_hash), scaled_of(quantity), (generation, through + 1))
        found.setdefault((shown(customer), shown(meter)), {})[start_s, end_s] = said
    return found


def hold(clickhouse: ClickHouse) -> dict[str, int]:
    """Proof and fates of every customer and meter, over all their time and over a part of it; what became of the records, all together."""
    fates: dict[str, int] = {}
    for (customer, meter), windows in recounted(clickhouse).items():
        starts = sorted(start_s for start_s, _ in windows)
        for from_s, to_s in ((starts[0] - LONGEST_WINDOW_S, starts[-1] + LONGEST_WINDOW_S), (starts[len(starts) // 2], starts[-1])):
            found = span(clickhouse, customer, meter, from_s, to_s)
            proved = {(one.start_s, one.end_s): (one.now_events, one.now_hash, one.now_scaled, one.last) for one in found.windows if one.now_events}
            assert proved == {place: said for place, said in windows.items() if from_s <= place[0] < to_s}
            asked = {"customer": customer, "meter": meter, "from_s": from_s, "to_s": to_s}
            coordinates = {(row[0], row[1]): row[2] for row in clickhouse.rows(COUNTED, asked)}
            for one in found.windows:
                of_window = coordinates.get((one.start_s, one.end_s), [])
                covered = [sum(each <= (revision.generation, revision.through_offset) for each in of_window) for revision in one.revisions]
                assert [revision.counted_events for revision in one.revisions] == covered
            assert found.fates == {shown(fate): (records, of_meter) for fate, records, of_meter in clickhouse.rows(JUDGED, asked)}
            for fate, (records, _) in found.fates.items():
                fates[fate] = fates.get(fate, 0) + records
    reconciled(clickhouse)
    return fates


def reconciled(clickhouse: ClickHouse) -> None:
    """What `reconcile` counts of every customer is the same once more."""
    everything = recounted(clickhouse)
    for customer in {key[0] for key in everything}:
        asked = {"customer": customer, "from_s": -(10**9), "to_s": 10**10}
        found = {
            (customer, shown(row[0]), row[1], row[2]): (row[4], scaled_of(row[3]), (row[5][0], row[5][1] + 1))
            for row in clickhouse.rows(query("reconcile_counted"), asked)
        }
        assert found == {
            (customer, key[1], *place): (said[0], said[2], said[3])
            for key, windows in everything.items()
            if key[0] == customer
            for place, said in windows.items()
        }


def adopted(clickhouse: ClickHouse, until: int) -> None:
    """As if the log had been made anew and read again as generation 1, without its first records, its mark at an offset; each verdict came twice."""
    for table in ("raw_events", "verdict_log", "verdict_log"):
        names = ", ".join(shown(row[0]) for row in clickhouse.rows(STORED, {"table": table}))
        clickhouse.command(
            f"INSERT INTO {table} (generation, kafka_offset, {names})"
            f" SELECT 1, kafka_offset - {GONE}, {names} FROM {table} WHERE generation = 0 AND kafka_offset >= {GONE}"
        )
    names = ", ".join(shown(row[0]) for row in clickhouse.rows(STORED, {"table": "mark_log"}))
    for next_offset in (until // 2, until):
        clickhouse.command(
            f"INSERT INTO mark_log (generation, next_offset, {names}) SELECT 1, {{next:UInt64}}, {names} FROM mark_log WHERE generation = 0 LIMIT 1",
            {"next": next_offset},
        )


@pytest.mark.parametrize("seed", [81, 82])
@pytest.mark.parametrize("twice", [False, True])
def test_the_proof_counts_what_the_views_show(engine_url: str, seed: int, twice: bool) -> None:
    """Events, sum, content hash and last coordinate of every window, and what became of each record, are the views', for rows stored twice too."""
    clickhouse = archived(engine_url, f"proof_{seed}_{int(twice)}", build_log(seed, 300), seed, twice=twice)
    assert hold(clickhouse).keys() >= {"counted", "duplicate", "rejected", "too_late"}


@pytest.mark.parametrize("until", [40, 10_000])
def test_the_proof_goes_over_all_logs_and_never_past_a_mark(engine_url: str, until: int) -> None:
    """Windows that a recreated log goes on with are proved over both, the last coordinate is the newer log's, and each log ends at its own mark."""
    clickhouse = archived(engine_url, f"proof_adopted_{until}", build_log(83, 300), 83, twice=True)
    before = hold(clickhouse)["counted"]
    adopted(clickhouse, until)
    # What is said of another customer's record at a coordinate is not said of this one's.
    clickhouse.command(
        "INSERT INTO verdict_log (customer, kafka_partition, generation, kafka_offset, verdict)"
        " SELECT 'somebody else', kafka_partition, generation, kafka_offset, 'duplicate' FROM raw_events"
    )
    after = hold(clickhouse)
    assert before < after["counted"] <= 2 * before
    # Without revisions the events of both logs stand in one part of a window.
    clickhouse.command("TRUNCATE TABLE window_log")
    assert hold(clickhouse) == after
    newest = {said[3][0] for windows in recounted(clickhouse).values() for said in windows.values()}
    assert newest == {0, 1} if until == 40 else 1 in newest


def test_the_proof_counts_amendments_as_the_views_do(engine_url: str) -> None:
    """An amendment that acts is counted in its window with its difference, and how many there are is said."""
    story = Story(6)
    for _ in range(25):
        story.turn()
    story.settle()
    clickhouse = archived(engine_url, "proof_amended", story.bench.log, 6, twice=True)
    assert hold(clickhouse)["control"] > 0
    amended = {
        (shown(row[0]), shown(row[1]), row[2]): row[3]
        for row in clickhouse.rows(
            f"SELECT customer, meter, {SECONDS.format('window_start')} AS start_s, countIf(type = 'tidemark.amend') FROM usage_events"
            " WHERE verdict = 'counted' GROUP BY customer, meter, start_s"
        )
    }
    assert sum(amended.values()) > 0
    for (customer, meter), windows in recounted(clickhouse).items():
        starts = [start_s for start_s, _ in windows]
        said = span(clickhouse, customer, meter, min(starts), max(starts) + 1).windows
        assert {one.start_s: one.amended for one in said if one.now_events} == {at: amended[customer, meter, at] for at in starts}


def test_a_set_that_a_profile_would_cut_is_an_error(engine_url: str) -> None:
    """Where a user's profile lets the engine break off what it looks up in, nothing is counted that was refused: the question fails."""
    clickhouse = archived(engine_url, "proof_cut", build_log(84, 300), 84, twice=False)
    customer, meter = max(recounted(clickhouse), key=lambda key: len(recounted(clickhouse)[key]))
    connected = clickhouse._connect(clickhouse.address.database)
    clickhouse._client = connected
    connected.set_client_setting("max_rows_in_set", 1)
    connected.set_client_setting("set_overflow_mode", "break")
    with pytest.raises(Refused, match="SET_SIZE_LIMIT_EXCEEDED"):
        span(clickhouse, customer, meter, -(10**9), 10**10)
