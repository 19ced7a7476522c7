"""The pins: complete, by hash, of one mind, and without the address of an index."""

from __future__ import annotations

import re
import tomllib

from tests.house import tree

PIN = re.compile(r"^([a-z0-9-]+)==(\S+?)(?: ; ([^\\]+?))? \\$")


def pins(name: str) -> dict[str, str]:
    """Package → version of a requirements file."""
    return {found[1]: found[2] for line in tree.texts()[f"infra/requirements/{name}.txt"].splitlines() if (found := PIN.match(line))}


def declared(group: str) -> dict[str, str]:
    """Package → version specifier from pyproject.toml: `run`, `dev` or `build`."""
    project = tomllib.loads(tree.texts()["pyproject.toml"])
    lists = {
        "run": project["project"]["dependencies"],
        "dev": project["project"]["optional-dependencies"]["dev"],
        "build": project["build-system"]["requires"],
    }
    split = (re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", each) for each in lists[group])
    return {re.sub(r"[-_.]+", "-", found[1]).lower(): found[2] for found in split if found}


def at_least(version: str, lower: str) -> bool:
    """Whether a version of numbers only is not below another."""
    return [int(part) for part in version.split(".")[:3]] >= [int(part) for part in lower.split(".")]


def test_every_line_is_a_pin_with_hashes() -> None:
    """A requirements file holds nothing but comments, pins of one exact version, and SHA-256 sums for each."""
    for name in ("run", "dev"):
        lines = [line for line in tree.texts()[f"infra/requirements/{name}.txt"].splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not PIN.match(line) and not re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)] == []
        assert all(lines[number + 1].startswith("    --hash=") for number, line in enumerate(lines) if PIN.match(line))


def test_pins_agree() -> None:
    """All that a worker needs is pinned to the same version for the tests."""
    run, dev = pins("run"), pins("dev")
    assert {package: (version, dev.get(package)) for package, version in run.items() if dev.get(package) != version} == {}


def test_pins_keep_what_pyproject_declares() -> None:
    """Every declared dependency is pinned, at or above its lower bound, and Faust and aiokafka are declared exactly."""
    for group, file in (("run", "run"), ("build", "run"), ("dev", "dev")):
        found = pins(file)
        for package, specifier in declared(group).items():
            assert package in found, f"{package} is not pinned in {file}.txt"
            version = specifier[2:]
            assert found[package] == version if specifier.startswith("==") else at_least(found[package], version), package
    exact = {package for package, specifier in declared("run").items() if specifier.startswith("==")}
    assert exact == {"faust-streaming", "aiokafka"}


def test_every_data_file_is_packaged() -> None:
    """Each file that is no Python and lies in a package matches a pattern of package-data, so that an image holds it too."""
    project = tomllib.loads(tree.texts()["pyproject.toml"])
    endings = tuple(pattern.lstrip("*") for pattern in project["tool"]["setuptools"]["package-data"]["*"])
    inside = [path for path in tree.files() if path.startswith(("topics/", "streams/", "sinks/", "infra/")) and not path.endswith(".py")]
    inside = [path for path in inside if not path.startswith("infra/docker/")]
    assert [path for path in inside if not path.endswith(endings)] == []
