"""Every query of `infra/docs/analysts.md`, run on ClickHouse's engine as it stands there, with the answer that its title promises."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.analyst import VIEWS, statements
from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.ports import Refused
from tests.contract.analyst_world import ACME, BETA, DELTA, GAMMA, Analysed, queries
from tests.contract.archive_engine import archive_at

DOCUMENT = Path(__file__).parents[2] / "infra" / "docs" / "analysts.md"
QUERIES = queries(DOCUMENT.read_text(encoding="utf-8"))
REFUSED, BUSY = "No such item.", "17T10:00:00"


def row(**values: Any) -> dict[str, Any]:
    """What is expected of one row: quantities as decimals."""
    return values


ANSWERS: dict[str, list[dict[str, Any]]] = {
    "Who grew": [
        row(customer=BETA, meter="tokens", week_before="0", week="1000", grew="1000"),
        row(customer=GAMMA, meter="calls", week_before="0", week="7", grew="7"),
        row(customer=ACME, meter="calls", week_before="5", week="3.75", grew="-1.25"),
        row(customer=BETA, meter="calls", week_before="2", week="0", grew="-2"),
    ],
    "Top meters and customers": [
        row(meter="calls", customer=ACME, used="8.75", percent=49.3),
        row(meter="calls", customer=GAMMA, used="7", percent=39.4),
        row(meter="calls", customer=BETA, used="2", percent=11.3),
        row(meter="tokens", customer=BETA, used="1000", percent=100),
    ],
    "Late by source": [
        row(source="edge", events=1, late=1, latest_s=86_400),
        row(source="gw", events=5, late=0, latest_s=0),
        row(source="llm", events=1, late=0, latest_s=0),
    ],
    "Duplicates by producer": [row(source="gw", duplicates=2, of_events=1, longest_s=90)],
    "Cost by customer": [
        row(customer=ACME, meter="calls", used="8.75", cents="4.375"),
        row(customer=BETA, meter="tokens", used="1000", cents="4"),
        row(customer=GAMMA, meter="calls", used="7", cents="3.5"),
        row(customer=BETA, meter="calls", used="2", cents="1"),
    ],
    "Stuck deliveries": [
        row(state="parked", reason="no_such_item", customer=BETA, meter="calls", not_delivered="2", sentence=REFUSED, request_id="req_no"),
        row(state="unbound", reason="unbound", customer=GAMMA, meter="calls", not_delivered="7", sentence="", request_id=""),
        row(state="undelivered", reason="", customer=BETA, meter="tokens", not_delivered="1000", sentence="", request_id=""),
    ],
    "Rejected by reason and producer": [
        row(reason="bad_quantity", source="gw", events=2, customers=1),
        row(reason="no_meter", source="other", events=1, customers=1),
    ],
    "Biggest windows": [
        row(meter="calls", customer=GAMMA, quantity="7", events=1, per_event="7"),
        row(meter="calls", customer=ACME, quantity="5", events=1, per_event="5"),
        row(meter="calls", customer=ACME, quantity="3.75", events=3, per_event="1.25"),
        row(meter="tokens", customer=BETA, quantity="1000", events=1, per_event="1000"),
    ],
    "Revisions after closing": [
        row(customer=ACME, meter="calls", revisions=2, first_total="3.5", newest_total="3.75", changed="0.25", over_s=86_460),
    ],
    "Coverage of a period": [
        row(customer=ACME, meter="calls", delivered_windows=2, other_windows=0, other_states=[], counted_total="8.75", missing="0"),
        row(customer=BETA, meter="calls", delivered_windows=0, other_windows=1, other_states=["parked"], counted_total="2", missing="2"),
        row(customer=BETA, meter="tokens", delivered_windows=0, other_windows=1, other_states=["undelivered"], delivered_total="0", missing="1000"),
        row(customer=GAMMA, meter="calls", delivered_windows=0, other_windows=1, other_states=["unbound"], counted_total="7", missing="7"),
        row(customer=DELTA, meter="calls", delivered_windows=0, other_windows=1, other_states=["open"], counted_total="9", missing="9"),
    ],
    "Events behind an invoice line": [
        row(event_id="a1", quantity="1.5", source="gw", running_total="1.5"),
        row(event_id="a2", quantity="2", source="gw", running_total="3.5"),
        row(event_id="a4", quantity="0.25", source="edge", running_total="3.75"),
    ],
    "From event to provider": [row(meter="calls", windows=2, median_s=600, longest_s=600)],
    "Is the archive itself complete": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The small archive."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        clickhouse = archive_at(engine.url, "analysts")
        Analysed().write(clickhouse)
        yield clickhouse


def exact(value: Any) -> Any:
    """Quantities as exact decimals, whatever way the engine writes them."""
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return value


@pytest.mark.parametrize("title", ANSWERS)
def test_a_documented_query_answers_what_it_promises(archive: ClickHouse, title: str) -> None:
    """The query under this heading, copied by a reader as it stands, gives the rows that its title says, digit by digit."""
    (sql,) = QUERIES[title]
    rows = archive.read(sql)
    wanted = ANSWERS[title]
    shown = [{name: exact(found[name]) for name in expected} for found, expected in zip(rows, wanted, strict=False)]
    assert shown == [{name: exact(value) for name, value in expected.items()} for expected in wanted]
    assert len(rows) == len(wanted), rows


def test_every_query_of_the_page_is_checked() -> None:
    """A query that somebody adds to the page has to say here what it answers; there are at least ten."""
    statements = {title: found for title, found in QUERIES.items() if found[0].split()[0] in {"SELECT", "WITH"}}
    assert set(statements) == set(ANSWERS)
    assert len(statements) >= 10


def test_the_archive_says_so_when_it_is_not_complete(archive: ClickHouse) -> None:
    """The last query has a row as soon as a raw event is missing."""
    damaged = archive_at(archive.address.url, "analysts_damaged")
    Analysed().write(damaged)
    damaged.command("ALTER TABLE raw_events DELETE WHERE event_id = 'a2' SETTINGS mutations_sync = 1")
    (found,) = damaged.read(QUERIES["Is the archive itself complete"][0])
    assert (found["counted_missing"], found["postings_missing"]) == (1, 1)


def test_the_read_only_user_is_made_of_statements_that_the_engine_takes(archive: ClickHouse) -> None:
    """Every statement for the analysts' user parses on the engine (which has no users), and views with their definer's rights answer as before."""
    views = [row["name"] for row in archive.read(VIEWS)]
    made = list(statements("analyst", "a long enough password", archive.address.database, views))
    for statement in made:
        assert archive.read(f"EXPLAIN AST {statement}"), statement
    sql = QUERIES["Coverage of a period"][0]
    before = archive.read(sql)
    for statement in made:
        if statement.startswith("ALTER TABLE"):
            archive.command(statement)
    assert archive.read(sql) == before
    assert "SQL SECURITY DEFINER" in str(archive.read("SHOW CREATE TABLE coverage"))


def test_the_engine_lets_the_analyst_only_read(archive: ClickHouse) -> None:
    """A client that logs in as `analyst` asks the documented queries and can change nothing, neither a table nor what it may."""
    address = Address(url=archive.address.url, database=archive.address.database, user="analyst", password="anything")
    analyst = ClickHouse(address)
    assert analyst.read(QUERIES["Who grew"][0])
    for statement in ("DROP VIEW coverage", "ALTER TABLE raw_events DELETE WHERE 1", "CREATE TABLE mine (x UInt8) ENGINE = Memory"):
        with pytest.raises(Refused):
            analyst.command(statement)
    analyst.close()


SERVER_ONLY = "Colder storage on a server"
"""Needs a storage policy, which the embedded engine has none of: its statements are parsed and not run."""


def test_the_statements_of_retention_do_what_they_say(archive: ClickHouse) -> None:
    """Each statement of `retention.md` runs as it stands; a dropped month's events are gone, totals stay, integrity says what is missing."""
    clickhouse = archive_at(archive.address.url, "analysts_retention")
    Analysed().write(clickhouse)
    blocks = queries((DOCUMENT.parent / "retention.md").read_text(encoding="utf-8"))
    totals = clickhouse.read("SELECT * FROM window_totals ORDER BY ALL")
    for title, found in blocks.items():
        for sql in found:
            if title == SERVER_ONLY:
                assert clickhouse.read(f"EXPLAIN AST {sql}")
            elif sql.startswith("ALTER"):
                clickhouse.command(sql)
            else:
                clickhouse.read(sql)
    assert clickhouse.read("SELECT count() AS n FROM raw_events WHERE toYYYYMM(log_time) = 202611") == [{"n": 0}]
    assert clickhouse.read("SELECT count() AS n FROM raw_events") == [{"n": 2}]  # what came in December
    assert clickhouse.read("SELECT * FROM window_totals ORDER BY ALL") == totals
    assert clickhouse.read("SELECT counted_missing AS n FROM integrity")[0]["n"] > 0
    assert {len(found) for found in blocks.values()} >= {1, 3}


def test_the_list_of_views_is_whole(archive: ClickHouse) -> None:
    """The page names every view there is."""
    text = DOCUMENT.read_text(encoding="utf-8")
    views = archive.read("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
    assert not [view["name"] for view in views if f"`{view['name']}`" not in text]
