"""`tidemark reconcile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import print_json, status_line

if TYPE_CHECKING:
    from infra.reconciling.sources import Order
    from infra.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("reconcile", rich_help_panel=REPAIR)(reconcile)


def reconcile(
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer", show_default=False)] = None,
    meter: Annotated[str | None, typer.Option("--meter", metavar="M", help="only this meter", show_default=False)] = None,
    from_text: Annotated[str | None, typer.Option("--from", metavar="T", help="only billing periods from here on", show_default=False)] = None,
    to_text: Annotated[str | None, typer.Option("--to", metavar="T", help="only billing periods up to here", show_default=False)] = None,
    repair: Annotated[bool, typer.Option("--repair", help="say what would put each drift right", show_default=False)] = False,
    apply: Annotated[bool, typer.Option("--apply", help="with --repair: do it; needs --reason", show_default=False)] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; it is kept in the log")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="at most this many rows of a sort")] = 50,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Follows every number from the raw event to the invoice line, and names the cause wherever two stages differ.

    Per customer, meter and window: raw events in ClickHouse, what was counted, emitted and delivered, what the provider's own totals hold, what
    final invoices bill. Eleven causes have names: lost_report, double_report, late_after_finality, raw_event, wrong_period, rounding,
    provider_edit, missing_window, old_duplicate, conflicting_body, stale_retry. Each drift says the numbers at each stage, the difference in
    units and in money, what happened, and what to do. What is merely on its way is none: a window that is open, a report that waits, a meter's
    usage that Stripe has not counted yet. It reads only, and may run while everything works. Kafka is asked for how far all is; months later
    ClickHouse and Stripe alone are enough.

    --repair proposes what puts each drift right, with the effect in units and money; --apply carries it out, by records in the log that the meter
    and the report take like any other, or by taking rows of the archive from the log again. Nothing is changed at Stripe but by the report.

    Exit code 0: every number is the same (--apply: every step is done, and nothing is left to a person); 1: a drift was found; 3: ClickHouse or
    Stripe does not answer; 4: no drift was found, and something could not be looked at (`unchecked` says what).

    \b
    tidemark reconcile                                everything
    tidemark reconcile --customer acme                one customer, period by period
    tidemark reconcile --from 2026-10-01 --to 2026-11-01 --json
    tidemark reconcile --repair                       a dry run
    tidemark reconcile --repair --apply --reason "the item was edited by hand, ticket 12"
    tidemark serve reconcile                          every hour, with metrics and alarms
    """
    from infra.reading import instant
    from infra.reconciling.archive import EARLIEST_S, LATEST_S
    from infra.reconciling.run import opened
    from infra.reconciling.run import reconcile as run
    from infra.reconciling.show import show
    from infra.reconciling.sources import Order
    from infra.target import resolve
    from topics.errors import UsageError

    order = Order(
        customer=customer or "",
        meter=meter or "",
        from_s=EARLIEST_S if from_text is None else instant(from_text, "--from") // 1_000_000,
        to_s=LATEST_S if to_text is None else instant(to_text, "--to") // 1_000_000,
    )
    if (apply or reason) and not repair:
        raise UsageError("--apply and --reason go with --repair: write tidemark reconcile --repair --apply --reason TEXT")
    settings = resolve(directory, config).settings
    if repair:
        _repair(settings, order, reason, limit, apply=apply, as_json=as_json)
    with status_line("reconciling", quiet=as_json) as tell, opened(settings) as sources:
        found = run(sources, order, lambda name: tell(f"reconciling {name}"))
    if as_json:
        print_json(found.document())
    else:
        show(found, limit)
    raise typer.Exit(found.exit_code)


def _repair(settings: Settings, order: Order, reason: str, limit: int, *, apply: bool, as_json: bool) -> None:
    """What puts it right, or doing it; ends the program."""
    from infra.reconciling.repairing import onto_stack, repair
    from infra.reconciling.run import opened
    from infra.reconciling.show_repairs import show_repairs

    with status_line("reconciling", quiet=as_json) as tell, opened(settings) as sources, onto_stack(settings) as onto:
        repaired = repair(sources, order, reason, onto if apply else None, lambda name: tell(f"reconciling {name}"))
    if as_json:
        print_json(repaired.document())
    else:
        show_repairs(repaired, limit)
    raise typer.Exit(repaired.exit_code)
