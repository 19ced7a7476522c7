"""What a run comes to: ratios to each contestant, figures for the goals, the JSON document, and how it stands to an earlier one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.benchmarks.contest import Contest
from tests.benchmarks.goals import Figure

AGAINST = ("kafka_streams", "aiokafka", "quix", "faust")
"""Contestants that have a goal of their own; it is measured on the base shape."""
VERSION = 1


def ratios(contest: Contest) -> dict[str, float]:
    """The meter's rate over each contestant's; those that did not contend, or whose sum was wrong, are left out."""
    ours = contest.rate("meter")
    if ours is None:
        return {}
    others = {key: contest.rate(key) for key in contest.results if key != "meter"}
    return {key: ours / rate for key, rate in others.items() if rate}


def ratio_lines(contest: Contest) -> list[str]:
    """A line for each ratio, and for each contestant that is missing why."""
    lines = [f"shape {contest.shape:15} meter : {key:14} {ratio:8.2f} ×" for key, ratio in ratios(contest).items()]
    ended = {key: result.share for key, result in contest.results.items() if result.share < 1}
    lines += [f"shape {contest.shape:15} {key} was too slow: timed over {share:.0%} of the log, sum not checked" for key, share in ended.items()]
    lines += [f"shape {contest.shape:15} meter : {key:14} skipped: {why}" for key, why in contest.skipped.items()]
    wrong = {key: result.wrong for key, result in contest.results.items() if result.wrong}
    return lines + [f"shape {contest.shape:15} {key}: WRONG SUM: {why}" for key, why in wrong.items()]


def figures(contests: Mapping[str, Contest]) -> list[Figure]:
    """What the contests say of the goals."""
    found: list[Figure] = []
    if base := contests.get("base"):
        against = ratios(base)
        found += [_against(base, key, against.get(key)) for key in AGAINST if key in base.results or key in base.skipped]
    if (base := contests.get("base")) and (million := contests.get("million")):
        found.append(_customers(base, million, contests.get("million-at-once")))
    return found


def _against(base: Contest, key: str, ratio: float | None) -> Figure:
    if ratio is not None:
        return Figure(key, ratio, f"base shape, {base.results['meter'].events:,} and {base.results[key].events:,} events timed")
    wrong = base.results[key].wrong if key in base.results else ""
    return Figure(key, None, why=base.skipped.get(key) or wrong or "the meter has no valid rate")


def _customers(base: Contest, million: Contest, at_once: Contest | None) -> Figure:
    rates = base.rate("meter"), million.rate("meter")
    if rates[0] is None or rates[1] is None:
        return Figure("customers", None, why="the meter has no valid rate on one of the two shapes")
    how = f"{rates[1]:,.0f}/s, {million.events:,} events in three minutes, about a window for every second event"
    beside = at_once.rate("meter") if at_once is not None else None
    if beside is not None:
        how += f"; {beside / rates[0]:.2f} × where each customer has one window"
    return Figure("customers", rates[1] / rates[0], how)


def document(machine: Mapping[str, Any], contests: Mapping[str, Contest], found: Iterable[Figure]) -> dict[str, Any]:
    """What `--json` writes and `--compare` reads."""
    return {
        "version": VERSION,
        "machine": dict(machine),
        "contests": {name: contest.as_dict() | {"ratios": ratios(contest)} for name, contest in contests.items()},
        "figures": [figure.as_dict() for figure in found],
    }


def compare(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """How ratios, bytes and figures moved since an earlier document: of each `before → now (now/before)`; what only one has is left out.

    Only ratios within a run are compared, never events a second of two runs: the machine may have been another, or busy.
    """
    if before.get("version") != VERSION:
        return [f"the earlier file has version {before.get('version')}, this program compares version {VERSION}"]
    lines = []
    for shape, contest in now["contests"].items():
        old = before["contests"].get(shape, {})
        lines += _moved(f"shape {shape}, meter :", contest["ratios"], old.get("ratios", {}), "×")
        lines += _moved(f"shape {shape}, changelog B/event,", _changelogs(contest), _changelogs(old), "B")
    lines += _moved("figure", _values(now["figures"]), _values(before["figures"]), "")
    return lines or ["nothing that both runs measured"]


def _moved(what: str, now: Mapping[str, float], before: Mapping[str, float], unit: str) -> list[str]:
    return [
        f"{what} {key}: {before[key]:.2f} → {value:.2f} {unit} ({value / before[key]:.2f} of it)"
        for key, value in now.items()
        if before.get(key)
    ]


def _changelogs(contest: Mapping[str, Any]) -> dict[str, float]:
    return {key: result["changelog_bytes"] for key, result in contest.get("results", {}).items() if result["changelog_bytes"]}


def _values(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {figure["key"]: figure["value"] for figure in found if figure["value"] is not None}
