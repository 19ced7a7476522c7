"""An event loop whose time is a number and whose order is a seed; in it processes that can be killed, frozen and thawed between any two steps.

Within one process callbacks run in the order asyncio promises; which process runs next is chance. A killed process runs nothing any more, not even
its `finally`: that is kill -9. A frozen one keeps what would have run, and runs it when it is thawed: that is SIGSTOP.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

Answer = TypeVar("Answer")

EPOCH_S: Final = 1_795_219_200
"""2026-11-21T00:00:00Z, where every simulated history begins."""
BURST: Final = 6
"""Steps that one process may run before chance decides anew: two processors are seldom in lock step."""


class Process:
    """What runs, dies, sleeps as one. `strike_at`: the step after which `strike` is called, so that a fault can lie between any two awaits."""

    __slots__ = ("alive", "frozen", "name", "ready", "skew_ms", "steps", "strike", "strike_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.ready: deque[Handle] = deque()
        self.steps = 0
        self.strike_at = -1
        self.strike: Callable[[], None] | None = None
        self.skew_ms = 0

    def strike_after(self, steps: int, strike: Callable[[], None]) -> None:
        """Let a fault happen after so many more steps."""
        self.strike_at, self.strike = self.steps + steps, strike


_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Handle:
    """One callback that waits for its turn; what asyncio expects of a handle, and no more."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "process", "when_s")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context, process: Process, when_s: float) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.process = process
        self.when_s = when_s
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never run it."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it will never run."""
        return self.is_cancelled

    def when(self) -> float:
        """The loop's time it waits for."""
        return self.when_s


class Stuck(AssertionError):
    """Nothing can happen any more although somebody waits."""


class Kernel(asyncio.AbstractEventLoop):
    """See the module. `now_s` is seconds since EPOCH_S."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now_s = 0.0
        self.world = Process("world")
        self.processes = [self.world]
        self.errors: list[str] = []
        self.last_words: list[str] = []
        self.steps = 0
        self.closed = False
        self.executor: Callable[[Callable[..., Any], tuple[Any, ...]], Coroutine[Any, Any, Any] | None] = lambda _fn, _args: None
        self._timers: list[tuple[float, int, Handle]] = []
        self._sequence = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._contexts: dict[Process, contextvars.Context] = {}
        self._nobody = contextvars.Context()

    # ── what asyncio asks ───────────────────────────────────────────────────────────────────────────────────────
    def time(self) -> float:
        """Virtual seconds."""
        return self.now_s

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """While a history lasts."""
        return not self.closed

    def is_closed(self) -> bool:
        """After it."""
        return self.closed

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> Handle:  # type: ignore[override]
        """Queue it for the process that it belongs to; for a dead one nothing is queued."""
        if context is None:
            context = contextvars.copy_context()
        process = context.get(_process) or self.world
        handle = Handle(callback, args, context, process, self.now_s)
        if process.alive:
            process.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> Handle:  # type: ignore[override]
        """As `call_at`, from now."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> Handle:  # type: ignore[override]
        """Queue it when the time has come."""
        if context is None:
            context = contextvars.copy_context()
        process = context.get(_process) or self.world
        handle = Handle(callback, args, context, process, when)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        """A task of the process that makes it. It is kept: a dead process must not run even what a garbage collection would run."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody took is a fault of the product, unless its process is dead."""
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """A thread of the process: what `executor` knows how to simulate, anything else at once after a short wait."""
        simulated = self.executor(func, args)
        return self.create_task(simulated if simulated is not None else self._thread(func, args))

    async def _thread(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        await asyncio.sleep(self.chance.choice((0, 0, 0.01, 0.3)))
        return func(*args)

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────
    def spawn(self, name: str) -> Process:
        """A new process."""
        process = Process(name)
        self.processes.append(process)
        context = contextvars.Context()
        context.run(_process.set, process)
        self._contexts[process] = context
        return process

    def inside(self, process: Process, call: Callable[[], Answer]) -> Answer:
        """Run a call as if the process made it; its tasks belong to it."""
        return self._contexts[process].copy().run(call)

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        process.alive = False
        process.ready.clear()
        if process in self.processes:
            self.processes.remove(process)

    def outside(self, delay_s: float, call: Callable[[], None]) -> None:
        """The world does something later, whoever is dead or frozen by then."""
        self._sequence += 1
        handle = Handle(call, (), self._nobody, self.world, self.now_s + delay_s)
        heapq.heappush(self._timers, (handle.when_s, self._sequence, handle))

    def skip_to(self, now_s: float) -> None:
        """The time is later at once, for everybody."""
        self.now_s = max(self.now_s, now_s)

    def now_ms(self, process: Process | None = None) -> int:
        """The wall clock, as a process has it."""
        return int((EPOCH_S + self.now_s) * 1000) + (process.skew_ms if process is not None else 0)

    # ── running ─────────────────────────────────────────────────────────────────────────────────────────────────
    def run(self, main: Coroutine[Any, Any, Answer]) -> Answer:
        """Run until `main`, a task of the world, ends."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            task: asyncio.Task[Answer] = self.create_task(main)
            while not task.done():
                self._turn()
            return task.result()
        finally:
            self._dispose()
            events._set_running_loop(before)

    def _turn(self) -> None:
        active = [process for process in self.processes if process.ready and not process.frozen]
        if not active:
            self._advance()
            return
        process = active[0] if len(active) == 1 else active[int(self.chance.random() * len(active))]
        ready = process.ready
        for _ in range(BURST):
            if not ready or process.frozen:
                return
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            handle.context.run(handle.callback, *handle.args)
            self.steps += 1
            process.steps += 1
            if process.steps == process.strike_at and process.strike is not None:
                process.strike()

    def _advance(self) -> None:
        """Nothing is ready: the next time comes."""
        while self._timers:
            when_s, _, handle = heapq.heappop(self._timers)
            if handle.is_cancelled or not handle.process.alive:
                continue
            self.now_s = max(self.now_s, when_s)
            handle.process.ready.append(handle)
            if not handle.process.frozen:
                return
        raise Stuck("nothing is left that could happen")

    def _dispose(self) -> None:
        """End every coroutine now, in order, so that no garbage collection runs any of it in another history."""
        self.closed = True
        for process in list(self.processes):
            self.kill(process)
        for task in self._tasks:
            coro = task.get_coro()
            if not task.done() and coro is not None:
                self._close(coro)
        self._tasks.clear()
        self._timers.clear()

    def _close(self, coro: Any) -> None:
        try:
            coro.close()
        except BaseException as error:  # noqa: BLE001 - what a dead process's `finally` says is heard by nobody
            self.last_words.append(repr(error))
