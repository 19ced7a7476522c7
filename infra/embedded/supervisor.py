"""The one process that owns a stack: starts what the plan says in order, keeps it running, ends it in order.

`python -m infra.embedded.supervisor DIR` is started by infra.embedded.stack. One thread, so that children can be tethered to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.embedded import probes, process, supervision
from infra.embedded.layout import Layout
from infra.embedded.plan import Plan, Spec
from infra.embedded.probes import Answer
from infra.embedded.state import ProcessState, StackState, write_state
from infra.embedded.supervision import Action, Phase, Policy, Supervised
from topics.errors import TidemarkError

log = logging.getLogger("supervisor")

LOOK_S = 0.25
"""Between two looks at the processes: a killed worker is started again within this."""

ASK_S = 1.0
"""Between two questions to a process that is up; ASK_EARLY_S while somebody waits for it."""
ASK_EARLY_S = 0.1

READY_TIMEOUT_S = 180.0
"""For all servers, and again for all workers, to be ready: a broker recovering a large log is the slowest of them."""

PREPARE_TIMEOUT_S = 180.0
"""For topics, schema and control records; each is answered in milliseconds once the servers serve."""


class StackFailed(TidemarkError):
    """A stack did not come up; the sentence names the process, and the end of its log follows."""

    def __init__(self, sentence: str, exit_code: int = TidemarkError.exit_code) -> None:
        """`exit_code` is that of the error in the supervisor, which the command passes on."""
        super().__init__(sentence)
        self.exit_code = exit_code


class _Stopped(Exception):
    """The stack was told to stop while it was still starting."""


@dataclass
class Child:
    """One process of the stack, over all its restarts."""

    spec: Spec
    process: subprocess.Popen[bytes] | None = None
    start_failed: bool = False
    asking: asyncio.Task[None] | None = None
    supervised: Supervised = field(default_factory=Supervised)
    answer: Answer = field(default_factory=lambda: Answer(is_live=False, is_ready=False))

    def exit_code(self) -> int | None:
        """None while it runs; 127 (as a shell says it) where it could not even be started."""
        if self.start_failed:
            return 127
        return self.process.poll() if self.process is not None else None

    def is_settled(self) -> bool:
        """Whether nobody need wait for it any longer: it is ready, or it has said that it halted, or that its billing is stuck.

        A stack whose provider is away must come up all the same; and a worker is never killed for what it says of others.
        """
        is_alarmed = bool((self.answer.status or {}).get("alarms"))
        return self.supervised.phase is Phase.HALTED or (self.supervised.phase is Phase.RUNNING and (self.answer.is_ready or is_alarmed))


class Supervisor:
    """A stack from its first process to its last."""

    def __init__(self, layout: Layout, plan: Plan, config: Path | None, policy: Policy, tell: Callable[[str], None]) -> None:
        """`tell` gets a sentence for every step on the way up."""
        self.layout = layout
        self.plan = plan
        self.config = config
        self.policy = policy
        self.tell = tell
        self.stop = asyncio.Event()
        self.servers = [Child(spec) for spec in plan.servers]
        self.workers = [Child(spec) for spec in plan.workers]
        self._idle: frozenset[str] = frozenset()
        self._matching = asyncio.Lock()
        self._is_up = False
        self._clock = supervision.Clock(time.monotonic())
        self._tasks: list[asyncio.Task[None]] = []
        self._published: StackState | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Brings the stack up, calls `ready`, keeps it up until `stop` is set, takes it down. Raises StackFailed.

        Side effects, in order; after a crash between any two, the kernel ends the children and the next start goes on from the data:
        1. servers start; 2. the state file says where they are; 3. topics, schema and control records are made sure of;
        4. workers start; 5. (told to stop) workers flush, commit and leave; 6. servers close; 7. the state file goes.
        """
        try:
            with contextlib.suppress(_Stopped):
                await self._up()
                ready()
                await self.stop.wait()
        finally:
            await self._down()

    async def _up(self) -> None:
        self._tasks.append(asyncio.create_task(self._watch()))
        self.tell(f"starting {names(self.servers)}")
        self._begin(self.servers)
        await self._settle(self.servers)
        self._publish()
        if self.plan.prepare:
            self.tell("preparing topics, schema and meters")
            await self._prepare(self.plan.prepare)
        if busy := [child for child in self.workers if child.spec.name not in self._idle]:
            self.tell(f"starting {names(busy)}")
            self._begin(busy)
            await self._settle(busy)
        self._publish()
        self._is_up = True
        await self._match_idle()

    def _begin(self, children: Sequence[Child]) -> None:
        """Starts processes that nobody watches yet, or that rested, and a question-asker for each."""
        for child in children:
            self._start(child)
            if child.asking is None:
                child.asking = asyncio.create_task(self._ask(child))
                self._tasks.append(child.asking)

    def rest(self, idle: Iterable[str]) -> None:
        """These workers shall not run for now, all others shall: what runs too much is told to leave, what is missing is started."""
        self._idle = frozenset(idle)
        if self._is_up:
            self._tasks.append(asyncio.create_task(self._match_idle()))

    async def _match_idle(self) -> None:
        """One wish at a time, and leaving first: a worker that is wanted again is not started beside itself."""
        async with self._matching:
            leaving = [child for child in self.workers if child.spec.name in self._idle and child.supervised.phase is not Phase.STOPPED]
            for child in leaving:
                child.supervised = Supervised(restarts=child.supervised.restarts)
            await self._end(leaving)
            self._begin([child for child in self.workers if child.spec.name not in self._idle and child.supervised.phase is Phase.STOPPED])

    def _start(self, child: Child) -> None:
        """One start; a command that cannot be run counts as an end."""
        spec = child.spec
        child.answer = Answer(is_live=False, is_ready=False)
        try:
            child.process = process.start(spec.command, self.layout.log(spec.name), spec.environment)
            child.start_failed = False
            process.record(self.layout.run, spec.name, child.process.pid)
            log.info("%s started, pid %d", spec.name, child.process.pid)
        except OSError as error:
            child.start_failed = True
            log.error("%s cannot be started: %s", spec.name, error)
        child.supervised = supervision.started(child.supervised, self._clock.now_s)

    async def _watch(self) -> None:
        """Looks at every process again and again, and does what supervision says."""
        while True:
            now_s = self._clock.advance(time.monotonic())
            are_servers_up = all(child.supervised.phase is Phase.RUNNING for child in self.servers)
            for child in [*self.servers, *self.workers]:
                self._look(child, now_s, is_excused=child.spec.is_worker and not are_servers_up)
            if self._published is not None:
                self._publish()
            await asyncio.sleep(LOOK_S)

    def _look(self, child: Child, now_s: float, *, is_excused: bool) -> None:
        """One look at one process."""
        before = child.supervised
        exit_code = child.exit_code()
        seen = supervision.observe(exit_code, child.answer.is_live, child.answer.status, is_excused)
        child.supervised, action = supervision.step(before, seen, now_s, self.policy)
        if exit_code is not None and child.supervised.next_start_s != before.next_start_s:
            process.forget(self.layout.run, child.spec.name)
            child.answer = Answer(is_live=False, is_ready=False)
            log.warning("%s ended with %s", child.spec.name, supervision.exit_text(exit_code))
        if child.supervised.detail not in {None, before.detail}:
            log.warning("%s %s", child.spec.name, child.supervised.detail)
        if action is Action.KILL and child.process is not None:
            child.process.kill()
        elif action is Action.START:
            self._start(child)

    async def _ask(self, child: Child) -> None:
        """Asks one process how it does, for as long as the stack is up."""
        while True:
            asked = child.process
            answer = await probes.ask(child.spec.probe)
            # An answer of the process before says nothing of the one that runs now.
            if asked is child.process:
                child.answer = answer
            await asyncio.sleep(ASK_S if child.is_settled() else ASK_EARLY_S)

    async def _settle(self, children: Sequence[Child]) -> None:
        """Waits until all are ready; raises StackFailed when one ends again and again or takes too long."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while waiting := [child for child in children if not child.is_settled()]:
            self._must_go_on()
            broken = [child for child in waiting if supervision.is_crash_loop(child.supervised, self.policy)]
            if broken:
                raise self._failure(broken[0].spec.name, broken[0].supervised.detail or "ended again and again")
            if time.monotonic() > deadline_s:
                raise self._failure(waiting[0].spec.name, f"was not ready after {READY_TIMEOUT_S:.0f} s")
            await asyncio.sleep(ASK_EARLY_S / 2)

    async def _prepare(self, command: Sequence[str]) -> None:
        """Runs the preparation as a process of its own, to its end."""
        running = process.start(command, self.layout.log("prepare"), self.plan.prepare_environment)
        process.record(self.layout.run, "prepare", running.pid)
        deadline_s = time.monotonic() + PREPARE_TIMEOUT_S
        try:
            while running.poll() is None:
                self._must_go_on()
                if time.monotonic() > deadline_s:
                    raise self._failure("prepare", f"was not done after {PREPARE_TIMEOUT_S:.0f} s")
                await asyncio.sleep(ASK_EARLY_S / 2)
        finally:
            process.end(running, patience_s=0)
            process.forget(self.layout.run, "prepare")
        if running.returncode != 0:
            raise self._failure("prepare", f"ended with {supervision.exit_text(running.returncode)}")

    def _must_go_on(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    def _failure(self, name: str, what: str) -> StackFailed:
        """One sentence, and the end of the log that explains it."""
        path = self.layout.log(name)
        return StackFailed(f"{name} {what}; the end of {path}:\n{process.tail(path, 12) or '(it is empty)'}")

    async def _down(self) -> None:
        """Ends all processes, workers before the servers that they flush to."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for children in (self.workers, self.servers):
            await self._end(children)
        process.end_recorded(self.layout.run)
        self.layout.state.unlink(missing_ok=True)

    async def _end(self, children: Sequence[Child]) -> None:
        """Asks these to end, all at once; kills those that do not in their time."""
        running = [child for child in children if child.process is not None and child.process.poll() is None]
        if running:
            self.tell(f"stopping {names(running)}")
        for child in running:
            if child.process is not None:
                child.process.terminate()
        deadline_s = time.monotonic() + max((child.spec.patience_s for child in running), default=0)
        while any(child.exit_code() is None for child in running) and time.monotonic() < deadline_s:
            await asyncio.sleep(ASK_EARLY_S / 2)
        for child in running:
            if child.process is not None:
                if child.process.poll() is None:
                    log.warning("%s did not end in %.0f s and was killed", child.spec.name, child.spec.patience_s)
                process.end(child.process, patience_s=0)
            process.forget(self.layout.run, child.spec.name)

    def _publish(self) -> None:
        """Writes the state file if anything in it changed."""
        state = StackState(
            supervisor_pid=process.own_pid(),
            config=self.config,
            bootstrap=self.plan.bootstrap,
            clickhouse_url=self.plan.clickhouse_url,
            stripe_api_base=self.plan.stripe_api_base,
            stripe_api_key=self.plan.stripe_api_key,
            processes=tuple(map(_shown, [*self.servers, *self.workers])),
        )
        if state != self._published:
            write_state(self.layout, state)
            self._published = state


def _shown(child: Child) -> ProcessState:
    """A process as the state file shows it; one that has ended has no pid, so that nobody signals a stranger."""
    runs = child.process is not None and child.exit_code() is None
    pid = child.process.pid if child.process is not None and runs else None
    known = child.supervised
    return ProcessState(child.spec.name, pid, known.phase.value, known.restarts, child.spec.http, known.detail)


def names(children: Iterable[Child]) -> str:
    """Names for a sentence: `kafka, clickhouse and sandbox`."""
    *most, last = [child.spec.name for child in children]
    return f"{', '.join(most)} and {last}" if most else last


def patience(changes: Mapping[str, float]) -> Policy:
    """The supervisor's patience with some of its times changed."""
    return replace(Policy(), **changes)  # type: ignore[arg-type]  # every field but loop_exits is a float, and an int is one
