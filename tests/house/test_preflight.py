"""What a machine that is not ready is told, before anything is downloaded."""

from __future__ import annotations

import ast

from infra import environment, preflight
from tests.house import tree


def test_a_wrong_python_is_named() -> None:
    """A Python below 3.11 or above 3.14 is refused with the range, and one inside it is not."""
    assert "3.11 to 3.14" in (preflight.python_fault((3, 10)) or "")
    assert "3.11 to 3.14" in (preflight.python_fault((3, 15)) or "")
    assert [preflight.python_fault((3, minor)) for minor in range(11, 15)] == [None] * 4


def test_a_small_machine_is_told_what_is_missing() -> None:
    """Too little disk or memory is said with what there is and what is needed, and enough of both is not."""
    assert preflight.disk_fault(2_100_000_000, "here") == "2.1 GB are free in here, 3 GB are needed"
    assert preflight.disk_fault(preflight.DISK_BYTES, "here") is None
    assert (preflight.memory_fault(2 * 2**30) or "").startswith("2.0 GB of memory, 4 GB are needed")
    assert preflight.memory_fault(4 * 2**30) is None
    assert preflight.memory_fault(None) is None


def test_a_foreign_system_is_told_where_it_can_run() -> None:
    """Windows is sent to WSL2 and a Linux without glibc to the image, while macOS and glibc pass."""
    assert "WSL2" in (preflight.platform_fault("Windows", "") or "")
    assert "docker compose" in (preflight.platform_fault("Linux", "") or "")
    assert preflight.platform_fault("Linux", "glibc") is None
    assert preflight.platform_fault("Darwin", "") is None


def test_all_faults_come_in_one_message() -> None:
    """The report holds every fault on a line of its own below one heading."""
    assert preflight.report(["a", "b"]).splitlines() == ["This machine is not ready for Tidemark:", "  - a", "  - b"]


def test_this_machine_is_ready() -> None:
    """The machine that runs the tests has no fault, and its memory can be read."""
    assert preflight.faults(tree.ROOT) == []
    assert preflight.measured_memory_bytes()


def test_an_old_python_can_read_it() -> None:
    """What runs before the check of the Python parses with the grammar of 3.8."""
    for path in ("infra/__init__.py", "infra/preflight.py", "infra/environment.py"):
        ast.parse(tree.texts()[path], filename=path, feature_version=(3, 8))
    body = ast.parse(tree.texts()["infra/__init__.py"]).body
    assert all(isinstance(node, ast.Expr) for node in body), "infra/__init__.py runs before anything is installed: it imports nothing"


def test_makefile_and_script_agree_with_preflight() -> None:
    """The Makefile and CI look for the same range of Pythons that preflight accepts."""
    wanted = f"{preflight.OLDEST} <= sys.version_info[:2] <= {preflight.NEWEST}"
    assert wanted in tree.texts()["Makefile"]
    assert wanted in tree.texts()[".ci/run"]
    assert f'requires-python = ">=3.11,<3.{preflight.NEWEST[1] + 1}"' in tree.texts()["pyproject.toml"]


def test_the_key_of_the_environment_follows_the_pins() -> None:
    """The environment counts as current only for exactly these pins at this place."""
    assert environment.key() == environment.key()
    assert len(environment.key()) == 64
    assert environment.REQUIREMENTS.is_file()
