"""Options that may stand anywhere after the verb: `--json`, `--dir D`, `--config F`. Pure, and imports nothing: it runs before all else."""

from __future__ import annotations

_FLAGS = ("--json",)
_WITH_VALUE = ("--dir", "--config")


def hoisted(arguments: list[str]) -> list[str]:
    """The arguments with those options moved behind the rest, where the innermost verb reads them; nothing after `--` is touched.

    `tidemark send --dir D events f` and `tidemark send events f --dir D` mean the same.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept: list[str] = []
    moved: list[str] = []
    index = 0
    while index < end:
        argument = arguments[index]
        if argument in _FLAGS:
            moved = moved if argument in moved else [*moved, argument]
        elif argument in _WITH_VALUE and index + 1 < end:
            moved += [argument, arguments[index + 1]]
            index += 1
        elif argument.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            moved.append(argument)
        else:
            kept.append(argument)
        index += 1
    if not kept:
        return arguments
    return kept + moved + arguments[end:]
