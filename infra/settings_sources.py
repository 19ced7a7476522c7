"""Where settings come from: `tidemark.toml`, `TIDEMARK_<SECTION>__<NAME>`, and a running stack; each value remembers its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from topics.errors import ConfigurationFault, Fault

PREFIX: Final = "TIDEMARK_"
_VARIABLE = re.compile(r"TIDEMARK_([A-Z]+)__([A-Z0-9_]+)", re.ASCII)
SECRET_KEYS: Final = frozenset({"api_key", "secret_key", "webhook_secret", "password", "analyst_password", "secret", "token", "sasl_password"})
_SECRET_VALUE = re.compile(r"(?:(?:sk|rk)_(?:test|live)|whsec)_\w*|(?<=://)[^/?#\s]+(?=@)", re.ASCII)
_USER_IN_ADDRESS = re.compile(r"://[^/?#\s]*@", re.ASCII)
_VARIABLE_OF: Final = {
    "api_key": "STRIPE_API_KEY",
    "secret_key": "STRIPE_API_KEY",
    "webhook_secret": "STRIPE_WEBHOOK_SECRET",
}
Tree = dict[str, Any]


def read_toml(path: Path) -> Tree:
    """The tables of a configuration file. Raises ConfigurationFault where it is absent, unreadable or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fault = Fault(str(path), "there is no such file", "Run `tidemark init`, or name yours with --config or TIDEMARK_CONFIG.")
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault(str(path), f"it cannot be read: {error}", "Make it a readable UTF-8 file.")
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        fault = Fault(str(path), f"it is no TOML: {error}", "Correct the line; `tidemark init` shows the form.")
    raise ConfigurationFault([fault])


def read_environment(environment: Mapping[str, str]) -> Tree:
    """What `TIDEMARK_<SECTION>__<NAME>` and Stripe's two variables say, as the tables of a configuration file.

    An empty variable is the same as none: compose files and CI set variables that way.
    """
    tree: Tree = {}
    for variable, text in environment.items():
        match = _VARIABLE.fullmatch(variable)
        if match is not None and text:
            tree.setdefault(match[1].lower(), {})[match[2].lower()] = text
    for variable, name in (("STRIPE_API_KEY", "api_key"), ("STRIPE_WEBHOOK_SECRET", "webhook_secret")):
        if environment.get(variable):
            tree.setdefault("stripe", {})[name] = environment[variable]
    return tree


def variable_of(section: str, name: str) -> str:
    """The environment variable that sets a key."""
    return _VARIABLE_OF.get(name, f"{PREFIX}{section.upper()}__{name.upper()}")


def merged(*trees: Tree) -> Tree:
    """One tree; a later tree wins key by key inside a section."""
    result: Tree = {}
    for tree in trees:
        for section, values in tree.items():
            if isinstance(values, dict) and isinstance(result.get(section), dict):
                result[section] = result[section] | values
            else:
                result[section] = values
    return result


def secret_faults(tree: Tree) -> list[Fault]:
    """Secrets that lie in a configuration file; the fault names the place and never the value."""
    faults: list[Fault] = []
    for place, name, value in _leaves(tree, ""):
        if name in SECRET_KEYS:
            variable = _VARIABLE_OF.get(name) or variable_of(place.split(".", maxsplit=1)[0], name)
            remedy = "Delete it here." if "[" in variable else f"Delete it here and set {variable} in the environment."
            faults.append(Fault(place, "a secret does not belong into a file", remedy))
        elif isinstance(value, str) and _USER_IN_ADDRESS.search(value):
            section = place.split(".", maxsplit=1)[0]
            remedy = f"Write the address without them and set {variable_of(section, 'user')} and {variable_of(section, 'password')}."
            remedy = "Write it without them." if "[" in section else remedy
            faults.append(Fault(place, "the address holds a user or a password", remedy))
        elif isinstance(value, str) and _SECRET_VALUE.search(value):
            faults.append(Fault(place, "the value looks like a secret key", "Delete it here and set STRIPE_API_KEY in the environment."))
    return faults


def address_faults(from_environment: Tree) -> list[Fault]:
    """Addresses of the environment that hold a user or a password: they would be shown wherever the address is."""
    faults: list[Fault] = []
    for place, name, value in _leaves(from_environment, ""):
        if name not in SECRET_KEYS and isinstance(value, str) and _USER_IN_ADDRESS.search(value):
            section = place.split(".", maxsplit=1)[0]
            remedy = f"Write it without them and set {variable_of(section, 'user')} and {variable_of(section, 'password')}."
            faults.append(Fault(variable_of(section, name), "the address holds a user or a password", remedy))
    return faults


def redacted(text: str) -> str:
    """A message without keys, and without the user and password of an address."""
    return _SECRET_VALUE.sub("…", text)


def without_secrets(tree: Tree) -> Tree:
    """The tree without keys that `secret_faults` has already named, so that they are not named again as unknown."""
    return {
        section: {name: value for name, value in values.items() if name not in SECRET_KEYS} if isinstance(values, dict) else values
        for section, values in tree.items()
    }


def _leaves(node: object, place: str) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, dict):
        for name, value in node.items():
            inner = f"{place}.{name}" if place else str(name) or '""'
            if isinstance(value, dict | list):
                yield from _leaves(value, inner)
            else:
                yield inner, str(name), value
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{place}[{index}]")
