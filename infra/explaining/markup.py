"""HTML that is escaped by construction: text becomes markup only through `tag`, and `tag` escapes it. Pure.

Event ids, sources, customers and reasons are whatever somebody sent. A `str` is text, always; only `tag` makes a `Markup`. No scripts, no links:
the names of tags and attributes are those below, so that a page can hold nothing that acts or fetches.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from infra.explaining.words import visible

TAGS: Final = frozenset(
    (
        "article", "bdi", "body", "br", "caption", "code", "dd", "div", "dl", "dt", "footer", "h1", "h2", "h3", "head", "header", "html", "li",
        "main", "meta", "p", "pre", "rect", "section", "span", "strong", "style", "svg", "table", "tbody", "td", "tfoot", "th", "thead", "title",
        "tr", "ul",
    )
)  # fmt: skip
ATTRIBUTES: Final = frozenset(
    (
        "aria-hidden", "aria-label", "charset", "class", "content", "height", "lang", "name", "preserveAspectRatio", "role", "scope", "tabindex",
        "viewBox", "width", "x", "y",
    )
)  # fmt: skip
SHORT: Final = 48
"""Characters of a name that is kept on one line: a UUID, a request id, an idempotency key."""
EMPTY: Final = frozenset({"br", "meta", "rect"})


class Markup(str):
    """Text that is HTML already. Made by `tag`, `joined` and `page.css` alone."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | int | None) -> Markup:
    """`<name …>children</name>`; text is escaped, `class_` and `aria_label` are attributes `class` and `aria-label`, None is left out."""
    if name not in TAGS:
        raise ValueError(f"<{name}> is no tag of a page")
    opening = name + "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in EMPTY:
        return Markup(f"<{opening}>") if name != "rect" else Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{joined(*children)}</{name}>")


def _attribute(key: str, value: str | int) -> str:
    name = key.rstrip("_").replace("_", "-")
    if name not in ATTRIBUTES:
        raise ValueError(f"{name} is no attribute of a page")
    return f' {name}="{escape(visible(str(value)))}"'


def joined(*children: Child) -> Markup:
    """Children one after the other, text escaped."""
    return Markup("".join(_text(child) for child in children))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, str | int):
        return escape(visible(str(child)))
    return "".join(_text(each) for each in child)


def code(text: str) -> Markup:
    """A name that somebody else gave: in type of its own, and kept from turning what stands around it."""
    return tag("code", tag("bdi", text), class_="whole" if len(text) <= SHORT else None)


def time(text: str) -> Markup:
    """An instant, on one line."""
    return tag("span", text, class_="time")


def lines(text: str) -> Markup:
    """A program or a command as it is: its line ends are no control characters."""
    return tag("pre", tag("code", [[line, Markup("\n")] for line in text.splitlines()]))


def table(caption: str, columns: Iterable[tuple[str, bool]], rows: Iterable[Iterable[Child]], *, foot: Iterable[Child] = ()) -> Markup:
    """A table with a caption; columns are (name, is a number). The first cell of a row names it. It may be scrolled where the page is narrow."""
    named = list(columns)

    def row(cells: Iterable[Child]) -> Markup:
        return tag("tr", [_cell(place, named[place][1], cell) for place, cell in enumerate(cells)])

    head = tag("thead", tag("tr", [tag("th", name, scope="col", class_="number" if is_number else None) for name, is_number in named]))
    body = tag("tbody", [row(cells) for cells in rows])
    totals = list(foot)
    whole = tag("table", tag("caption", tag("span", caption)), head, body, tag("tfoot", row(totals)) if totals else None)
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def _cell(place: int, is_number: bool, cell: Child) -> Markup:
    kind = "number" if is_number else None
    return tag("th", cell, scope="row", class_=kind) if place == 0 else tag("td", cell, class_=kind)
