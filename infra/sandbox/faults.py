"""Faults by seed: which request is hit by what is a pure function of (seed, epoch, request identity, how often it came).

So a run with the same seed hits the same requests however its concurrency interleaves, and a retry of a hit request draws anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from topics.errors import UsageError

FaultName = Literal["429", "503", "409", "500", "500_effect", "delay", "hold", "lost", "cut"]
"""In the order in which a request meets them:

- `429` rate limited, not saved; `503` unavailable, not saved; `409` the key counts as in use, not saved
- `500` saved without the effect; `500_effect` saved after the effect (a 500 says nothing about which)
- `delay` the effect waits; `hold` the connection breaks, the key stays in use, and the effect comes afterwards
- `lost` the effect is committed and the connection breaks; `cut` the same, after half of the answer
"""
REMEMBERED = 200_000
"""Requests whose draws are counted, about 40 MB; beyond it the counts begin again in a new epoch, so a long run stays bounded."""
FAULTS: tuple[FaultName, ...] = get_args(FaultName)


@dataclass(slots=True)
class Plan:
    """Rates (0..1, their sum at most 1) by fault name, for the resource `only` or for all. `epoch` makes a restart draw anew."""

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    only: str | None = None
    epoch: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rates) - set(FAULTS))
        if unknown:
            raise UsageError(f"unknown fault {', '.join(unknown)}: choose from {', '.join(FAULTS)}")
        if any(not 0 <= rate <= 1 for rate in self.rates.values()) or sum(self.rates.values()) > 1 + 1e-9:
            raise UsageError("fault rates are shares of the calls: each between 0 and 1, together at most 1")

    def draw(self, resource: str, identity: str) -> FaultName | None:
        """The fault that hits this request, or None. `identity` is its idempotency key, or method and URL."""
        if not self.rates or (self.only is not None and resource != self.only):
            return None
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
            self.epoch += 1
        occurrence = self._seen.get(identity, 0)
        self._seen[identity] = occurrence + 1
        text = f"{self.seed}\x00{self.epoch}\x00{occurrence}\x00{identity}"
        point = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
        for name in FAULTS:
            point -= self.rates.get(name, 0.0)
            if point < 0:
                return name
        return None
