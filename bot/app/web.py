"""Puts the page's server together and runs it until it is stopped, or until its daemon is gone."""

import asyncio
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from bot.adapters.control.client import NoAnswer, NobodyThere
from bot.adapters.control.client import ask as ask_socket
from bot.adapters.control.server import Answer, ControlServer, Question
from bot.adapters.net.browsers import LOOPBACK
from bot.adapters.state.clock import WallClock
from bot.adapters.state.directory import HaltFile
from bot.app.models.skill import judge
from bot.app.page import LINK_SOCKET, check_web, token_file
from bot.app.state.journals import choose_journal
from bot.app.venue.killing import kill_without_daemon
from bot.domain.errors import BadSettings, BotError
from bot.service.process.priority import give_way
from bot.service.process.private import private_files
from bot.settings import Settings
from bot.web.server.access import Access, read_token
from bot.web.server.history import JournalHistory
from bot.web.server.line import DaemonLine
from bot.web.server.server import Sources, WebConfig, WebServer
from bot.web.server.skill import Skill
from bot.web.server.steering import Steering
from bot.web.server.watch import Watch

if TYPE_CHECKING:
    from bot.app.context import Context

DEFAULT_PORT = 8660
_NICER = 5
"""The page yields to the daemon where both want the same core."""


def run_web(
    context: "Context",
    settings: Settings,
    say: Callable[[Mapping[str, object]], None],
    *,
    insecure: bool,
    is_child: bool,
) -> None:
    """Serve the page until a signal, or, as a child, until the daemon is gone.

    Raises:
        BotError: the port is taken, or the token cannot be read.
    """
    check_web(settings.web, insecure=insecure)
    if is_child:
        give_way(_NICER)
    with private_files():
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        asyncio.run(_serve(context, settings, say, is_child=is_child))


def make_link(context: "Context") -> str:
    """Return an address that opens the running page once.

    Raises:
        BotError: no page is served for this state directory.
    """
    state_dir = context.state_dir()
    try:
        return str(ask_socket(state_dir / LINK_SOCKET, "GET", "/link", timeout_s=5.0)["url"])
    except (NobodyThere, NoAnswer):
        raise BotError(
            f"no page is served for {state_dir}; start `bot web`, or `bot run --web-port 8660`"
        ) from None


async def _serve(
    context: "Context", settings: Settings, say: Callable[[Mapping[str, object]], None], *, is_child: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = _server(context, settings)
    await server.start()

    async def link(asked: Question) -> Answer:
        return {"url": server.link()}

    links = ControlServer(settings.state_dir / LINK_SOCKET, {"GET /link": link})
    await links.start()
    running = asyncio.ensure_future(server.run())
    try:
        say({"url": server.link(), "port": server.port})
        if is_child:
            await _watch_stdin(stop)
        stopped = asyncio.ensure_future(stop.wait())
        done, _ = await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
        if running in done:
            await running  # it never ends by itself: its error ends the process
    finally:
        running.cancel()
        await links.stop()
        await server.stop()


async def _watch_stdin(stop: asyncio.Event) -> None:
    """Stop once standard input is closed: the daemon that holds its other end is gone."""
    loop = asyncio.get_running_loop()

    class Input(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            stop.set()

    await loop.connect_read_pipe(Input, sys.stdin)


def _server(context: "Context", settings: Settings) -> WebServer:
    chosen, state_dir = settings.web, settings.state_dir
    wall_ms = WallClock().now_ms
    line = DaemonLine(state_dir, wall_ms)
    history = JournalHistory(partial(choose_journal, state_dir), asyncio.get_running_loop().time)
    kill = partial(kill_without_daemon, context, state_dir, None)
    sources = Sources(
        line=line,
        watch=Watch(line, history, wall_ms),
        history=history,
        skill=Skill(history, judge),
        steering=Steering(line, HaltFile(state_dir).set, kill),
    )
    port = DEFAULT_PORT if chosen.port is None else chosen.port
    config = WebConfig(host=chosen.host, port=port, state_dir=state_dir, tls=_tls(settings))
    everywhere = chosen.host in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)
    access = Access(
        read_token(token_file(settings)),
        asyncio.get_running_loop().time,
        LOOPBACK | {f"[{chosen.host}]".lower() if ":" in chosen.host else chosen.host.lower()},
        any_address=everywhere,
    )

    return WebServer(config, access, sources)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    chosen = settings.web
    if chosen.tls_cert is None or chosen.tls_key is None:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(chosen.tls_cert, chosen.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(
            f"web.tls_cert {chosen.tls_cert}: cannot be used ({error}); name a PEM file"
        ) from None
    return made
