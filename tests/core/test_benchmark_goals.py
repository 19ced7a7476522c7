"""The benchmark's arithmetic: what is printed as a ratio, a goal or a comparison is what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks import __main__ as bench
from tests.benchmarks import goals, report
from tests.benchmarks.contest import Contest
from tests.benchmarks.goals import GOALS, Figure
from tests.benchmarks.history import of_samples
from tests.benchmarks.measure import Result, Sample, summed


def result(rate: float, wrong: str = "", changelog: float = 0.0) -> Result:
    """A contestant's run at a rate."""
    return Result("one", 1_000, rate, 1.0, 100.0, changelog, wrong)


def base(**results: Result) -> Contest:
    """The base shape with these results."""
    return Contest("base", 1_000, 150.0, results, {"quix": "no network"})


def test_a_rate_is_what_was_committed_between_15_percent_and_the_end() -> None:
    """What lies before the first commit past 15 % is start-up and counts for nothing, in the rate as in the CPU."""
    samples = [Sample(0.0, 0.0, 0), Sample(9.0, 5.0, 100), Sample(10.0, 6.0, 200), Sample(11.0, 6.5, 600), Sample(12.0, 7.0, 1_000)]
    found = summed("one", samples, 1_000, 50.0)
    assert (found.events, found.events_per_s, found.cpu_us_per_event) == (800, 400.0, 1.0 / 800 * 1e6)


def test_the_meter_is_divided_by_the_other() -> None:
    """A ratio of 2 says that the meter is twice as fast."""
    assert report.ratios(base(meter=result(400), aiokafka=result(200), faust=result(4))) == {"aiokafka": 2.0, "faust": 100.0}


def test_a_wrong_sum_has_no_rate() -> None:
    """A contestant that counts wrong is in no ratio, its goal is not measured, and the reason is printed; the meter is no exception."""
    contest = base(meter=result(400), aiokafka=result(10, wrong="units 1, expected 2"))
    assert report.ratios(contest) == {}
    assert Figure("aiokafka", None, why="units 1, expected 2") in report.figures({"base": contest})
    assert any("WRONG SUM" in line for line in report.ratio_lines(contest))
    assert report.ratios(base(meter=result(400, wrong="residual 1"), aiokafka=result(10))) == {}


def test_a_wrong_sum_or_a_meter_that_failed_fails_the_run() -> None:
    """The exit code tells a script; a contestant that is not there, or slow, does not."""
    assert not base(meter=result(400), aiokafka=result(200)).is_wrong
    assert base(meter=result(400), aiokafka=result(200, wrong="units 1, expected 2")).is_wrong
    assert Contest("base", 1, 1.0, {"aiokafka": result(1)}, {"meter": "ended with 2"}).is_wrong


def test_one_that_was_too_slow_is_said() -> None:
    """A rate over a part of the log is a rate, and its line says which part."""
    slow = Result("one", 1_000, 10.0, 1.0, 100.0, share=0.43)
    contest = base(meter=result(400), faust=slow)
    assert report.ratios(contest)["faust"] == 40.0
    assert any("timed over 43%" in line for line in report.ratio_lines(contest))


def test_each_goal_is_in_the_table_once_with_its_result() -> None:
    """Reached, not reached, not measured and why, or not part of this run: every goal of the issue is on a line of its own."""
    figures = [Figure("kafka_streams", 2.0), Figure("aiokafka", 1.19, "short"), Figure("quix", None, why="no network"), Figure("recovery", 15.1)]
    lines = dict(zip((goal.key for goal in GOALS), goals.table(figures), strict=True))
    assert lines["kafka_streams"].endswith("2.00 ×  reached")
    assert lines["aiokafka"].endswith("1.19 ×  NOT reached  (short)")
    assert lines["quix"].endswith("not measured: no network")
    assert lines["recovery"].endswith("15.10 s  NOT reached")
    assert lines["delivery"].endswith("not measured in this run")
    assert goals.missed(figures) == ["aiokafka", "recovery"]


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part gets a directory of its own and the scale; one that raises is said; figures that are no goal's are printed beside the table."""

    def good(directory: Path, scale: float, say: Callable[[str], None]) -> list[Figure]:
        say(f"{directory.name} at {scale}")
        return [Figure("recovery", 3.0), Figure("rebalance_s", 1.5, "for information")]

    def bad(directory: Path, scale: float, say: Callable[[str], None]) -> list[Figure]:
        raise OSError("disk full")

    said: list[str] = []
    for name, figures in (("bench_part_bad", bad), ("bench_part_good", good)):
        module = ModuleType(name)
        module.__dict__["figures"] = figures
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(bench, "parts", lambda: ["bench_part_bad", "bench_part_good"])
    monkeypatch.setattr(bench, "say", said.append)
    found = bench.run_parts(tmp_path, 0.5)
    assert [figure.key for figure in found] == ["recovery", "rebalance_s"]
    assert "part bench_part_bad failed: OSError: disk full" in said
    assert "bench_part_good at 0.5" in said
    assert goals.beside(found) == ["rebalance_s: 1.50  for information"]


def test_the_command_line_says_what_is_run() -> None:
    """Without words the whole table of goals; a shape or a contestant by name is only that."""
    whole = bench.parse([])[1]
    assert (whole.shapes, whole.is_long, whole.has_parts, whole.scale) == (("base", "million", "million-at-once"), True, True, 1.0)
    part = bench.parse(["--shape", "late", "--only", "meter", "--events", "400000"])[1]
    assert (part.shapes, [one.key for one in part.contestants], part.is_long, part.has_parts, part.scale) == (("late",), ["meter"], False, False, 0.1)
    with pytest.raises(SystemExit):
        bench.parse(["--only", "nobody"])


def test_what_is_skipped_says_why() -> None:
    """A contestant that could not run is a figure without a value and with the reason."""
    found = {figure.key: figure for figure in report.figures({"base": base(meter=result(10), aiokafka=result(5))})}
    assert (found["quix"].value, found["quix"].why, found["aiokafka"].value) == (None, "no network", 2.0)
    assert "faust" not in found


def test_a_million_customers_are_compared_with_the_base_shape() -> None:
    """The goal is the meter's rate on one shape over its rate on the other, in one run."""
    million = Contest("million", 1_000, 150.0, {"meter": result(300)})
    found = {figure.key: figure.value for figure in report.figures({"base": base(meter=result(400)), "million": million})}
    assert found["customers"] == 0.75


def test_history_compares_the_last_quarter_with_the_first() -> None:
    """A meter that halves its rate after half of the log has a history ratio of a half; the warm-up is in neither part."""
    samples = [Sample(0.0, 0.0, 0)]
    for number in range(1, 101):
        samples.append(Sample(samples[-1].at_s + (1.0 if number <= 50 else 2.0), number * 1.0, number * 10))
    assert of_samples(samples, 1_000).value == 0.5
    assert of_samples([Sample(0.0, 0.0, 0), Sample(1.0, 1.0, 1_000)], 1_000).value is None


def test_two_runs_are_compared_by_their_ratios() -> None:
    """A machine that is twice as fast moves no ratio; a meter that is, doubles it; a file of another version is not compared."""
    contests = base(meter=result(400, changelog=20.0), aiokafka=result(200))
    before = report.document({}, {"base": contests}, [Figure("recovery", 10.0)])
    quicker = report.document({}, {"base": base(meter=result(800, changelog=30.0), aiokafka=result(400))}, [Figure("recovery", 5.0)])
    assert report.compare(quicker, before) == [
        "shape base, meter : aiokafka: 2.00 → 2.00 × (1.00 of it)",
        "shape base, changelog B/event, meter: 20.00 → 30.00 B (1.50 of it)",
        "figure recovery: 10.00 → 5.00  (0.50 of it)",
    ]
    assert "version" in report.compare(quicker, before | {"version": 0})[0]
