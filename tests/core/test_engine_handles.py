"""Handles of the embedded engine: what one request says of settings, database and readonly never reaches another."""

from __future__ import annotations

import random
from typing import Any

import pytest

from infra.embedded.engine.handles import KEPT, Handles
from infra.embedded.engine.request import Request, understand

READING = b"SELECT 1"


class Handle:
    """Keeps what it was told; `is_open` until it is closed."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.is_open = True

    def query(self, statement: str, format_name: str) -> None:
        """A statement that prepares."""
        assert self.is_open
        if "no_such" in statement:
            raise RuntimeError("Code: 115. DB::Exception: no such setting")
        self.said.append(statement)

    def close(self) -> None:
        """Ends it, once."""
        assert self.is_open
        self.is_open = False


def made() -> tuple[Handles, list[Handle]]:
    """Handles over such an engine, and all that it made."""
    all_made: list[Handle] = []

    def connect() -> Any:
        all_made.append(Handle())
        return all_made[-1]

    return Handles(connect), all_made


def request(statement: bytes = READING, /, **arguments: str) -> Request:
    """A request with these arguments in its query string."""
    return understand("POST", list(arguments.items()), {}, statement)


def asked(handles: Handles, each: Request) -> Handle:
    """Runs a request to its end; the handle it had."""
    with handles.of(each) as lease:
        handle: Handle = lease.handle
        assert handle.is_open
        lease.answered()
    return handle


def test_reading_again_in_the_same_frame_costs_no_new_handle() -> None:
    """Two reads with the same database, settings and readonly share a handle that was told them once."""
    handles, all_made = made()
    first = asked(handles, request(database="a", readonly="1", max_threads="2"))
    assert asked(handles, request(b"WITH 2 AS x SELECT x", max_threads="2", readonly="1", database="a")) is first
    assert (len(all_made), first.said) == (1, ["USE `a`", "SET max_threads = '2'", "SET readonly = 1"])


@pytest.mark.parametrize("other", [{"database": "b"}, {"readonly": "1"}, {"max_threads": "2"}, {}])
def test_another_frame_has_another_handle(other: dict[str, str]) -> None:
    """Whatever differs in database, readonly or settings, or is not said at all, gets a handle that never heard of it."""
    handles, _ = made()
    frame = {"database": "a", "readonly": "2", "max_threads": "3"}
    assert asked(handles, request(**frame)) is not asked(handles, request(**(frame | other if other else {})))


@pytest.mark.parametrize(
    "statement", [b"INSERT INTO t FORMAT Native\n", b"SET max_threads = 1", b"CREATE TEMPORARY TABLE t (a UInt8)", b"USE b", b"SHOW TABLES"]
)
def test_what_may_change_a_handle_ends_it(statement: bytes) -> None:
    """A statement that is no plain query has a fresh handle, and nobody gets it afterwards."""
    handles, _ = made()
    read = asked(handles, request())
    changed = asked(handles, request(statement))
    assert changed is not read
    assert not changed.is_open
    assert asked(handles, request()) is read


def test_a_handle_is_given_to_one_request_at_a_time() -> None:
    """A read that begins while another one is answered has a handle of its own."""
    handles, _ = made()
    with handles.of(request()) as one, handles.of(request()) as two:
        assert one.handle is not two.handle


def test_a_failed_or_abandoned_answer_ends_its_handle() -> None:
    """After an error, and where the client went away before the end of the answer, the handle is closed."""
    handles, _ = made()
    with handles.of(request()) as abandoned:
        pass
    with pytest.raises(ConnectionError), handles.of(request()) as failed:
        raise ConnectionError
    assert not abandoned.handle.is_open
    assert not failed.handle.is_open


def test_a_handle_that_could_not_be_prepared_is_closed() -> None:
    """A setting that the engine does not know costs no handle."""
    handles, all_made = made()
    with pytest.raises(RuntimeError), handles.of(request(no_such="1")):
        pass
    assert [handle.is_open for handle in all_made] == [False]


def test_few_idle_handles_are_kept_and_all_end() -> None:
    """However many frames are asked, at most `KEPT` handles stay open between requests, and none after the end."""
    handles, all_made = made()
    rng = random.Random(7)
    for _ in range(200):
        asked(handles, request(max_threads=str(rng.randrange(30))))
        assert sum(handle.is_open for handle in all_made) <= KEPT
    handles.close()
    assert not any(handle.is_open for handle in all_made)


def test_frames_that_nobody_asks_for_again_are_forgotten() -> None:
    """A client that states other settings with each request (a time-out, a comment) leaves nothing behind but the kept handles."""
    handles, _ = made()
    for number in range(50 * KEPT):
        asked(handles, request(log_comment=str(number)))
        with handles.of(request(log_comment=str(number))):
            pass  # taken, and not read to its end
    assert len(handles._idle) <= KEPT
