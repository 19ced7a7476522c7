"""Functions that are compiled to machine code: what a batch needs of each of its records, where a Python step each costs more than all the rest.

A compiled function is a loop over arrays, without objects, exceptions or state: it reads within the bounds that its arguments give, and says by a
number what it found. What it cannot be sure of it leaves to the Python that says what is right; tests hold both against each other.
The machine code is kept beside the source (or, where that cannot be written, in the user's cache folder), so it is made once for each machine,
at `make env`; made at a worker's start it takes some seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

_Args = ParamSpec("_Args")
_Found = TypeVar("_Found")
log = logging.getLogger(__name__)


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
