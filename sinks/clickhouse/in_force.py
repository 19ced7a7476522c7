"""The definitions in force at an offset of one partition: the archive's copy of what the meter's fold knew there (laws 0 and 19).

A definition acts on records after the control record that brought it. So definitions are applied in the order of their control
records, and only as the raw offsets pass them: an event is read with what was in force then, even where a later version reaches back.
"""

from __future__ import annotations

from bisect import insort

from topics.definitions import Definition, Definitions


class InForce:
    """One partition's definitions, known up to some control record, applied up to the raw offset read so far."""

    def __init__(self, *, at_once: bool = False) -> None:
        """`at_once`: a recreated log was adopted, so the old log's control offsets say nothing about the new one's."""
        self.definitions = Definitions()
        self._at_once = at_once
        self._waiting: list[tuple[int, int, Definition]] = []
        self._ordinal = 0

    def add(self, definition: Definition) -> None:
        """Learn one published definition; it acts once `before` has passed its control record."""
        if self._at_once:
            self.definitions.apply(definition)
            return
        self._ordinal += 1
        insort(self._waiting, (definition.offset, self._ordinal, definition), key=lambda waiting: waiting[:2])

    def before(self, offset: int) -> Definitions:
        """What is in force for the record at `offset`; offsets must not fall."""
        while self._waiting and self._waiting[0][0] < offset:
            self.definitions.apply(self._waiting.pop(0)[2])
        return self.definitions

    @property
    def next_change(self) -> int | None:
        """Offset of the next control record that is known and not passed yet."""
        return self._waiting[0][0] if self._waiting else None
