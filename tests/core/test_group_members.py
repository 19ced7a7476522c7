"""Who is in a group, and who is taken out of it, as a broker's answers say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from infra import group_members
from topics.errors import TidemarkError

NOT_COORDINATOR = 16


class Admin:
    """A broker's side: this error code, these members."""

    def __init__(self, code: int, names: list[str]) -> None:
        self.code, self.names = code, names
        self.left: list[str] = []

    async def find_coordinator(self, _group: str) -> int:
        """The first broker."""
        return 1

    async def describe_consumer_groups(self, groups: list[str], *, group_coordinator_id: int) -> list[Any]:
        """One group."""
        assert group_coordinator_id == 1
        members = [(f"{name}-0f3a", name, "/127.0.0.1", b"", b"") for name in self.names]
        return [SimpleNamespace(groups=[(self.code, groups[0], "Stable", "consumer", "faust", members)])]

    async def _send_request(self, request: Any, _node: int) -> Any:
        self.left.append(request._member_id)
        return SimpleNamespace(error_code=0)


def speaks(monkeypatch: pytest.MonkeyPatch, broker: Admin) -> Admin:
    """Let the module speak to this one."""

    @asynccontextmanager
    async def admin(_bootstrap: str) -> AsyncIterator[Admin]:
        yield broker

    monkeypatch.setattr(group_members, "admin", admin)
    return broker


async def test_the_named_worker_alone_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One leaves, the others stay; a name that is nobody's takes nobody out, and says so."""
    broker = speaks(monkeypatch, Admin(0, ["meter-0", "meter-1", "meter-10"]))
    assert await group_members.take_out("b:1", "tidemark.meter", "meter-1") is True
    assert broker.left == ["meter-1-0f3a"]
    assert await group_members.take_out("b:1", "tidemark.meter", "meter-2") is False
    assert len(broker.left) == 1


async def test_a_broker_that_does_not_say_who_is_there_is_no_empty_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is not taken for a worker that has gone already, whose partitions would then wait for its session to end."""
    speaks(monkeypatch, Admin(NOT_COORDINATOR, []))
    with pytest.raises(TidemarkError, match="NotCoordinator"):
        await group_members.take_out("b:1", "tidemark.meter", "meter-1")
    with pytest.raises(TidemarkError, match="NotCoordinator"):
        await group_members.rejoin("b:1", "tidemark.meter")
