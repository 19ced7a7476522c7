"""Functions that are compiled to machine code: what a batch needs of each of its records, where a Python step each costs more than all the rest.

A compiled function is a loop over arrays, without objects, exceptions or state: it reads within the bounds that its arguments give, and says by a
number what it found. What it cannot be sure of it leaves to the Python that says what is right; tests hold both against each other.
The machine code is kept beside the source (or, where that cannot be written, in the user's cache folder), so it is made once for each machine,
at `make env`; made at a worker's start it takes some seconds. It has in it whatever the function calls or names of other files, so it is good only as
long as all of these are what they were (`sources_digest`): a worker that kept an older part would count by a rule that nobody reads any more.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import numba
from numba.core import caching

_Args = ParamSpec("_Args")
_Found = TypeVar("_Found")
log = logging.getLogger(__name__)
_PACKAGES: Final = ("topics", "streams", "sinks", "infra")
_OURS: Final = re.compile(rf"^from ((?:{'|'.join(_PACKAGES)})[\w.]*) import", re.MULTILINE)


@cache
def sources_digest(root: Path) -> str:
    """Of every file below `root` with a compiled function, and of those it imports: constants of theirs are part of the machine code."""
    texts = {path: path.read_bytes() for package in _PACKAGES for path in (root / package).rglob("*.py")}
    compile_some = {path for path, text in texts.items() if b"topics.compiled import" in text}
    imported = {
        root.joinpath(*name.split(".")).with_suffix(".py") for path in compile_some for name in _OURS.findall(texts[path].decode())
    }
    digest = hashlib.sha256()
    for path in sorted(compile_some | imported & texts.keys()):
        digest.update(hashlib.sha256(texts[path]).digest())
    return digest.hexdigest()


class _AllSources:
    """What kept machine code is compared with before it is used. Numba itself looks at the function's own file alone."""

    def get_source_stamp(self) -> str:
        return sources_digest(Path(__file__).parent.parent)


class Given(_AllSources, caching.UserProvidedCacheLocator):
    """In NUMBA_CACHE_DIR."""


class Beside(_AllSources, caching.InTreeCacheLocator):
    """Beside the source."""


class OfUser(_AllSources, caching.UserWideCacheLocator):
    """In the user's cache folder."""


setattr(numba.config, "CACHE_LOCATOR_CLASSES", ",".join(f"{place.__module__}.{place.__qualname__}" for place in (Given, Beside, OfUser)))  # noqa: B010, its stub does not know it


def compiled(signature: str) -> Callable[[Callable[_Args, _Found]], Callable[_Args, _Found]]:
    """Compile a function for exactly these types, now. Arrays that are only read are given as `Array(uint8, 1, "C", readonly=True)`.

    `nogil`: the heartbeats of the consumer's thread go on meanwhile. Division by zero gives what the processor gives and raises nothing.
    """

    def compile_it(function: Callable[_Args, _Found]) -> Callable[_Args, _Found]:
        try:
            made = numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            log.warning("%s is compiled at each start: neither the source's folder nor a cache folder can be written", function.__name__)
            made = numba.njit(signature, nogil=True, error_model="numpy")(function)
        return cast("Callable[_Args, _Found]", made)

    return compile_it


def inlined(function: Callable[_Args, _Found]) -> Callable[_Args, _Found]:
    """A part of compiled functions, which is written out wherever one calls it: a call costs nothing, and a constant given to it is one in it."""
    made: Callable[_Args, _Found] = numba.extending.register_jitable(forceinline=True)(function)
    return made
