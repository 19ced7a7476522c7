"""The table of rows against a plain dict: whatever is made, changed, let go and made again, each row holds its own and no other's."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from streams.name_table import Names
from streams.rows import NEVER, Row, Rows, revision
from topics.content_hash import MODULUS
from topics.windows import Window

FIELDS = ("scaled", "events", "first_offset", "rev", "emitted", "content_hash", "segment", "own")


def a_window(rng: Random) -> Window:
    """One of a few thousand windows, of customers with few and with many rows."""
    customer = f"c{min(rng.randrange(40), rng.randrange(40))}" + "é" * rng.randrange(2)
    start_s = rng.randrange(-30, 60) * 60
    return Window(customer, rng.choice(["calls", "tokens"]), start_s, start_s + 60)


def change(rng: Random, row: Row, model: dict[str, int]) -> None:
    """Some values of a row, in the table and in the model."""
    values = {
        "scaled": rng.choice([rng.randrange(-(1 << 60), 1 << 60), rng.randrange(-(1 << 126), 1 << 126), rng.randrange(-(1 << 140), 1 << 140)]),
        "events": rng.randrange(1 << 40),
        "first_offset": rng.randrange(-1, 1 << 62),
        "rev": rng.choice([NEVER, revision(rng.randrange(5), rng.randrange(1 << 62))]),
        "emitted": rng.choice([NEVER, revision(rng.randrange(5), rng.randrange(1 << 62))]),
        "content_hash": rng.randrange(MODULUS),
        "segment": rng.randrange(-1, 1 << 40),
    }
    for name in rng.sample(sorted(values), 3):
        setattr(row, name, values[name])
        model[name] = values[name]


def check(rows: Rows, model: dict[Window, dict[str, int]]) -> None:
    """Both say the same, each way in which a row is found."""
    assert {row.window: {name: getattr(row, name) for name in FIELDS} for row in rows.all()} == model
    assert rows.count == len(model)
    assert rows.store.events(rows.store.live()) == sum(values["events"] for values in model.values())
    for customer in {window.customer for window in model}:
        found = [row.window for row in rows.of_customer(customer, ["tokens", "calls", "none"])]
        assert sorted(found) == sorted(window for window in model if window.customer == customer)
    for window, values in model.items():
        row = rows.get(window)
        assert row is not None
        assert row.pending == (values["rev"] > values["emitted"])
    slots = rows.store.live()
    assert rows.store.is_pending(slots).tolist() == [row.pending for row in rows.rows(slots.tolist())]


@pytest.mark.parametrize("seed", range(8))
def test_the_table_is_a_dict_of_rows(seed: int) -> None:
    """Random rows are made singly and in batches, changed, moved to test clocks and let go by their ends; a plain dict does the same."""
    rng, rows, model = Random(seed), Rows(), dict[Window, dict[str, int]]()
    for turn in range(30):
        fresh = sorted({a_window(rng) for _ in range(rng.choice([0, 1, 5, 60]))} - set(model))
        own = rng.random() < 0.2
        rows.make(fresh, own=own)
        for window in fresh:
            model[window] = dict.fromkeys(FIELDS, 0) | dict.fromkeys(("first_offset", "rev", "emitted", "segment"), -1) | {"own": own}
        for window in rng.sample(sorted(model), min(len(model), 10)):
            row = rows.get(window)
            assert row is not None
            change(rng, row, model[window])
        if rng.random() < 0.3 and model:
            customer = rng.choice(sorted(model)).customer
            taken = [row for row in rows.of_customer(customer, ["calls"]) if not row.own]
            rows.make_own(taken)
            for row in taken:
                model[row.window]["own"] = True
        for ends in (rows.ends, *rows.own.values()):
            while rng.random() < 0.4 and ends.first_end() is not None:
                gone = {row.window for row in rows.rows(ends.at(ends.first_end() or 0).tolist())}
                rows.remove_first_end(ends)
                model = {window: values for window, values in model.items() if window not in gone}
        if turn % 6 == 5:
            check(rows, model)


@pytest.mark.parametrize("seed", range(4))
def test_the_earliest_end_holds_its_rows_and_no_others(seed: int) -> None:
    """By the log's now and by clocks: each row stands once under its own end, also where its slot was another row's before."""
    rng, rows = Random(seed), Rows()
    for _ in range(40):
        held = {row.window for row in rows.all()}
        rows.make(sorted({a_window(rng) for _ in range(30)} - held), own=rng.random() < 0.3)
        if rng.random() < 0.5:
            rows.make_own([row for row in rows.of_customer(f"c{rng.randrange(9)}", ["calls", "tokens"]) if not row.own])
        for whose in ("log", *rows.own):
            ends = rows.ends if whose == "log" else rows.own[whose]
            said = sorted(row.window for slots in ends.until(1 << 40) for row in rows.rows(slots.tolist()))
            of = [row for row in rows.all() if (not row.own if whose == "log" else row.own and row.window.customer == whose)]
            assert said == sorted(row.window for row in of)
            if ends.first_end() is not None and rng.random() < 0.6:
                rows.remove_first_end(ends)


@pytest.mark.parametrize("seed", range(6))
def test_sums_and_hashes_are_added_exactly(seed: int) -> None:
    """Vectorised adding is Python's: negative quantities, carries between words, sums at and beyond 127 bits."""
    rng, rows = Random(seed), Rows()
    windows = [Window("c", "calls", at * 60, at * 60 + 60) for at in range(50)]
    slots = rows.make(windows, own=False)
    edges = (0, 1, -1, (1 << 63) - 1, 1 << 64, -(1 << 64), (1 << 126) - 5, (1 << 127) - 1, -(1 << 127), 1 << 130)
    sums = [rng.choice(edges) + rng.randrange(-3, 4) for _ in windows]
    hashes = [rng.choice((0, MODULUS - 1, rng.randrange(MODULUS), (1 << 192) - 1)) for _ in windows]
    for row, scaled, content_hash in zip(rows.rows(slots.tolist()), sums, hashes, strict=True):
        row.scaled, row.content_hash = scaled, content_hash
    for _ in range(20):
        chosen = rng.sample(range(50), rng.randrange(1, 50))
        far = rng.randrange(-(1 << 125), 1 << 125)
        quantities = [rng.choice((rng.randrange(-(1 << 63), 1 << 63), far, 0, -1, 1, (1 << 64) - 1, -(1 << 127))) for _ in chosen]
        more = [rng.choice((rng.randrange(MODULUS), MODULUS - 1, 1 << 64)) for _ in chosen]
        low, high = [quantity & (1 << 64) - 1 for quantity in quantities], [quantity >> 64 for quantity in quantities]
        rows.store.add(slots[chosen], np.array(low, np.uint64), np.array(high, np.int64))
        words = np.frombuffer(b"".join(one.to_bytes(32, "little") for one in more), np.uint64).reshape(-1, 4)
        rows.store.add_hashes(slots[chosen], words)
        for at, quantity, one in zip(chosen, quantities, more, strict=True):
            sums[at] += quantity
            hashes[at] = (hashes[at] + one) % MODULUS
        found = rows.rows(slots.tolist())
        assert [row.scaled for row in found] == sums
        assert [row.content_hash for row in found] == hashes


def test_memory_follows_the_customers_that_have_rows() -> None:
    """After a hundred generations of customers the table and its names are as large as after a few."""
    rows = Rows()
    for day in range(100):
        rows.make([Window(f"customer {day} {n} " + "x" * 50, "calls", day * 60, day * 60 + 60) for n in range(500)], own=False)
        if day >= 2:
            rows.remove_first_end(rows.ends)
    assert rows.count == 1000
    assert len(rows.store.table) < 4000
    assert rows.store.customers.count <= 1500
    assert rows.store.customers.size_bytes < 400_000


def test_names_are_told_apart() -> None:
    """Each name has one number, prefixes, NULs and other scripts included; a number that is given again stands for its new name."""
    names, texts = Names(), ["a", "a\0", "", "aa", "é", "日本", "a" * 70_000]
    numbers = [names.number(text) for text in texts]
    assert len(set(numbers)) == len(texts)
    assert [names.find(text) for text in texts] == numbers
    assert [names.name(number) for number in numbers] == texts
    assert names.find("b") == -1
    names.forget(np.array(numbers[-1:]))
    assert names.find(texts[-1]) == -1
    assert names.number("b") == numbers[-1]
    assert [names.name(number) for number in numbers] == [*texts[:-1], "b"]
