"""The audit counts amendments again by its own code: what acted, what was refused, every revision they made; and names what was forged."""

from __future__ import annotations

import msgspec
import pytest

from infra.auditing import compare
from tests.core.amend_story import LONG_MS, SHORT_MS, Story
from tests.core.audit_world import AuditWorld
from tests.core.meterlog import Stored
from tests.core.test_audit import numbers
from topics.amendments import Amendment
from topics.catalog import DEFINITIONS, EVENTS
from topics.codec import encode
from topics.definitions import decode_definition, definition_key


def told(seed: int) -> Story:
    """A life with amendments."""
    story = Story(seed, SHORT_MS if seed % 2 else LONG_MS)
    for _ in range(30):
        story.turn()
    story.settle()
    return story


@pytest.mark.parametrize("seed", range(200, 208))
async def test_amendments_are_no_difference(seed: int) -> None:
    """With random voids, sets, corrections, races and stale ones every row, counter, revision and published amendment is the recount's."""
    story = told(seed)
    world = AuditWorld(seed, story.bench.log)
    world.emit()
    found = await world.audited()
    assert numbers(found) == []
    assert found.recounted == found.table == compare.numbers(world.meter.counters)
    assert found.recounted["control"] == 1 + len(story.acting)
    assert found.checked.definitions > len(story.acting)


async def test_an_amendment_that_nobody_made_is_named() -> None:
    """An amendment on usage.definitions that the log does not say, and one of the log that was removed there, are findings with their offset."""
    story = told(301)
    world = AuditWorld(1, story.bench.log)
    world.emit()
    chosen = next(record for record in world.logs[DEFINITIONS].records if b'"amendment"' in (record.value or b""))

    def forged(record: Stored) -> Stored:
        said = decode_definition(record.value or b"", "test")
        assert isinstance(said, Amendment)
        other = msgspec.structs.replace(said, offset=said.offset + 1)
        return record._replace(key=definition_key(other), value=encode(other))

    assert world.change(DEFINITIONS, lambda record: record == chosen, forged) == 1
    found = await world.audited()
    assert [finding.kind for finding in numbers(found)] == ["definition", "definition"]


async def test_an_amendment_that_was_taken_out_of_the_log_is_a_difference() -> None:
    """Without the record of an amendment that acts the table's row and counters are no longer what the log adds up to."""
    story = told(302)
    world = AuditWorld(1, story.bench.log)
    world.emit()
    at = max(story.acting)
    assert world.change(EVENTS, lambda record: record.offset == at, lambda _: None) == 1
    found = await world.audited()
    assert {"counters", "row"} <= {finding.kind for finding in numbers(found)}
