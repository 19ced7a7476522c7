"""`python -m infra.sandbox`: the sandbox alone. The key comes from STRIPE_API_KEY; without it every `sk_test_` key is accepted."""

from __future__ import annotations

import argparse
import json
import os
import sys

from infra.sandbox.faults import FAULTS
from infra.sandbox.knobs import Knobs, turned
from infra.sandbox.rules import rules_table
from infra.sandbox.serve import serve
from infra.sandbox.standing_receiver import known_to, named
from topics.errors import TidemarkError, UsageError


def _rates(texts: list[str]) -> dict[str, float] | None:
    if not texts:
        return None
    try:
        return {name: float(share) for name, _, share in (text.partition("=") for text in texts)}
    except ValueError as error:
        raise UsageError("a fault is given as NAME=SHARE, for example lost=0.05") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.sandbox", description="A Stripe stand-in on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1, or 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=12111, help="0 takes a free one")
    parser.add_argument("--state", default=".tidemark/sandbox", help="directory that keeps everything over restarts")
    parser.add_argument("--calls-per-second", type=float, default=Knobs().calls_per_second)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    parser.add_argument("--only", help="faults only for this resource, for example usage_records")
    parser.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE", help="a tolerance of --rules, for example grace_s=0")
    parser.add_argument("--webhooks-to", metavar="URL", help="a receiver that is told of everything; its secret in STRIPE_WEBHOOK_SECRET")
    parser.add_argument("--rules", action="store_true", help="print every rule with its source, and stop")
    return parser


def main() -> int:
    """Runs the sandbox, or prints its rules as JSON lines; the exit code."""
    given = _parser().parse_args()
    try:
        receiver = named(given.webhooks_to, os.environ)
        knobs = known_to(Knobs(calls_per_second=given.calls_per_second), receiver)
        knobs = turned(knobs, {name: value for name, _, value in (t.partition("=") for t in given.knob)})
        if given.rules:
            sys.stdout.writelines(json.dumps(rule.as_dict()) + "\n" for rule in rules_table(knobs))
            return 0
        serve(
            given.host,
            given.port,
            given.state,
            seed=given.seed,
            rates=_rates(given.fault),
            only=given.only,
            knobs=knobs,
            receiver=receiver,
            ready=lambda url: _say(f"the sandbox listens on {url}"),
        )
    except TidemarkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
