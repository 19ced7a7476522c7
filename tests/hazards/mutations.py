"""The switchboard: every guard of the laws that can be taken out, by name.

    from tests.hazards.mutations import MUTATIONS
    with MUTATIONS["no-resolve-first"].applied():
        faults = anything(seed)

A mutation knows nothing of what is run under it: the hazards' checks, the simulation, a single call. `python -m tests.hazards.table` runs
each under its checks and writes `infra/docs/guards.md`.
"""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import Mutation
from tests.hazards.mutations_amended import AMENDED
from tests.hazards.mutations_archive import ARCHIVE
from tests.hazards.mutations_counting import COUNTING
from tests.hazards.mutations_delivering import DELIVERING
from tests.hazards.mutations_durable import DURABLE
from tests.hazards.mutations_finality import FINAL
from tests.hazards.mutations_meters import METERS
from tests.hazards.mutations_preflight import PREFLIGHT
from tests.hazards.mutations_restated import RESTATED
from tests.hazards.mutations_restored import RESTORED
from tests.hazards.mutations_shells import SHELLS

ALL: Final[tuple[Mutation, ...]] = (*COUNTING, *DURABLE, *DELIVERING, *METERS, *SHELLS, *ARCHIVE, *PREFLIGHT, *FINAL, *AMENDED, *RESTORED, *RESTATED)
MUTATIONS: Final[dict[str, Mutation]] = {mutation.name: mutation for mutation in ALL}

__all__ = ["ALL", "MUTATIONS", "Mutation"]
