"""What `apply` publishes: the difference between what a configuration proposes and what each partition has in force. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from infra.control import ControlEvent, binding_event, meters_event
from topics.amendments import Amendment
from topics.bindings import Item, ItemVersion, items_digest
from topics.definitions import Definition, Definitions
from topics.home import home_of
from topics.instants import format_s
from topics.meters import BEGINNING_S, Meter, MeterVersion, Timing, TimingVersion, meters_digest


class Publication(NamedTuple):
    """One control record to publish: `customer` is empty for the meters, which go to every partition."""

    partition: int
    customer: str
    event: ControlEvent


@dataclass(frozen=True)
class Proposal:
    """Meters and timings for every partition, and the items of the customers that the proposer knows; others stay as they are."""

    timing: Timing
    meters: tuple[Meter, ...]
    items: Mapping[str, tuple[Item, ...]]


@dataclass(frozen=True)
class Answer:
    """What one partition says to one control record; `holds` lists (meter, from when) of what changed."""

    partition: int
    customer: str
    state: Literal["in force", "unchanged", "refused", "published", "no answer"]
    holds: tuple[tuple[str, str], ...] = ()
    sentence: str = ""

    @property
    def what(self) -> str:
        """For people: which proposal was answered."""
        return f"items of {self.customer}" if self.customer else "meters"


def publications(proposal: Proposal, in_force: Sequence[Definitions]) -> list[Publication]:
    """Only what differs; `in_force[p]` is what partition p last published. Meters come before items: an item names a meter."""
    wanted = meters_digest(proposal.timing, proposal.meters)
    found = [
        Publication(partition, "", meters_event(proposal.timing, proposal.meters, held.meters_digest))
        for partition, held in enumerate(in_force)
        if held.meters_digest != wanted
    ]
    for customer, items in sorted(proposal.items.items()):
        home = home_of(customer.encode(), len(in_force))
        held_digest = in_force[home].customer_digests.get(customer)
        never_bound = held_digest is None and not items
        if held_digest != items_digest(items) and not never_bound:
            found.append(Publication(home, customer, binding_event(customer, items, held_digest)))
    return found


def unchanged(proposal: Proposal, in_force: Sequence[Definitions]) -> list[Answer]:
    """What already holds as proposed."""
    changing = {(publication.partition, publication.customer) for publication in publications(proposal, in_force)}
    everything = [(partition, "") for partition in range(len(in_force))]
    everything += [(home_of(customer.encode(), len(in_force)), customer) for customer in sorted(proposal.items)]
    return [Answer(partition, customer, "unchanged") for partition, customer in everything if (partition, customer) not in changing]


def answers_to(publication: Publication, definitions: Sequence[Definition]) -> Answer | None:
    """The partition's answer to a publication among the versions it published since; None while there is none."""
    wanted = publication.event.digest
    named = [version for version in definitions if getattr(version, "digest", None) == wanted]
    if any(isinstance(version, Amendment) for version in named):
        return Answer(publication.partition, publication.customer, "in force")
    if publication.customer:
        items = [version for version in named if isinstance(version, ItemVersion) and version.customer == publication.customer]
        if not items:
            return None
        holds = tuple((version.meter, _from(version.valid_from_s)) for version in items)
        return Answer(publication.partition, publication.customer, "in force", holds)
    if not any(isinstance(version, TimingVersion) for version in named):
        return None
    meters = [version for version in named if isinstance(version, MeterVersion)]
    holds = tuple((version.meter.slug + (" (ends)" if version.removed else ""), _from(version.valid_from_s)) for version in meters)
    return Answer(publication.partition, "", "in force", holds)


def newest(earlier: Sequence[Answer], later: Sequence[Answer]) -> list[Answer]:
    """The answers after a second attempt: what the first put in force is not called unchanged because it holds by then."""
    held = {(answer.partition, answer.customer): answer for answer in earlier if answer.state == "in force"}
    return [held.get((answer.partition, answer.customer), answer) if answer.state == "unchanged" else answer for answer in later]


def _from(valid_from_s: int) -> str:
    return "the beginning" if valid_from_s == BEGINNING_S else format_s(valid_from_s)
