"""`tidemark up` and `down`: which configuration a stack gets, bringing it up, and what each partition says to the configuration."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from infra.init import built_in_configuration, write_configuration
from infra.target import DEFAULT_DIR, directory_of, resolve
from topics.errors import UsageError

if TYPE_CHECKING:
    from infra.proposal import Answer
    from infra.target import Target

Tell = Callable[[str], None]


class Up(NamedTuple):
    """A stack that is up: what it is reached by, the answers to its configuration, and how long it took."""

    target: Target
    answers: list[Answer]
    took_s: float


def where(option: Path | None) -> Path:
    """The directory of an embedded stack: named, or the default one."""
    return (directory_of(option, os.environ) or DEFAULT_DIR).expanduser().absolute()


def configuration(directory: Path, option: Path | None, environment: Mapping[str, str]) -> Path:
    """The file that a stack gets: named, or as at its last `up`, or the directory's own, or the one here; else one is written."""
    from infra.embedded import options
    from infra.embedded.layout import Layout
    from infra.settings import DEFAULT_FILE

    if option is not None:
        return option.expanduser().absolute()
    if environment.get("TIDEMARK_CONFIG"):
        return Path(environment["TIDEMARK_CONFIG"]).absolute()
    remembered = options.load(Layout(directory)).config
    candidates = [Path(remembered)] if remembered else []
    candidates += [directory / DEFAULT_FILE, Path(DEFAULT_FILE).absolute()]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        found = directory / DEFAULT_FILE
        write_configuration(found, text=built_in_configuration())
    return found


def bring_up(
    option: Path | None,
    config_option: Path | None,
    *,
    detach: bool,
    workers: int | None = None,
    tell: Tell = lambda _: None,
    sandbox_arguments: Sequence[str] | None = None,
) -> Up:
    """Checks the configuration, starts what is missing, publishes what changed and waits for the answers.

    Raises ConfigurationFault before anything is started.
    """
    from infra.applying import apply_settings
    from infra.embedded import stack
    from infra.settings import load_settings

    started_s = time.monotonic()
    directory = where(option)
    config = configuration(directory, config_option, os.environ)
    load_settings(config, stack={"kafka": {"replication": 1, "min_insync": 1}})
    tell(f"configuration: {config}")
    stack.up(directory, config, workers, detach=detach, progress=tell, sandbox_arguments=sandbox_arguments)
    target = resolve(directory, config)
    tell("publishing the configuration and waiting for every partition's answer")
    answers = apply_settings(target.settings)
    return Up(target, answers, time.monotonic() - started_s)


def stay_up(directory: Path) -> None:
    """In the foreground: until Ctrl-C, which takes the stack down."""
    from infra.embedded import stack

    stack.stay(directory)


def take_down(option: Path | None, tell: Tell = lambda _: None) -> Path:
    """Takes a stack down in order. Raises UsageError where none runs."""
    from infra.embedded import stack

    directory = where(option)
    if not stack.down(directory, tell):
        raise UsageError(f"no stack runs in {directory}")
    return directory
