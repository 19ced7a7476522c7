"""The command `tidemark`: one short file per group of verbs; what a verb does lives elsewhere, these only read options and print.

Exit codes: 0 done · 1 found what it was asked to look for · 2 wrong use or configuration · 3 a server cannot be reached · 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from infra.cli.arguments import hoisted

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and end the process with its exit code; what is expected to go wrong is one sentence on stderr."""
    code = run(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe has seen enough; the interpreter must not complain about it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _interrupted() -> int:
    from infra.cli.output import say_error

    say_error("interrupted; every verb can be called again, and sending the same file again counts nothing twice")
    return INTERRUPTED


def run(arguments: list[str]) -> int:
    """The exit code of one verb."""
    import typer

    from infra.cli.app import app
    from infra.cli.output import say_error
    from topics.errors import ConfigurationFault, TidemarkError

    # Typer brings its own copy of click and exports only some of its exceptions; the base of all wrong uses is found through one of them.
    # What a client library says about its connections, a verb says itself in one sentence. Workers set up their own logging.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    wrong_use: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        result = app(hoisted(arguments), prog_name="tidemark", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except wrong_use as error:
        error.show()
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except ConfigurationFault as error:
        say_error("\n".join(["the configuration has faults:", *map(str, error.faults)]))
        return error.exit_code
    except TidemarkError as error:
        say_error(str(error))
        return error.exit_code
    except BrokenPipeError:
        return 0
    code = result if isinstance(result, int) else 0
    return _interrupted() if code == INTERRUPTED else code  # typer's own answer to Ctrl-C
