"""ClickHouse held against the recount, in passing: chunk by chunk its copy of the log and its verdicts, and at the end of what it has archived
what its views add up to. Blocks; runs in a thread while the recount waits, so that both stand at the same offset."""

from __future__ import annotations

from typing import Final

from infra.auditing.archive import CHUNK, PartitionArchive, Said, digest_of, verdict_words
from infra.auditing.claims import LOG, Total
from infra.auditing.findings import Finding, Kind, PartitionAudit
from infra.auditing.recount import Fate, LogRecord, Recount
from topics.windows import Window

COPY: Final = "ClickHouse (raw_events)"
VERDICTS: Final = "ClickHouse (verdict_log)"
VIEWS: Final = "ClickHouse (usage_events)"
JUDGED: Final = "ClickHouse (judged_events)"
NOBODY: Final = frozenset({"counted", "control"})
"""Fates that no verdict is written for."""
SHOWN: Final = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control")


class ArchiveCheck:
    """The comparison of one partition's offsets [start, end) of the present generation; `has_all` False: earlier ones were never archived."""

    def __init__(self, archive: PartitionArchive, result: PartitionAudit, start: int, end: int, *, has_all: bool = True) -> None:
        self._archive = archive
        self._result = result
        self._from = start
        self._end = end
        self._start = start
        self._is_summed = not has_all
        self._records: dict[int, Said] = {}
        self._verdicts: dict[int, Said] = {}

    @property
    def due_at(self) -> int:
        """Before the record at or after this offset is counted, `catch_up` wants to be called."""
        if self._from < self._end:
            return min(self._from + CHUNK, self._end)
        return 2**63 if self._is_summed else self._end

    def note(self, record: LogRecord, fate: Fate) -> None:
        """A record of the log and what became of it."""
        if self._start <= record.offset < self._end:
            key = record.key or b""
            self._records[record.offset] = Said(key, digest_of(record))
            if fate.verdict not in NOBODY:
                self._verdicts[record.offset] = Said(key, verdict_words(fate.verdict, fate.reason))

    def catch_up(self, recount: Recount, offset: int) -> None:
        """Everything below `offset` was counted, and nothing else: compare what is new of it."""
        upto = min(offset, self._end)
        while self._from < upto:
            to = min(self._from + CHUNK, upto)
            self._chunk(recount.generation, self._from, to)
            self._from = to
        if self._from >= self._end and not self._is_summed:
            self._is_summed = True
            self._fates(recount)
            self._windows(recount)

    # ── single records ───────────────────────────────────────────────────────────────────────────────────────────────
    def _chunk(self, generation: int, start: int, end: int) -> None:
        copy = self._archive.raw(generation, start, end)
        said = self._archive.verdicts(generation, start, end)
        self._result.checked.raw_rows += len(copy)
        self._result.checked.verdicts += len(said)
        for offset in sorted(self._records.keys() | copy.keys()):
            log, kept = self._records.pop(offset, None), copy.get(offset)
            if log is None or kept is None or log != kept:
                self._differs("raw", offset, COPY, kept, log, _of_copy(log, kept))
        for offset in sorted(self._verdicts.keys() | said.keys()):
            verdict, kept = self._verdicts.pop(offset, None), said.get(offset)
            if verdict is None or kept is None or verdict.says != kept.says:
                self._differs("verdict", offset, VERDICTS, kept, verdict, _of_verdict(verdict, kept))

    def _differs(self, kind: Kind, offset: int, source: str, kept: Said | None, log: Said | None, cause: str) -> None:
        known = log or kept
        self._result.findings.add(
            Finding(
                kind=kind,
                partition=self._archive.partition,
                offset=offset,
                customer=known.key.decode("utf-8", "replace") if known is not None else "",
                what="the record" if kind == "raw" else "the record's verdict",
                one=source,
                one_says=_words(kind, kept, "no row"),
                other=LOG,
                other_says=_words(kind, log, "no record" if kind == "raw" else "counted, or a control record"),
                cause=cause,
            )
        )

    # ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _fates(self, recount: Recount) -> None:
        shown, postings = self._archive.fates(recount.generation, self._end)
        sums = {name: (shown.pop(name, 0), getattr(recount.counters, name)) for name in SHOWN}
        # The count of postings goes on through an adopted log, all the others begin anew with it.
        if recount.generation == 0:
            sums["postings"] = (postings, recount.counters.postings)
        for name, (views, log) in (sums | {name: (count, 0) for name, count in shown.items()}).items():
            if views != log:
                cause = "see the records and verdicts that differ; where none does, a mark or the postings of a raw row were changed by other hands"
                self._sum_differs(f"{name} below offset {self._end}", str(views), str(log), JUDGED, cause, None)

    def _windows(self, recount: Recount) -> None:
        views = self._archive.windows(recount.generation, self._end)
        self._result.checked.view_windows += len(views)
        for window in sorted(views.keys() | recount.windows.keys()):
            tally, kept = recount.windows.get(window), views.get(window)
            log = None if tally is None else tally.total()
            if kept != log:
                what = f"the window's events below offset {self._end}"
                self._sum_differs(what, _total(kept), _total(log), VIEWS, _of_window(kept, log), window)

    def _sum_differs(self, what: str, views: str, log: str, source: str, cause: str, window: Window | None) -> None:
        partition = self._archive.partition
        finding = Finding(
            kind="view", partition=partition, window=window, what=what, one=source, one_says=views, other=LOG, other_says=log, cause=cause
        )
        self._result.findings.add(finding)


def _words(kind: str, said: Said | None, nothing: str) -> str:
    if said is None:
        return nothing
    return f"a record with digest {said.says[:12]}…" if kind == "raw" else said.says


def _total(total: Total | None) -> str:
    return "no event of it" if total is None else total.said()


def _of_copy(log: Said | None, kept: Said | None) -> str:
    if kept is None:
        return "a row of raw_events was deleted, or an insert was lost: what it proves cannot be proved from ClickHouse any more"
    if log is None:
        return "a row was added to raw_events by other hands, or the record was removed from the log"
    return "a row of raw_events was changed by other hands, or the log was"


def _of_verdict(log: Said | None, kept: Said | None) -> str:
    if kept is None:
        return "a row of verdict_log was deleted, or an insert was lost: ClickHouse shows this event as counted"
    if log is None:
        return "a row was added to verdict_log by other hands, or the meter judged this event otherwise than the reference does"
    return "a row of verdict_log was changed by other hands, or the meter judged this event otherwise than the reference does"


def _of_window(kept: Total | None, log: Total | None) -> str:
    if kept is not None and log is not None and kept.events == log.events and kept.scaled == log.scaled:
        return "the same sum of other events: a raw row was changed by other hands"
    return "raw rows or verdicts of this window were removed, added or changed in ClickHouse: see the records that differ"
