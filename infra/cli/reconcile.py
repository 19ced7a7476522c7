"""`tidemark reconcile`."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import print_json, status_line


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("reconcile", rich_help_panel=REPAIR)(reconcile)


def reconcile(
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer", show_default=False)] = None,
    meter: Annotated[str | None, typer.Option("--meter", metavar="M", help="only this meter", show_default=False)] = None,
    from_text: Annotated[str | None, typer.Option("--from", metavar="T", help="only billing periods from here on", show_default=False)] = None,
    to_text: Annotated[str | None, typer.Option("--to", metavar="T", help="only billing periods up to here", show_default=False)] = None,
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

    Exit code 0: every number is the same; 1: a drift was found; 3: ClickHouse or Stripe does not answer.

    \b
    tidemark reconcile                                everything
    tidemark reconcile --customer acme                one customer, period by period
    tidemark reconcile --from 2026-10-01 --to 2026-11-01 --json
    tidemark serve reconcile                          every hour, with metrics and alarms
    """
    from infra.reading import instant
    from infra.reconciling.archive import EARLIEST_S, LATEST_S
    from infra.reconciling.run import opened
    from infra.reconciling.run import reconcile as run
    from infra.reconciling.show import show
    from infra.reconciling.sources import Order
    from infra.target import resolve

    order = Order(
        customer=customer or "",
        meter=meter or "",
        from_s=EARLIEST_S if from_text is None else instant(from_text, "--from") // 1_000_000,
        to_s=LATEST_S if to_text is None else instant(to_text, "--to") // 1_000_000,
    )
    settings = resolve(directory, config).settings
    with status_line("reconciling", quiet=as_json) as tell, opened(settings) as sources:
        found = run(sources, order, lambda name: tell(f"reconciling {name}"))
    if as_json:
        print_json(found.document())
    else:
        show(found, limit)
    raise typer.Exit(0 if found.is_clean else 1)
