"""The recount held against the table, and both against what was emitted and what is in force. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from infra.auditing.claims import ARCHIVE, CAUSES, LOG, TABLE, TOPIC, Claims, Revision
from infra.auditing.findings import Finding, Findings, Kind
from infra.auditing.recount import Recount, Tally
from streams.conservation import postings_residual
from streams.rows import Row, split_revision
from streams.state import PartitionState
from topics.codec import encode
from topics.definitions import Definition, definition_key
from topics.verdict import Counters
from topics.windows import Window

FATES: Final = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped")
COUNTED: Final = (*FATES, "postings")


def numbers(counters: Counters) -> dict[str, int]:
    """Counters by name."""
    return {name: getattr(counters, name) for name in COUNTED}


def check_residual(state: PartitionState, findings: Findings) -> None:
    """Law 7 of the table by itself: every offset has one fate, every posting is in one row."""
    for what, residual, cause in (
        ("offsets without exactly one fate", state.counters.residual, "the counters record contradicts itself"),
        ("postings that are in no row, or in two", postings_residual(state), "rows were lost from usage.state, or added to it"),
    ):
        if residual:
            findings.add(_of_table("residual", state.partition, what, str(residual), "conservation (law 7)", "0", cause))


def check_counters(recount: Recount, state: PartitionState, findings: Findings) -> None:
    """Fate by fate, at the same offset."""
    log, table = numbers(recount.counters), numbers(state.counters)
    for name in COUNTED:
        if log[name] != table[name]:
            findings.add(_of_table("counters", state.partition, name, str(table[name]), LOG, str(log[name]), _why(name, table[name] - log[name])))


def _why(name: str, more: int) -> str:
    if name == "skipped":
        return "records were removed from the log after they were counted, or it is another log"
    if name == "duplicate":
        return "ids of the table were lost or do not belong to it; see also the rows that differ"
    return f"the table has {abs(more)} {'more' if more > 0 else 'fewer'} than the log: {CAUSES[TABLE]}"


def check_rows(recount: Recount, state: PartitionState, findings: Findings) -> int:
    """Each live window of the log has its row at its newest revision, and the table has no other; returns how many rows were compared.

    What a row says of its revision is settled as a claim; here it is seen whether it is the newest, and whether it is there at all.
    """
    rows = {row.window: row for row in state.rows.all()}
    retired, retired_rows, retired_events = state.all_retired(), 0, 0
    for window, tally in recount.windows.items():
        if state.is_retired(recount.row_of(window)):
            retired_rows, retired_events = retired_rows + 1, retired_events + tally.events
        elif (row := rows.get(window)) is None or split_revision(row.rev) != tally.through:
            findings.add(_row_differs(state.partition, window, row, tally))
    for what, table, log in (("rows let go", retired.rows, retired_rows), ("events in rows let go", retired.events, retired_events)):
        if table != log:
            findings.add(_of_table("row", state.partition, what, str(table), LOG, str(log), CAUSES[TABLE]))
    return len(rows)


def _row_differs(partition: int, window: Window, row: Row | None, tally: Tally) -> Finding:
    through = "no row" if row is None else f"revision {split_revision(row.rev)[0]}.{row.through_offset}"
    return Finding(
        kind="row",
        partition=partition,
        window=window,
        offset=tally.through[1],
        what="the window's newest revision",
        one=TABLE,
        one_says=through,
        other=LOG,
        other_says=f"revision {tally.through[0]}.{tally.through[1]}: {tally.total().said()}",
        cause="the row is missing from the table" if row is None else CAUSES[TABLE],
    )


def check_emitted(recount: Recount | None, state: PartitionState, claims: Claims, findings: Findings, *, everywhere: bool) -> int:
    """What the table says it emitted stands on usage.windows (or, once retention took it there, in ClickHouse); rows let go had all been emitted.

    `everywhere`: nothing was removed from usage.windows yet, so ClickHouse's word is not needed. Returns how many were not found but may
    have been removed from both.
    """
    held = claims.names[TOPIC] if everywhere else claims.names[TOPIC] | claims.names[ARCHIVE]
    wanted = {Revision(row.window, *split_revision(row.emitted)) for row in state.rows.all() if row.emitted >= 0}
    if recount is not None:
        wanted |= {Revision(window, *tally.through) for window, tally in recount.windows.items() if window.end_s <= state.retired.until_s}
    missing = sorted(wanted - held, key=lambda revision: revision.order)
    if missing and not everywhere and not claims.names[ARCHIVE]:
        return len(missing)
    for revision in missing:
        findings.add(
            Finding(
                kind="revision",
                partition=state.partition,
                window=revision.window,
                offset=revision.through_offset,
                what=f"revision {revision.generation}.{revision.through_offset}",
                one=TABLE,
                one_says="it was emitted",
                other=TOPIC if everywhere else f"{TOPIC} and {ARCHIVE}",
                other_says="it is not there",
                cause="the record was removed from the topic, so the report may never have seen this total: compare with `tidemark explain`",
            )
        )
    return 0


def check_archived(claims: Claims, *, archived_to: int, begin: int, offsets: Mapping[Revision, int], partition: int, findings: Findings) -> None:
    """Every revision on usage.windows below `archived_to` is in ClickHouse, and ClickHouse has none that was never on the topic.

    `offsets`: where each revision stands first on its source; `begin`: before it retention has removed the topic's records.
    """
    for revision in sorted(claims.names[TOPIC] - claims.names[ARCHIVE], key=lambda one: one.order):
        if offsets[revision] < archived_to:
            cause = "a row was removed from window_log by other hands, or an insert was lost"
            findings.add(_in_one(partition, revision, TOPIC, ARCHIVE, cause))
    for revision in sorted(claims.names[ARCHIVE] - claims.names[TOPIC], key=lambda one: one.order):
        if offsets[revision] >= begin:
            findings.add(_in_one(partition, revision, ARCHIVE, TOPIC, CAUSES[ARCHIVE]))


def _in_one(partition: int, revision: Revision, there: str, missing: str, cause: str) -> Finding:
    return Finding(
        kind="revision",
        partition=partition,
        window=revision.window,
        offset=revision.through_offset,
        what=f"revision {revision.generation}.{revision.through_offset}",
        one=there,
        one_says="it is there",
        other=missing,
        other_says="it is not there",
        cause=cause,
    )


def check_definitions(
    refolded: Iterable[Definition], published: Iterable[Definition], *, below: int, exactly: bool, partition: int, findings: Findings
) -> int:
    """What the control records below offset `below` put in force is what stands on usage.definitions; returns how many were compared.

    The digest is left out: a version that is said again under a newer digest keeps its key. `exactly` False: control offsets of an earlier
    generation lie on the topic too, so only what is missing can be seen. An invoice that has moved on since has one key, and may have been compacted.
    """
    published = list(published)
    moved_on = {definition_key(one) for one in published if one.offset >= below}
    log, topic = _bodies(refolded), _bodies(one for one in published if one.offset < below)
    topic_name = "usage.definitions"
    for key in sorted(log.keys() | topic.keys()):
        if log.get(key) == topic.get(key) or (not exactly and key not in log) or (key in moved_on and key not in topic):
            continue
        findings.add(
            Finding(
                kind="definition",
                partition=partition,
                what=f"version {key.decode()}",
                one=topic_name,
                one_says=topic.get(key, b"nothing").decode()[:400],
                other=LOG,
                other_says=log.get(key, b"nothing").decode()[:400],
                cause="a record was written to or removed from usage.definitions by something else than the meter: who is billed where may be wrong",
            )
        )
    return len(log)


def check_in_force(recount: Recount, state: PartitionState, findings: Findings) -> None:
    """What the table holds in force is what the control records of the log say."""
    log, table = _bodies(recount.in_force()), _bodies(state.definitions.all())
    for key in sorted(key for key in log.keys() | table.keys() if log.get(key) != table.get(key)):
        held, wanted = table.get(key, b"nothing").decode()[:400], log.get(key, b"nothing").decode()[:400]
        findings.add(_of_table("definition", state.partition, f"version {key.decode()}", held, LOG, wanted, CAUSES[TABLE]))


def _bodies(definitions: Iterable[Definition]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for one in definitions:
        plain: Any = msgspec.structs.replace(one, digest="") if hasattr(one, "digest") else one
        found[definition_key(one)] = encode(plain)
    return found


def check_rerouted(recounts: Mapping[int, Recount], findings: Mapping[int, Findings]) -> dict[int, tuple[int, int]]:
    """Each event that was sent to its home has a record there that names where it came from.

    By partition: how many were found, and how many were not looked for because their home was not counted in this audit.
    """
    looked: dict[int, tuple[int, int]] = {}
    for partition, recount in recounts.items():
        found = 0
        for offset, home in recount.sent_home.items():
            if home not in recounts:
                continue
            if (partition, offset) in recounts[home].origins:
                found += 1
                continue
            findings[partition].add(
                Finding(
                    kind="rerouted",
                    partition=partition,
                    offset=offset,
                    what="the event was re-routed",
                    one=f"partition {partition}",
                    one_says=f"it was sent to its home, partition {home}",
                    other=f"partition {home}",
                    other_says="no record there came from it",
                    cause="the copy was removed from its home's log; the event is counted nowhere: send it again, on its home partition",
                )
            )
        looked[partition] = (found, sum(home not in recounts for home in recount.sent_home.values()))
    return looked


def _of_table(kind: Kind, partition: int, what: str, table: str, other: str, other_says: str, cause: str) -> Finding:
    return Finding(kind=kind, partition=partition, what=what, one=TABLE, one_says=table, other=other, other_says=other_says, cause=cause)
