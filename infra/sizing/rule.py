"""The sizing rule: from a load to what it needs. Pure, and monotone: a greater load never needs less of anything.

Each part below is one question; `size` asks them in the order in which they are read.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from infra.sizing import constants as c
from infra.sizing.delivering import deliveries
from infra.sizing.figure import Figure, Sizing, shown
from infra.sizing.growth import clickhouse, topics
from infra.sizing.load import Load
from infra.sizing.state import State, state_of

MOST_PARTITIONS: Final = c.PARTITION_STEPS[-1]


class Processors(NamedTuple):
    """Cores' worth of work in the busiest hour, not rounded."""

    meter: float
    archive: float
    report: float
    engine: float


def size(load: Load) -> Sizing:
    """Every figure, and every way in which the load does not fit what is configured."""
    state = state_of(load)
    work = processors(load, state)
    partitions, misfits, advice = _partitions(load, state)
    delivered, late = deliveries(load, state)
    figures = (
        *_processes(load, state, work),
        *_memory(load, state),
        partitions,
        *topics(load, state),
        *clickhouse(load, state),
        *delivered,
        *_recovery(load, state, work),
    )
    return Sizing(figures, (*misfits, *late), (*advice, *_ids_advice(load, state)))


def _ids_advice(load: Load, state: State) -> list[str]:
    """What remembering ids comes to where it, and nothing else, decides how many workers there are."""
    by_cores = workers(processors(load, state).meter)
    count = meter_workers(load, state)
    if count <= by_cores or state.ids * c.ID_BYTES < state.bytes_held / 2:
        return []
    an_hour_bytes = state.counted_per_s * 3_600 * c.ID_BYTES
    found = f"memory decides: {count} workers where {by_cores} had cores enough. Each hour of timing.dedup costs {shown(an_hour_bytes, 'B')}"
    return [f"{found}; copies that come later than dedup are still found by the recount (`tidemark audit`), and not kept out of the total"]


def event_us(load: Load, state: State) -> float:
    """Microseconds of one core that the meter needs for an event of this load, its share of the rows written included."""
    own = c.METER_US_AN_EVENT + c.METER_US_A_BYTE * load.event_bytes + c.METER_US_A_POSTING * (load.postings - 1)
    return own + c.METER_US_A_ROW * state.rows_written_per_s / load.events_per_s


def processors(load: Load, state: State) -> Processors:
    """What each kind of worker, and ClickHouse, has to do."""
    rate = load.events_per_s
    calls_per_s = min(load.calls_per_s, state.revisions_per_s)
    return Processors(
        meter=rate * event_us(load, state) / 1e6,
        archive=rate * c.ARCHIVE_US_AN_EVENT / 1e6,
        report=calls_per_s * c.DELIVERY_US / 1e6,
        engine=rate * c.ENGINE_US_AN_EVENT / 1e6,
    )


def workers(work: float) -> int:
    """Processes of one core each for that much work."""
    return max(1, math.ceil(work / c.BUSY_SHARE))


def meter_workers(load: Load, state: State) -> int:
    """Processes that have the cores and the memory."""
    return max(workers(processors(load, state).meter), math.ceil(_memory_share(load, state)))


def _held_bytes(load: Load, state: State) -> float:
    return state.bytes_held + load.customers * c.CUSTOMER_BYTES + load.partitions * c.PARTITION_BYTES


def _memory_share(load: Load, state: State) -> float:
    """How many processes' memory the state fills."""
    return _held_bytes(load, state) / (load.worker_memory - c.WORKER_BYTES)


def _processes(load: Load, state: State, work: Processors) -> list[Figure]:
    us = work.meter / load.events_per_s * 1e6
    planned = f"up at {c.BUSY_SHARE:.0%} of a core each (BUSY_SHARE)"
    memory = math.ceil(_memory_share(load, state))
    return [
        Figure(
            "meter_events_per_core",
            1e6 / us,
            "events/s",
            f"1 s ÷ {us:.2f} µs: METER_US_AN_EVENT, _A_BYTE × --event-bytes, _A_POSTING × (--postings − 1), _A_ROW × rows written an event",
        ),
        Figure("meter_cores", work.meter, "cores", f"--events-per-s × {us:.2f} µs"),
        Figure(
            "meter_workers",
            meter_workers(load, state),
            "processes",
            f"the greater of cores ({workers(work.meter)}: meter_cores, {planned}) and memory ({memory}: state ÷ --worker-memory)",
        ),
        Figure("archive_workers", workers(work.archive), "processes", f"--events-per-s × ARCHIVE_US_AN_EVENT = {work.archive:.2f} cores, {planned}"),
        Figure("report_workers", workers(work.report), "processes", f"calls a second × DELIVERY_US = {work.report:.2f} cores, {planned}"),
        Figure("clickhouse_cores", math.ceil(work.engine / c.BUSY_SHARE), "cores", "--events-per-s × ENGINE_US_AN_EVENT, merges included"),
    ]


def _memory(load: Load, state: State) -> list[Figure]:
    each = c.WORKER_BYTES + _held_bytes(load, state) / meter_workers(load, state)
    return [
        Figure("open_windows", state.open_rows, "rows", "windows that still take events: active customers × meters × (1 + grace ÷ window)"),
        Figure("kept_windows", state.kept_rows, "rows", "closed windows until --horizon: active customers × meters × horizon ÷ window"),
        Figure("remembered_ids", state.ids, "ids", "counted events × (--dedup + 1 h), at the day's mean"),
        Figure("open_windows_memory", state.open_rows * c.OPEN_WINDOW_BYTES, "B", f"× OPEN_WINDOW_BYTES ({c.OPEN_WINDOW_BYTES})"),
        Figure("kept_windows_memory", state.kept_rows * c.KEPT_WINDOW_BYTES, "B", f"× KEPT_WINDOW_BYTES ({c.KEPT_WINDOW_BYTES})"),
        Figure("ids_memory", state.ids * c.ID_BYTES, "B", f"× ID_BYTES ({c.ID_BYTES})"),
        Figure("ids_file", state.ids * c.ID_FILE_BYTES, "B", f"on the workers' local disks: × ID_FILE_BYTES ({c.ID_FILE_BYTES})"),
        Figure("customers_memory", load.customers * c.CUSTOMER_BYTES, "B", f"× CUSTOMER_BYTES ({c.CUSTOMER_BYTES})"),
        Figure("meter_memory_per_worker", each, "B", "WORKER_BYTES + (all of the above + --partitions × PARTITION_BYTES) ÷ meter workers"),
    ]


def wanted_partitions(load: Load, state: State) -> float:
    """`PARTITIONS_A_WORKER` for each worker of the load grown; not yet a count that many workers share evenly."""
    work = processors(load, state)
    share = max(work.meter / c.BUSY_SHARE, work.archive / c.BUSY_SHARE, state.bytes_held / (load.worker_memory - c.WORKER_BYTES))
    return c.PARTITIONS_A_WORKER * share * load.growth


def suggested_partitions(wanted: float) -> int:
    """The next step; the greatest where none is enough."""
    return next((step for step in c.PARTITION_STEPS if step >= wanted), MOST_PARTITIONS)


def _partitions(load: Load, state: State) -> tuple[Figure, list[str], list[str]]:
    wanted = wanted_partitions(load, state)
    suggested = suggested_partitions(wanted)
    rule = f"workers × --growth {load.growth:g} × PARTITIONS_A_WORKER ({c.PARTITIONS_A_WORKER}), up to the next of PARTITION_STEPS; fixed for ever"
    misfits, advice = [], []
    if wanted > MOST_PARTITIONS:
        advice.append(
            f"the load grown {load.growth:g} times would want {wanted:,.0f} partitions, and {MOST_PARTITIONS:,} is the most: "
            "plan several installations, each with customers of its own, or a shorter timing.dedup"
        )
    needed = max(meter_workers(load, state), workers(processors(load, state).archive))
    if needed > load.partitions:
        keep = f"{load.partitions:,} partitions keep at most {load.partitions:,} workers of a kind busy, and {needed:,} are needed"
        more = f"write partitions = {suggested} in [kafka] before the first event; it can never be changed"
        misfits.append(f"{keep}: {more if needed <= suggested else 'no count of partitions is enough for this load in one installation'}")
    elif load.partitions < suggested:
        advice.append(
            f"{load.partitions} partitions are enough now, and not for {load.growth:g} times the load: write partitions = {suggested} in [kafka] "
            "before the first event, since it can never be changed, or state a smaller --growth"
        )
    return Figure("partitions_suggested", suggested, "", rule), misfits, advice


def _recovery(load: Load, state: State, work: Processors) -> list[Figure]:
    count = meter_workers(load, state)
    read_s = state.changelog_bytes(load) / count / c.STATE_BYTES_A_S
    rows_s = (state.open_rows + state.kept_rows) / count * c.RECOVER_US_A_ROW / 1e6
    ids_s = state.ids / count * c.RECOVER_US_AN_ID / 1e6
    away_s = c.RESTART_S + read_s + rows_s + ids_s
    a_core_per_s, each_per_s = load.events_per_s / work.meter, load.events_per_s / count
    caught_up_s = away_s + (away_s + c.TURN_S) * each_per_s / (a_core_per_s - each_per_s)
    parts = f"state ÷ STATE_BYTES_A_S ({read_s:.1f} s) + rows × RECOVER_US_A_ROW ({rows_s:.1f} s) + ids × RECOVER_US_AN_ID ({ids_s:.1f} s)"
    return [
        Figure("recovery", away_s, "s", f"from a worker's end to its successor's first event: RESTART_S + {parts}, each ÷ meter workers"),
        Figure("caught_up", caught_up_s, "s", "and until what came meanwhile is counted, by what a core has to spare"),
    ]
