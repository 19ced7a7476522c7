"""`tidemark dead-letters fix|replay`: the same selection and the same transformations, previewed and done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import Config, Dir, Json
from infra.cli.output import note, print_json, progress_bar, say

if TYPE_CHECKING:
    from infra.letters.archive import Selection
    from infra.letters.edits import Edits
    from infra.letters.replay import Done
    from infra.settings import Settings

Names = Annotated[list[str] | None, typer.Argument(metavar="PARTITION:OFFSET", help="these letters", show_default=False)]
Reason = Annotated[str | None, typer.Option("--reason", metavar="R", help="all that were rejected for this reason", show_default=False)]
Customer = Annotated[str | None, typer.Option("--customer", metavar="C", help="all of this customer", show_default=False)]
Source = Annotated[str | None, typer.Option("--source", metavar="S", help="all of this producer", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="every letter", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="time=…, data.tokens=12; may be said again", show_default=False)]
Rename = Annotated[list[str] | None, typer.Option("--rename", metavar="OLD=NEW", help="data.tok=data.tokens; may be said again", show_default=False)]
Remove = Annotated[list[str] | None, typer.Option("--remove", metavar="PATH", help="takes a member away; may be said again", show_default=False)]
Number = Annotated[list[str] | None, typer.Option("--number", metavar="PATH", help="a string that holds a number becomes it", show_default=False)]
Bom = Annotated[bool, typer.Option("--strip-bom", help="takes a byte order mark away", show_default=False)]
Decode = Annotated[str | None, typer.Option("--decode", metavar="ENC", help="latin-1 or utf-16: the bytes become UTF-8", show_default=False)]
Key = Annotated[bool, typer.Option("--key-from-subject", help="the record's key becomes its subject", show_default=False)]
Fix = Annotated[Path | None, typer.Option("--fix", metavar="FILE", help="transformations that `fix --save` wrote", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", min=0, max=10_000, metavar="N", help="show at most this many letters")]


def add(verbs: typer.Typer) -> None:
    """Adds both verbs to the group."""
    for verb in (fix, replay):
        verbs.command()(verb)


def fix(
    names: Names = None,
    reason: Reason = None,
    customer: Customer = None,
    source: Source = None,
    everything: All = False,
    put: Set = None,
    rename: Rename = None,
    remove: Remove = None,
    number: Number = None,
    strip_bom: Bom = False,
    decode: Decode = None,
    key_from_subject: Key = False,
    saved: Fix = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="keep the transformations for replay", show_default=False)] = None,
    limit: Limit = 20,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Previews a small transformation of dead letters: before and after, and what the meter would say now. Sends nothing.

    Nothing but what is named changes: other digits, spaces and unknown attributes stay byte for byte. In one order: decode, strip-bom, rename,
    remove, number, set, key-from-subject. Exit code 1 where a letter would still be rejected or cannot be changed so.

    \b
    tidemark dead-letters fix 2:1041 --set data.tokens=12
    tidemark dead-letters fix --reason missing_field --rename data.tok=data.tokens
    tidemark dead-letters fix --reason bad_quantity --number data.tokens --save fix.json
    tidemark dead-letters fix --reason not_json --source edge-1 --strip-bom
    """
    edits = _edits(put, rename, remove, number, strip_bom, decode, key_from_subject, saved)
    selection = _selection(names, reason, customer, source, everything)
    settings = _settings(directory, config)
    done = _run(settings, selection, edits, quiet=as_json)
    if save is not None:
        import msgspec

        save.write_bytes(msgspec.json.format(msgspec.json.encode(edits), indent=2) + b"\n")
        note(f"{save} holds the transformations; `tidemark dead-letters replay … --fix {save}` sends the letters so")
    _show(settings, done, limit, sent=False, as_json=as_json)


def replay(
    names: Names = None,
    reason: Reason = None,
    customer: Customer = None,
    source: Source = None,
    everything: All = False,
    put: Set = None,
    rename: Rename = None,
    remove: Remove = None,
    number: Number = None,
    strip_bom: Bom = False,
    decode: Decode = None,
    key_from_subject: Key = False,
    saved: Fix = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without it, only says what would happen", show_default=False)] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="needed with --yes; it is kept with each record")] = "",
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="kept beside it; default: you", show_default=False)] = "",
    limit: Limit = 20,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Sends dead letters once more, each exactly once, with the instant they were first received at.

    Only what would be counted is sent. What was sent before, by anybody and however long ago, is skipped, and so is an id that was counted since:
    killed in the middle, run twice or by two people at once, it comes to the same. What stays is listed by `dead-letters list`.
    Exit code 1 where a letter would still be rejected or cannot be changed so.

    \b
    tidemark dead-letters replay --reason future                     what would be sent
    tidemark dead-letters replay --reason future --yes --why "the clock of edge-1 is right again"
    tidemark dead-letters replay --reason bad_quantity --number data.tokens --yes --why "strings, see ticket 7"
    tidemark dead-letters replay --all --fix fix.json
    """
    import getpass

    from topics.errors import UsageError

    edits = _edits(put, rename, remove, number, strip_bom, decode, key_from_subject, saved)
    selection = _selection(names, reason, customer, source, everything)
    if yes and not why.strip():
        raise UsageError('say why: --why "the clock of edge-1 is right again"; it is kept with each record')
    settings = _settings(directory, config)
    done = _run(settings, selection, edits, who=who or getpass.getuser(), why=why, send=yes, quiet=as_json)
    _show(settings, done, limit, sent=yes, as_json=as_json)


def _selection(names: list[str] | None, reason: str | None, customer: str | None, source: str | None, everything: bool) -> Selection:
    from infra.letters.archive import Selection, checked_names
    from topics.errors import UsageError

    selection = Selection(reason or "", customer or "", source or "", checked_names(names or ()))
    if selection.is_all != everything:
        said = "--all leaves nothing out" if everything else "say which: PARTITION:OFFSET, --reason, --customer, --source, or --all"
        raise UsageError(said)
    return selection


def _edits(
    put: list[str] | None, rename: list[str] | None, remove: list[str] | None, number: list[str] | None, strip_bom: bool, decode: str | None,
    key_from_subject: bool, saved: Path | None,
) -> Edits:  # fmt: skip
    from infra.letters.edits import Edits, check, edits_of, read_file
    from topics.errors import UsageError

    said = edits_of(
        put=put or (), rename=rename or (), remove=remove or (), number=number or (), strip_bom=strip_bom, decode=decode or "",
        key_from_subject=key_from_subject,
    )  # fmt: skip
    if saved is None:
        return check(said)
    if said != Edits():
        raise UsageError("--fix names all transformations; say them there or here, not both")
    return check(read_file(saved))


def _settings(directory: Path | None, config: Path | None) -> Settings:
    from infra.target import resolve

    return resolve(directory, config).settings


def _run(
    settings: Settings, selection: Selection, edits: Edits, *, who: str = "", why: str = "", send: bool = False, quiet: bool = False
) -> Done:
    import asyncio

    from infra import reading
    from infra.clock import now_ms
    from infra.letters.archive import LetterArchive
    from infra.letters.kafka_log import KafkaLog
    from infra.letters.replay import Order, replay

    connection = reading.clickhouse(settings)

    async def run() -> Done:
        order = Order(selection=selection, edits=edits, who=who, why=why, send=send)
        with progress_bar("dead letters", None, quiet=quiet) as step:
            async with KafkaLog(settings.kafka.bootstrap) as log:
                return await replay(log, LetterArchive(connection), order, now_ms(), step)

    try:
        return asyncio.run(run())
    finally:
        connection.close()


def _show(settings: Settings, done: Done, limit: int, *, sent: bool, as_json: bool) -> None:
    from infra.letters.plan import STUCK, Next
    from infra.letters.planned import document, lines, summary_line
    from topics.errors import TidemarkError

    if not done.counts:
        raise TidemarkError("no such letter was rejected (or it is not archived yet); `tidemark dead-letters list` has them")
    if as_json:
        said: dict[str, Any] = document(settings, done, limit, sent=sent)
        print_json(said)
    else:
        for line in lines(done.planned[:limit]):
            say(line)
        if done.counts.total() > limit:
            say(f"… {done.counts.total() - limit} more; --limit shows more of them")
        say(summary_line(settings, done, sent=sent))
        if not sent and done.counts[Next.SEND]:
            note("nothing was sent; `tidemark dead-letters replay` with the same words and --yes does it")
        if sent and done.counts[Next.SEND]:
            note("`tidemark settle` waits until they are counted; `tidemark dead-letters list` says what became of them")
    if any(done.counts[stuck] for stuck in STUCK):
        raise typer.Exit(1)
