"""`python -m infra.kernels`: compile now what is compiled (`topics/compiled.py`), so that no worker waits for it. `make env` and the image do.

The machine code lies beside the source or in NUMBA_CACHE_DIR; where it is there already, for this source and this processor, nothing is done.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

MODULES: Final = ("streams.columns", "streams.step", "infra.delivery", "sinks.clickhouse.native")
"""Importing these imports every compiled function; `tests/house/test_kernels.py` holds that."""


def main() -> int:
    """Import them; whatever is not compiled yet is compiled by that, in half a minute of CPU for all."""
    for name in MODULES:
        import_module(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
