"""The receiver as a process: listens at once, says 503 until Kafka answers, ends in order on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from infra.kafka_io import wait_until_reachable
from infra.settings_stripe import has_live_key, terms_of
from infra.stripe_catalog import access
from infra.webhooks.binder import Binder
from infra.webhooks.face import PATH, routes
from infra.webhooks.following import Following
from infra.webhooks.kafka_log import KafkaLog
from infra.webhooks.provider import Provider
from infra.webhooks.receiver import Receiver
from infra.webhooks.runner import Runner
from infra.webhooks.signature import secrets_of
from topics.errors import ConfigurationFault, Fault, Unreachable, UsageError

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.webhooks.log import Log
    from sinks.stripe.access import Eras

logger = logging.getLogger(__name__)

DRAIN_S: Final = 2.0
"""How long a webhook under way may still take; what is not answered comes again."""
RETRY_S: Final = 2.0
HIGHEST_PORT: Final = 65_535


def secrets_in(settings: Settings) -> tuple[str, ...]:
    """The signing secrets. Raises ConfigurationFault where there is none: nothing could be believed."""
    given = settings.stripe.webhook_secret
    found = secrets_of(given.get_secret_value()) if given is not None else ()
    if not found:
        remedy = "Set it to the endpoint's signing secret (whsec_…); several, with commas between them, while one is being rolled."
        raise ConfigurationFault([Fault("STRIPE_WEBHOOK_SECRET", "it is not set", remedy)])
    return found


def runner_of(settings: Settings, eras: Eras, log: Log) -> Runner:
    """The errands of one account and one log."""
    names = {customer.stripe_customer: customer.id for customer in settings.customers if customer.stripe_customer}
    explicit = {customer.id for customer in settings.customers if customer.items}
    provider = Provider(eras, terms_of(settings), names)
    return Runner(provider, log, Binder(provider, log, explicit, settings.timing.horizon_ms))


@asynccontextmanager
async def listening(receiver: Receiver, host: str, port: int) -> AsyncIterator[str]:
    """A receiver inside this event loop; yields the URL that Stripe posts to. `port` 0 takes a free one. Raises UsageError for one that is taken."""
    runner = web.AppRunner(routes(receiver), access_log=None, shutdown_timeout=DRAIN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}. Choose another address with --listen.") from error
        yield f"http://{host}:{runner.addresses[0][1]}{PATH}"
    finally:
        await runner.cleanup()


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises UsageError where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > HIGHEST_PORT:
        raise UsageError(f"{text[:80]!r} is no address: write HOST:PORT, for example 127.0.0.1:8180")
    return host.strip("[]"), int(port)


async def serve(load: Callable[[], Settings], host: str, port: int, ready: Callable[[str], None]) -> None:
    """Receives until SIGTERM or SIGINT. `load` reads the configuration, now and whenever its file has changed; account, Kafka and secrets are
    those of the start. `ready` is told the URL once the socket listens."""
    settings = load()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    receiver = Receiver(None, secrets_in(settings), livemode=has_live_key(settings.stripe))
    async with AsyncExitStack() as ending:
        eras = ending.enter_context(access(settings, live=settings.stripe.live))
        ready(await ending.enter_async_context(listening(receiver, host, port)))
        log = KafkaLog(settings.kafka.bootstrap)
        ending.push_async_callback(log.stop)

        def connected() -> None:
            receiver.runner = Following(settings, load, lambda each: runner_of(each, eras, log))

        connecting = asyncio.create_task(_connect(settings, log, connected))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            connecting.result()
            await stopped
        connecting.cancel()


async def _connect(settings: Settings, log: KafkaLog, connected: Callable[[], None]) -> None:
    """Returns when the log can be written. Raises TidemarkError where Kafka answers and has no topic of ours."""
    while True:
        await wait_until_reachable(settings.kafka.bootstrap)
        try:
            await log.start()
        except Unreachable:
            await asyncio.sleep(RETRY_S)
            continue
        connected()
        logger.info("webhooks are taken")
        return


