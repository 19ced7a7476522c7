"""Ports of a stack: free, loopback only, kept over restarts."""

from __future__ import annotations

import socket

import pytest

from infra.embedded import ports
from infra.embedded.ports import PortTaken


def test_every_name_gets_a_port_of_its_own() -> None:
    """Ports chosen together are distinct and below the range of outgoing connections."""
    chosen = ports.choose([f"name-{number}" for number in range(500)], {})
    assert len(set(chosen.values())) == 500
    assert all(ports.FIRST <= port <= ports.LAST for port in chosen.values())


def test_remembered_ports_are_kept_while_they_are_free() -> None:
    """A second start has the first one's ports; one that another program took meanwhile is replaced, the others stay."""
    first = ports.choose(["kafka", "sandbox"], {})
    assert ports.choose(["kafka", "sandbox"], first) == first
    with socket.socket() as other:
        other.bind((ports.HOST, first["kafka"]))
        other.listen()
        second = ports.choose(["kafka", "sandbox"], first)
    assert second["kafka"] != first["kafka"]
    assert second["sandbox"] == first["sandbox"]


def test_an_occupied_port_that_was_asked_for_is_one_sentence() -> None:
    """A port asked for by number is taken or refused by name, never silently replaced."""
    with socket.socket() as other:
        other.bind((ports.HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {taken} .* asked for kafka, is in use") as refused:
            ports.choose(["kafka"], {}, {"kafka": taken})
    assert refused.value.exit_code == 2
    assert ports.choose(["kafka"], {}, {"kafka": taken}) == {"kafka": taken}
