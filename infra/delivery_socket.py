"""Large answers of a broker are received where they stay, instead of being copied four times on their way.

asyncio's reader takes a piece from the socket into new memory, appends it to a growing buffer, copies the whole answer out of it and moves
what follows to the front. For a fetch of megabytes that is as dear as making its records. Here the rest of a large answer is received into
memory of its size at once. What is asked of the reader and what it raises stay the same; small answers take asyncio's own way.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any, Final

from aiokafka import conn

LARGE_BYTES: Final = 128 * 1024
"""From here on an answer gets its own memory; below it one piece from the socket mostly holds it whole."""

SCRATCH_BYTES: Final = 64 * 1024
"""What is received before anybody has said how long the answer is: its length, and its beginning, which is copied once."""


class InPlaceReader(asyncio.StreamReader):
    """A reader whose large answers are received in place. Only public methods of asyncio's are used or extended."""

    _target: memoryview | None = None
    _arrived: asyncio.Future[None] | None = None
    _at: int = 0
    _ended: bool = False

    async def readexactly(self, n: int) -> bytes:
        """As asyncio's; a large answer comes as a bytearray, which its readers take like bytes."""
        if n < LARGE_BYTES:
            return await super().readexactly(n)
        begun = await self.read(n)
        if not begun:
            raise asyncio.IncompleteReadError(begun, n)
        if len(begun) == n:
            return begun
        answer = bytearray(n)
        answer[: len(begun)] = begun
        await self._receive(answer, len(begun))
        return answer  # type: ignore[return-value]

    async def _receive(self, answer: bytearray, at: int) -> None:
        """Fill `answer` from position `at`. A wait that is cancelled loses what came; aiokafka cancels only when it closes the connection."""
        self._target, self._at = memoryview(answer), at
        try:
            while self._at < len(answer):
                if error := self.exception():
                    raise error
                if self._ended:
                    raise asyncio.IncompleteReadError(bytes(answer[: self._at]), len(answer))
                self._arrived = asyncio.get_running_loop().create_future()
                await self._arrived
        finally:
            self._target = self._arrived = None

    def room(self) -> memoryview | None:
        """What is still to be filled of a large answer that somebody waits for."""
        return self._target[self._at :] if self._target is not None and self._at < len(self._target) else None

    def filled(self, received: int) -> None:
        """So many bytes of `room` were received."""
        self._at += received
        if self._target is not None and self._at == len(self._target):
            self._wake()

    def feed_eof(self) -> None:
        """Nothing more comes."""
        self._ended = True
        super().feed_eof()
        self._wake()

    def set_exception(self, exc: BaseException) -> None:
        """The connection is lost."""
        super().set_exception(exc)  # type: ignore[arg-type]
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class InPlaceProtocol(conn.AIOKafkaProtocol, asyncio.BufferedProtocol):
    """aiokafka's protocol, which lets the loop receive into the memory that it gives."""

    def __init__(self, closed: Any, reader: asyncio.StreamReader, *, loop: asyncio.AbstractEventLoop) -> None:
        # aiokafka makes the reader right before; it has neither bytes nor waiters yet, and both classes keep the same.
        reader.__class__ = InPlaceReader
        # Weak, as asyncio's own protocol holds it: a connection that nobody closes must be found by its destructor.
        self._reader: Any = weakref.ref(reader)
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))  # a view, since over TLS the loop fills it by its slices
        self._target: Any = None
        super().__init__(closed, reader, loop=loop)

    def get_buffer(self, sizehint: int) -> Any:
        """Where the next bytes go."""
        reader = self._reader()
        room = None if reader is None else reader.room()
        self._target = None if room is None else reader
        return self._scratch if room is None else room

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        target, self._target = self._target, None
        if target is None:
            self.data_received(bytes(self._scratch[:nbytes]))
        else:
            target.filled(nbytes)


def receive_in_place() -> None:
    """Let every connection that this process makes from here on receive so."""
    conn.AIOKafkaProtocol = InPlaceProtocol
