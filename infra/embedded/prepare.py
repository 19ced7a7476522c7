"""`python -m infra.embedded.prepare DIR`: topics, schema and control records of a stack whose servers serve; once an `up`.

A process of its own, so that the supervisor needs none of the client libraries and can time it out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.embedded.state import read_state
from topics.errors import TidemarkError


def main(directory: Path) -> int:
    """Runs infra.prepare on the stack of a directory; the exit code. Its error is the last thing it prints."""
    from infra.prepare import prepare

    state = read_state(directory)
    if state is None:
        sys.stderr.write(f"there is no stack in {directory}\n")
        return 2
    try:
        prepare(state)
    except TidemarkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
