"""The sizing rule: a load goes in, and what it needs comes out, by arithmetic that a reader can follow."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.sizing import constants as c
from infra.sizing.figure import UNITS, shown
from infra.sizing.load import FIELDS, Load, option_of, stated
from infra.sizing.rule import size, suggested_partitions
from topics.errors import ConfigurationFault

DEAR = (
    "events_per_s", "mean_events_per_s", "customers", "active", "meters", "postings", "event_bytes", "dedup_s", "horizon_s",
    "retention_s", "raw_days", "replication", "growth",
)  # fmt: skip
"""Numbers of a load of which more is dearer. Of a window's length more is cheaper; shares only move costs."""
NO_NEED = frozenset({"meter_events_per_core", "meter_memory_per_worker", "recovery", "caught_up", "calls_limit"})
"""Figures that are no need: rates of one core, and what is shared out among workers, of whom a greater load has more."""


def test_a_hand_computed_example() -> None:
    """10,000 events a second of 500 bytes, 2,000 customers, one meter, windows of an hour, ids for a day: computed on paper."""
    load = Load(
        events_per_s=10_000, mean_events_per_s=5_000, customers=2_000, active=2_000, event_bytes=500,
        dedup_s=86_400, duplicates=0.02, rejected=0.0, late=0.0, horizon_s=864_000, raw_days=100, replication=3, calls_per_s=80,
    )  # fmt: skip
    sizing = size(load)
    rows_written = min(10_000 * 0.98, 2_000 / 0.3)  # each of 2,000 windows once a turn: 6,667 a second
    us = c.METER_US_AN_EVENT + 500 * c.METER_US_A_BYTE + c.METER_US_A_ROW * rows_written / 10_000
    assert sizing.of("meter_cores") == pytest.approx(us / 100)
    assert sizing.of("open_windows") == 4_000  # this hour's, and the last one's in its five minutes
    assert sizing.of("kept_windows") == 2_000 * 240
    assert sizing.of("remembered_ids") == pytest.approx(4_900 * 90_000)  # 441 million
    assert sizing.of("ids_memory") == pytest.approx(441e6 * c.ID_BYTES)
    assert sizing.of("ids_file") == pytest.approx(441e6 * c.ID_FILE_BYTES)
    assert sizing.of("events_topic_per_day") == pytest.approx(5_000 * 86_400 * (500 + 16 + 20))
    assert sizing.of("events_topic_kept") == pytest.approx(7 * sizing.of("events_topic_per_day"))
    assert sizing.of("clickhouse_raw_per_day") == pytest.approx(432e6 * (50 + 0.15 * 170))
    assert sizing.of("clickhouse_raw_kept") == pytest.approx(100 * sizing.of("clickhouse_raw_per_day"))
    assert sizing.of("calls") == pytest.approx(2_000 / 3_600)
    assert sizing.of("window_drain") == pytest.approx(25)
    assert sizing.of("windows_topic_per_day") == pytest.approx(2_000 * 24 * c.WINDOW_RECORD_BYTES)


LOADS = st.builds(
    Load,
    events_per_s=st.floats(1, 1e6),
    mean_events_per_s=st.floats(1, 1e6),
    customers=st.integers(1, 10**7),
    active=st.integers(1, 10**7),
    meters=st.integers(1, 20),
    postings=st.floats(1, 20),
    event_bytes=st.integers(50, 10_000),
    window_s=st.floats(10, 86_400),
    grace_s=st.floats(0, 86_400),
    duplicates=st.floats(0, 0.5),
    rejected=st.floats(0, 0.5),
    late=st.floats(0, 1),
    dedup_s=st.floats(1, 1e7),
    horizon_s=st.floats(1, 1e7),
    partitions=st.integers(1, 1024),
)


@given(LOADS, st.sampled_from(DEAR), st.integers(1, 50))
@settings(max_examples=300, deadline=None)
def test_more_load_never_needs_less(load: Load, name: str, times: int) -> None:
    """Whatever of a load grows, no core, byte, partition or call that it needs becomes fewer, and what did not fit does not begin to fit."""
    more = replace(load, **{name: getattr(load, name) * times})
    before, after = size(load), size(more)
    for figure in before.figures:
        if figure.key not in NO_NEED:
            assert after.of(figure.key) >= figure.value * (1 - 1e-9), figure.key
    assert len(after.misfits) >= len(before.misfits)


@given(LOADS)
@settings(max_examples=200, deadline=None)
def test_every_figure_is_a_number_with_a_unit_and_a_rule(load: Load) -> None:
    """No load gives a negative, an infinite or an unnamed figure; keys are there once, and a person can read each."""
    figures = size(load).figures
    assert len({figure.key for figure in figures}) == len(figures)
    for figure in figures:
        assert 0 <= figure.value < 1e24, figure.key
        assert figure.unit in UNITS
        assert figure.rule
        assert shown(figure.value, figure.unit)


def test_a_load_that_fits_has_no_misfit_and_each_limit_has_its_sentence() -> None:
    """Too few partitions, a provider that is too slow, and periods that end together are each said, with what to do."""
    small = Load(events_per_s=100, mean_events_per_s=100, customers=100, active=100, dedup_s=3_600)
    assert size(small).misfits == ()
    (few,) = size(replace(small, events_per_s=4e6)).misfits
    assert f"partitions = {size(replace(small, events_per_s=4e6)).of('partitions_suggested'):.0f} in [kafka] before the first event" in few
    (slow,) = size(replace(small, calls_per_s=0.01, together=0.0)).misfits
    assert slow.startswith("deliveries cannot keep up")
    assert "Late events alone" in slow
    (together,) = size(replace(small, calls_per_s=0.15, late=0)).misfits
    assert "becomes an adjustment" in together
    assert size(replace(small, calls_per_s=0.15, late=0, together=0.5)).misfits == ()


def test_a_load_that_no_count_of_partitions_carries_is_told_so() -> None:
    """A count that would not be enough either is not what to write."""
    load = Load(events_per_s=1e8, mean_events_per_s=1e8, customers=10**6, active=10**6, calls_per_s=1e6, together=0, worker_memory=1e9)
    (few,) = size(load).misfits
    assert "no count of partitions is enough" in few and "write partitions" not in few
    assert any("plan several installations" in advice for advice in size(load).advice)


def test_windows_that_would_be_long_enough_are_named() -> None:
    """5,000 cells at one call a second want windows of 1.39 hours."""
    (slow,) = size(Load(customers=5_000, active=5_000, dedup_s=60, calls_per_s=1, late=0, together=0, growth=1)).misfits
    assert "Use windows of 1.39 h or longer" in slow


def test_partitions_go_in_steps_that_workers_share() -> None:
    """The suggestion is the next step, never fewer than asked for while there is one."""
    assert [suggested_partitions(wanted) for wanted in (0.1, 4, 4.1, 25, 1024, 5000)] == [4, 4, 8, 48, 1024, 1024]


def test_ids_that_alone_decide_the_workers_are_said() -> None:
    """Where memory of ids asks for more workers than cores do, the cost of an hour of dedup is said; it is advice and no misfit."""
    sizing = size(Load(events_per_s=10_000, mean_events_per_s=10_000, partitions=1024, calls_per_s=1000))
    assert sizing.misfits == ()
    assert any("Each hour of timing.dedup costs" in advice for advice in sizing.advice)


# ── what is stated ──────────────────────────────────────────────────────────────────────────────────────────────
def test_the_load_is_read_as_people_write_it() -> None:
    """`10k`, `1.5M`, `1%`, `90m` are read; what is stated wins over the file, and the file over what is assumed."""
    given_text = {"events_per_s": "10k", "event_bytes": "1.5k", "duplicates": "1%", "window_s": "90m"}
    found = stated(given_text, {"window_s": 10.0, "dedup_s": 60.0}, "f.toml")
    assert (found.load.events_per_s, found.load.event_bytes, found.load.duplicates, found.load.window_s) == (10_000, 1_500, 0.01, 5_400)
    assert (found.load.dedup_s, found.load.mean_events_per_s) == (60, 10_000)
    origins = [found.origins[name] for name in ("window_s", "dedup_s", "mean_events_per_s", "late")]
    assert origins == ["stated", "f.toml", "as --events-per-s", "assumed"]


def test_all_bad_values_are_said_at_once() -> None:
    """Each bad value has one fault that names its option, says what is wrong and shows a right one."""
    bad = {"events_per_s": "x", "window_s": "1y", "late": "2", "customers": "1.5", "partitions": "0", "dedup_s": "", "growth": "nan"}
    with pytest.raises(ConfigurationFault) as refused:
        stated(bad, {}, "")
    assert [fault.place for fault in refused.value.faults] == [option_of(name) for name in bad]
    assert all(fault.remedy.startswith("Write for example") for fault in refused.value.faults)


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"events_per_s": "1k", "mean_events_per_s": "2k"}, "--mean-events-per-s"),
        ({"customers": "10", "active": "11"}, "--active"),
        ({"postings": "3"}, "--postings"),
        ({"duplicates": "0.6", "rejected": "0.6"}, "--duplicates"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(bad: dict[str, str], place: str) -> None:
    """A mean above its peak, more active than known customers, more postings than meters, more copies than events."""
    with pytest.raises(ConfigurationFault) as refused:
        stated(bad, {}, "")
    assert [fault.place for fault in refused.value.faults] == [place]


def test_each_number_of_a_load_can_be_stated() -> None:
    """No number of the rule is out of reach, and each default lies within its own bounds."""
    assert {each.name for each in fields(Load)} == set(FIELDS)
    for name, field in FIELDS.items():
        assert field.least <= getattr(Load(), name) <= field.most, name
