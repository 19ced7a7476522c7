"""The supervisor of an embedded stack, with stand-ins for all its processes: quick, and every way to die."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from infra.embedded import options, process, stack
from infra.embedded.layout import Layout
from infra.embedded.locking import holder
from infra.embedded.ports import PortTaken
from infra.embedded.state import StackState
from infra.embedded.supervisor import StackFailed
from tests.system.stand_ins import ALL_STAND_INS, home
from topics.errors import TidemarkError

pytestmark = pytest.mark.system

TIMEOUT_S = 30
QUICK = {"silent_s": 1.5, "stuck_s": 1.0, "start_s": 20.0}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for a stack; whatever of it still runs after the test is ended."""
    path = tmp_path / "stack"
    yield path
    pid = holder(Layout(path))
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    process.end_recorded(Layout(path).run)


def up(directory: Path) -> StackState:
    """A stack of stand-ins."""
    return stack.up(directory, stack_plan=ALL_STAND_INS, policy=QUICK)


def wait(condition: Callable[[], object], what: str) -> None:
    """Waits until a condition holds."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {TIMEOUT_S} s: {what}"
        time.sleep(0.05)


def now(directory: Path) -> StackState:
    """The stack's state, which is there while it is up."""
    state = stack.read_state(directory)
    assert state is not None
    return state


def stands(directory: Path, name: str, state: str) -> Callable[[], bool]:
    """Whether a process is shown in that state."""
    return lambda: now(directory).process(name).state == state


def restarted(directory: Path, name: str, restarts: int) -> Callable[[], bool]:
    """Whether a process runs again after so many restarts."""
    return lambda: (now(directory).process(name).state, now(directory).process(name).restarts) == ("running", restarts)


def lines(directory: Path, name: str, file: str) -> list[list[str]]:
    """What a stand-in noted: time and pid of each start or stop."""
    path = home(directory, name) / file
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_everything_runs_when_up_returns_and_nothing_after_down(directory: Path) -> None:
    """`up` returns with all processes ready, the preparation done once; `down` ends workers before servers and leaves nothing."""
    said: list[str] = []
    state = stack.up(directory, stack_plan=ALL_STAND_INS, progress=said.append)
    assert [(each.name, each.state) for each in state.processes] == [("server", "running"), ("meter-0", "running"), ("meter-1", "running")]
    assert (directory / "prepared").read_text() == "once\n"
    assert said[0].startswith("starting server")
    children = [psutil.Process(each.pid) for each in state.processes]
    supervisor = psutil.Process(state.supervisor_pid)
    assert stack.down(directory)
    assert not any(map(process.runs, [*children, supervisor]))
    assert stack.read_state(directory) is None
    stops = {name: float(lines(directory, name, "stops")[0][0]) for name in ("server", "meter-0", "meter-1")}
    assert stops["server"] > max(stops["meter-0"], stops["meter-1"])
    assert not stack.down(directory)


def test_the_key_is_private_and_kept(directory: Path) -> None:
    """The sandbox's key is a test key, readable by its owner only, the same at every start, and in no log or command line."""
    key = up(directory).stripe_api_key
    assert key.startswith("sk_test_")
    layout = Layout(directory)
    for path in (layout.secrets, layout.state):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    commands = [" ".join(each.cmdline()) for each in psutil.Process(now(directory).supervisor_pid).children()]
    stack.down(directory)
    assert up(directory).stripe_api_key == key
    logs = "".join(path.read_text() for path in layout.logs.glob("*.log"))
    assert key not in logs + "".join(commands) + options.load(layout).plan + repr(now(directory))


def test_a_second_up_continues_where_the_first_was(directory: Path) -> None:
    """While it runs, `up` returns the running stack; after a `down`, it comes up on the same ports."""
    first = up(directory)
    said: list[str] = []
    assert stack.up(directory, progress=said.append) == now(directory)
    assert "already running" in said[0]
    assert [each.pid for each in now(directory).processes] == [each.pid for each in first.processes]
    stack.down(directory)
    again = stack.up(directory)
    assert [each.http for each in again.processes] == [each.http for each in first.processes]


def test_a_worker_rests_and_comes_back(directory: Path) -> None:
    """A worker that shall rest leaves by SIGTERM, stays away over a new `up`, and comes back when it is wanted, while the others stay."""
    before = up(directory)
    stack.rest(directory, ["meter-1"])
    wait(stands(directory, "meter-1", "stopped"), "meter-1 to leave")
    wait(lambda: len(lines(directory, "meter-1", "stops")) == 1, "meter-1 to be told")
    assert now(directory).process("meter-0").pid == before.process("meter-0").pid
    stack.down(directory)
    up(directory)
    assert now(directory).process("meter-1").pid is None
    stack.rest(directory, [])
    wait(restarted(directory, "meter-1", 0), "meter-1 to come back")


@pytest.mark.parametrize("name", ["server", "meter-1"])
def test_a_killed_process_comes_back(directory: Path, name: str) -> None:
    """Any process killed with SIGKILL is started again, counted, and all others stay."""
    before = up(directory)
    killed = stack.kill(directory, name)
    wait(restarted(directory, name, 1), f"{name} to come back")
    after = now(directory)
    assert after.process(name).pid != killed
    assert {each.pid for each in after.processes if each.name != name} == {each.pid for each in before.processes if each.name != name}


def test_a_killed_supervisor_leaves_no_orphan(directory: Path) -> None:
    """After SIGKILL of the supervisor none of its processes lives, and the next `up` works on the same directory."""
    children = [psutil.Process(each.pid) for each in up(directory).processes]
    stack.kill(directory, "supervisor")
    wait(lambda: not any(map(process.runs, children)), "all children to end")
    wait(lambda: not stack.running(directory), "the directory to be free")
    assert all(each.state == "running" for each in up(directory).processes)


def test_what_an_untethered_supervisor_left_is_ended(directory: Path) -> None:
    """A process that an earlier supervisor wrote down and that still runs is ended before a new one of its name starts."""
    left = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    stranger = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        run = Layout(directory).run
        process.record(run, "meter-0", left.pid)
        process.record(run, "meter-9", stranger.pid)
        note = run / "meter-9.pid"
        note.write_text(json.dumps({**json.loads(note.read_text()), "started": 1.0}))
        up(directory)
        assert left.wait(TIMEOUT_S) == -signal.SIGKILL
        assert stranger.poll() is None, "a pid that another program got since is not ours to end"
    finally:
        for each in (left, stranger):
            each.kill()
            each.wait()


def test_the_watcher_ends_everything_when_the_supervisor_is_gone(directory: Path) -> None:
    """Where the kernel tethers nobody, the watcher ends what the supervisor wrote down as soon as its pipe breaks."""
    left = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    run = Layout(directory).run
    process.record(run, "meter-0", left.pid)
    watcher = subprocess.Popen([sys.executable, "-m", "infra.embedded.watcher", str(run)], stdin=subprocess.PIPE)
    try:
        time.sleep(0.5)
        assert left.poll() is None
        assert watcher.stdin is not None
        watcher.stdin.close()
        assert left.wait(TIMEOUT_S) == -signal.SIGKILL
        assert watcher.wait(TIMEOUT_S) == 0
    finally:
        for each in (left, watcher):
            each.kill()
            each.wait()


def test_a_worker_that_gets_nothing_done_is_killed_and_one_that_halted_is_not(directory: Path) -> None:
    """H37: lag without progress, or no answer at all (SIGSTOP), ends in a restart; a halted worker stays and its sentence is shown."""
    up(directory)
    (home(directory, "meter-1") / "halted").write_text("run tidemark adopt")
    wait(lambda: now(directory).process("meter-1").state == "halted", "meter-1 to be shown as halted")
    (home(directory, "meter-0") / "stuck").touch()
    (home(directory, "meter-1") / "stuck").touch()
    wait(lambda: now(directory).process("meter-0").restarts == 1, "the stuck worker to be restarted")
    (home(directory, "meter-0") / "stuck").unlink()
    wait(restarted(directory, "meter-0", 1), "meter-0 to run")
    stack.kill(directory, "meter-0", signal.SIGSTOP)
    wait(restarted(directory, "meter-0", 2), "the suspended worker to be restarted")
    halted = now(directory).process("meter-1")
    assert (halted.state, halted.restarts, halted.detail) == ("halted", 0, "run tidemark adopt")


def test_a_crash_loop_is_shown_and_ends_when_its_cause_does(directory: Path) -> None:
    """A worker that cannot live is tried again ever more slowly and shown with a sentence; it runs as soon as it can."""
    up(directory)
    (home(directory, "meter-0") / "dies").touch()
    stack.kill(directory, "meter-0")
    wait(lambda: "times in a row" in (now(directory).process("meter-0").detail or ""), "the crash loop to be shown")
    assert now(directory).process("meter-0").state == "restarting"
    assert now(directory).process("meter-1").state == "running"
    (home(directory, "meter-0") / "dies").unlink()
    wait(lambda: now(directory).process("meter-0").state == "running", "meter-0 to run again")
    assert now(directory).process("meter-0").detail is None


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(directory: Path) -> None:
    """When a worker cannot live at the first start, `up` fails with its name and the end of its log, and nothing keeps running."""
    broken = home(directory, "meter-1")
    broken.mkdir(parents=True)
    (broken / "dies").touch()
    with pytest.raises(StackFailed, match=r"(?s)meter-1 ended .* times in a row.*it cannot live like this"):
        up(directory)
    assert not stack.running(directory)
    assert process.recorded(Layout(directory).run) == {}
    assert stack.read_state(directory) is None
    (broken / "dies").unlink()
    assert len(up(directory).processes) == 3


def test_two_stacks_live_side_by_side(directory: Path, tmp_path: Path) -> None:
    """Stacks in two directories share no port and no process, and one goes down without the other."""
    other = tmp_path / "other"
    first, second = up(directory), up(other)
    try:
        assert not {each.http for each in first.processes if each.http} & {each.http for each in second.processes}
        assert stack.down(other)
        assert all(psutil.pid_exists(each.pid or 0) for each in now(directory).processes)
    finally:
        stack.down(other)


def test_an_occupied_port(directory: Path) -> None:
    """A remembered port that was taken meanwhile is replaced; one that is asked for by number and taken is one sentence."""
    first = up(directory).process("meter-0").http
    stack.down(directory)
    assert first is not None
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        other.listen()
        with pytest.raises(PortTaken, match="asked for meter-0"):
            stack.up(directory, ports={"meter-0": other.getsockname()[1]})
        assert up(directory).process("meter-0").http != first


def test_two_ups_at_once_make_one_stack(directory: Path) -> None:
    """Of two `up` on one directory at the same moment one brings it up and the other says that it is running or coming up."""
    script = (
        "import sys; from pathlib import Path; from infra.embedded import stack; from topics.errors import TidemarkError\n"
        f"try: print(stack.up(Path(sys.argv[1]), stack_plan={ALL_STAND_INS!r}).supervisor_pid)\n"
        "except TidemarkError as error: print(error)"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=TIMEOUT_S)[0].strip() for each in both]
    pid = str(now(directory).supervisor_pid)
    assert pid in said
    assert all(each == pid or "already running" in each or "only now starting" in each for each in said)


@contextmanager
def ended_after(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is not left behind, however its test ends."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_foreground_stack_ends_with_its_terminal(directory: Path) -> None:
    """Not detached, the stack ends in order when the process that brought it up is interrupted, and even when that is killed."""
    script = (
        # Whoever runs this suite in the background of a shell has SIGINT ignored, and children inherit that.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; from infra.embedded import stack\n"
        f"stack.up(Path(sys.argv[1]), stack_plan={ALL_STAND_INS!r}, detach=False); print('up', flush=True); stack.stay(Path(sys.argv[1]))"
    )
    for number in (signal.SIGINT, signal.SIGKILL):
        with ended_after(subprocess.Popen([sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, text=True)) as terminal:
            assert terminal.stdout is not None
            assert terminal.stdout.readline() == "up\n"
            children = [psutil.Process(each.pid) for each in now(directory).processes]
            terminal.send_signal(number)
            terminal.communicate(timeout=TIMEOUT_S)
        wait(lambda: not stack.running(directory), "the supervisor to end")
        assert not any(map(process.runs, children))
    assert len(lines(directory, "meter-0", "stops")) == 2


def test_an_unusable_directory_is_one_sentence(tmp_path: Path) -> None:
    """A directory that is a file is refused in one sentence that names it."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(TidemarkError, match="cannot be used") as refused:
        stack.up(path)
    assert "\n" not in str(refused.value)
