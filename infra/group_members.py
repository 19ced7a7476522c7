"""A consumer group's members, made to join anew.

Members are static (a killed worker takes its partitions back in 1.4 s), and a broker answers a static member that comes back with what it had
before. So a group whose topic went away and came again stays without partitions, however often its workers are started, until its members
leave. KIP-345; LeaveGroup by member id works for static members too.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code
from aiokafka.protocol.group import LeaveGroupRequest

from infra.kafka_io import ABSENT, admin, unreachable
from topics.errors import TidemarkError

UNKNOWN_MEMBER = 25
"""It has left by itself meanwhile."""


async def rejoin(bootstrap: str, group: str) -> list[str]:
    """Takes every member out of the group; those that live join again at once and share the partitions anew. Returns their instance ids."""
    async with admin(bootstrap) as client:
        try:
            coordinator = await client.find_coordinator(group)
            members = await _members(client, group, coordinator)
            for member_id, *_ in members:
                await _leave(client, group, member_id, coordinator)
        except (*ABSENT, GroupCoordinatorNotAvailableError) as error:
            raise unreachable(bootstrap, error) from error
    return [str(client_id) for _, client_id, *_ in members]


async def _members(client: Any, group: str, coordinator: int) -> list[Any]:
    """Who is in the group. A broker that may not say, or is its coordinator no more, names nobody: that is an error, not an empty group."""
    described: Any = (await client.describe_consumer_groups([group], group_coordinator_id=coordinator))[0]
    code, members = described.groups[0][0], described.groups[0][5]
    if code:
        raise TidemarkError(f"Kafka refused to say who is in {group}: {for_code(code).__name__}")
    return list(members)


async def _leave(client: Any, group: str, member_id: str, coordinator: int) -> None:
    answer = await client._send_request(LeaveGroupRequest(group, member_id), coordinator)  # the client has no public call for it
    if answer.error_code not in {0, UNKNOWN_MEMBER}:
        raise TidemarkError(f"Kafka refused to take {member_id} out of {group}: {for_code(answer.error_code).__name__}")


async def take_out(bootstrap: str, group: str, name: str) -> bool:
    """Take a worker that was stopped for good out of its group; False where no member has that name.

    Its partitions would wait for it until the session time-out, since it may come back under its name. One that still lives joins again at once, so
    a wrong name costs a rebalance and nothing else.
    """
    async with admin(bootstrap) as client:
        try:
            coordinator = await client.find_coordinator(group)
            found = [member_id for member_id, client_id, *_ in await _members(client, group, coordinator) if client_id == name]
            for member_id in found:
                await _leave(client, group, member_id, coordinator)
        except (*ABSENT, GroupCoordinatorNotAvailableError) as error:
            raise unreachable(bootstrap, error) from error
    return bool(found)
