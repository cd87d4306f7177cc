"""Looks at everything that a run needs: machine, state, settings, model, network, clock, keys.

Works without a network: a host that does not answer is a warning, unless the run that the settings describe
needs it on this machine.
"""

import asyncio
import os
import platform
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bot.app.context import Context
from bot.domain.errors import BadModel, BadSettings, BotError
from bot.settings import Settings

_DISK_WARN_BYTES = 1 << 30
_DISK_FAIL_BYTES = 50 << 20
_FILES_MIN = 256
_EPOCH_2025_S = 1_735_689_600
_TIMEOUT_MS = 4_000


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check. ``code`` is the exit code if it is wrong."""

    name: str
    level: Literal["ok", "warn", "wrong"]
    text: str
    code: int = 1


def examine(context: Context, *, offline: bool) -> list[Diagnosis]:
    """Check everything; ``offline`` leaves the network alone."""
    findings = [*_machine()]
    settings, found = _settings(context)
    findings += found
    if settings is None:
        return findings
    findings += [*_state(settings.state_dir), _model(settings), *_sizes(settings), _keys(settings)]
    findings += _messages(settings)
    if not offline:
        findings += asyncio.run(_network(settings))
    return findings


def examine_settings(context: Context) -> list[Diagnosis]:
    """Check the settings alone, all of them: what a run refuses because of a setting is wrong here."""
    settings, findings = _settings(context)
    if settings is None:
        return findings
    return [*findings, *_strategy(settings), *_sizes(settings), _keys(settings), *_messages(settings)]


# Settings


def _settings(context: Context) -> tuple[Settings | None, list[Diagnosis]]:
    """Return the settings, None if they cannot be read, and one finding for each fault."""
    from bot.app.page import check_web
    from bot.app.wiring import make_drift_bounds, make_terms

    try:
        settings = context.settings()
    except BadSettings as error:
        return None, [Diagnosis("settings", "wrong", each, error.exit_code) for each in error.faults]
    except BadModel as error:  # two models have the name of model.path
        return None, [Diagnosis("settings", "wrong", f"model.path: {error}", BadSettings.exit_code)]
    findings = []
    for check in (make_terms, make_drift_bounds, lambda each: check_web(each.web, insecure=False)):
        try:
            check(settings)
        except BadSettings as error:
            findings += [Diagnosis("settings", "wrong", each, error.exit_code) for each in error.faults]
    return settings, findings or [Diagnosis("settings", "ok", _run_described(settings))]


def _sizes(settings: Settings) -> Iterator[Diagnosis]:
    """Name the limits that are below the equity of a simulated account; that of a venue is not known here."""
    from bot.app.wiring import make_limits
    from bot.risk.words import SMALL_LIMITS_DO, small_limits

    equity = settings.account.equity_quote
    words = small_limits(float(equity), make_limits(settings)) if settings.venue.kind == "paper" else ""
    if words:
        yield Diagnosis("limits", "warn", f"account.equity_quote {equity}: {words}; {SMALL_LIMITS_DO}")


def _strategy(settings: Settings) -> Iterator[Diagnosis]:
    """Make the strategy with its parameters, as a run does."""
    from bot.app.inputs import choose_strategy
    from bot.strategy.params import build

    chosen, where = settings.strategy, "strategy.name"
    try:
        found = choose_strategy(chosen.name)
        where = "strategy.params"
        build(found, chosen.params)
    except BotError as error:
        given = [place for key, _, place in settings.effective() if key.startswith(where)]
        places = [place for place in given if place != "default"] or [where]
        yield Diagnosis("strategy", "wrong", f"{', '.join(places)}: {error}", BadSettings.exit_code)
    else:
        yield Diagnosis("strategy", "ok", f"{chosen.name} takes its parameters")


def _run_described(settings: Settings) -> str:
    symbols = settings.feed.symbols
    named = ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")
    return (
        f"{settings.feed.kind} candles ({named}, {settings.feed.interval}), orders to {settings.venue.kind}, "
        f"strategy {settings.strategy.name}; `bot config show` has all"
    )


# This machine


def _machine() -> Iterator[Diagnosis]:
    where = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Diagnosis("machine", "ok", f"{where}, {os.cpu_count()} cores")
    try:
        import resource

        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, OSError):
        return
    if files < _FILES_MIN:
        yield Diagnosis("files", "wrong", f"only {files} open files allowed; raise it: `ulimit -n 1024`")


def _state(state_dir: Path) -> Iterator[Diagnosis]:
    from bot.adapters.state.directory import HaltFile, StateDir
    from bot.app.state.journals import journals
    from bot.service.commands import NoDaemon, ask

    there = next(each for each in (state_dir, *state_dir.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK):
        yield Diagnosis("state", "wrong", f"{there} cannot be written; set state_dir")
        return
    free = shutil.disk_usage(there).free
    if free < _DISK_WARN_BYTES:
        level: Literal["warn", "wrong"] = "wrong" if free < _DISK_FAIL_BYTES else "warn"
        yield Diagnosis("disk", level, f"{free >> 20} MB free at {there}; make room or set state_dir")
    if not state_dir.exists():
        yield Diagnosis("state", "ok", f"{state_dir} will be made")
        return
    try:
        reply = ask(state_dir, "status", timeout_s=3.0)
        yield Diagnosis("daemon", "ok", f"runs on {state_dir}: {reply['state']}")
        return
    except NoDaemon:
        pass
    try:
        locked = StateDir(state_dir)
    except BotError as error:
        yield Diagnosis("state", "wrong", f"{error}; it does not answer: `bot kill`, then end that process")
        return
    try:
        if HaltFile(state_dir).is_set():
            yield Diagnosis("halt", "warn", "halted by `bot kill`; `bot unhalt` lifts it")
        for journal in journals(state_dir):
            last = journal.last()
            if last is not None:
                journal.snapshot(last.header)
        yield Diagnosis("state", "ok", f"{state_dir}, {free >> 30} GB free; no daemon runs")
    except BotError as error:
        yield Diagnosis("state", "wrong", str(error))
    finally:
        locked.close()


def _model(settings: Settings) -> Diagnosis:
    from bot.app.inputs import choose_strategy, load_model
    from bot.domain.market import INTERVALS_MS, interval_name
    from bot.settings.models import model_for

    try:
        needs_model = bool(getattr(choose_strategy(settings.strategy.name), "needs_forecast", False))
        if not needs_model:
            return Diagnosis("model", "ok", f"{settings.strategy.name} needs none")
        model = load_model(settings.model.path, ())
    except BotError as error:
        return Diagnosis("model", "wrong", str(error), error.exit_code)
    interval_ms = INTERVALS_MS[settings.feed.interval]
    if model.interval_ms != interval_ms:
        made_for = interval_name(model.interval_ms)
        text = (
            f"made for {made_for} bars, but feed.interval is {settings.feed.interval}; "
            f"{model_for(interval_ms, 'set model.path to')}, or set feed.interval"
        )
        return Diagnosis("model", "wrong", text, 5)
    return Diagnosis("model", "ok", f"{model.hash[:16]}, warm after {model.warmup_bars} bars")


def _keys(settings: Settings) -> Diagnosis:
    venue = settings.venue
    if venue.kind == "paper":
        return Diagnosis("keys", "ok", "paper needs none")
    if venue.api_key is None or venue.api_secret is None:
        text = f"venue {venue.kind} needs BOT_VENUE__API_KEY and BOT_VENUE__API_SECRET, or venue.api_key_file"
        return Diagnosis("keys", "wrong", text, 3)
    return Diagnosis("keys", "ok", f"there are a key and a secret for {venue.kind}")


def _messages(settings: Settings) -> Iterator[Diagnosis]:
    """Check that apprise knows each address; sends nothing."""
    if not settings.notify.urls:
        return
    from bot.adapters.notify.service import Service

    names = []
    for number, address in enumerate(settings.notify.addresses(), 1):
        try:
            names.append(Service(address).name)
        except BadSettings as error:
            yield Diagnosis("messages", "wrong", f"address {number}: {error}", error.exit_code)
            return
    yield Diagnosis("messages", "ok", f"to {', '.join(names)}; `bot notify test` sends one to each")


# The network


async def _network(settings: Settings) -> list[Diagnosis]:
    findings = [await _feed_host(settings)]
    if settings.venue.kind != "paper" and settings.venue.api_key is not None:
        findings.append(await _key_at_venue(settings))
    return findings


async def _feed_host(settings: Settings) -> Diagnosis:
    """Check that the feed's REST answers, and how far our clock is from its clock."""
    from bot.adapters.net.public_rest import RequestPace, public_rest
    from bot.adapters.state.clock import WallClock
    from bot.bybit.hosts import PUBLIC_REST
    from bot.bybit.orders import parse_time, server_time

    kind = settings.feed.kind
    url = settings.local.url if kind == "local" else PUBLIC_REST[kind]
    if time.time() < _EPOCH_2025_S:
        return Diagnosis("clock", "wrong", "this machine's clock stands before 2025; set it (NTP)")
    clock = WallClock()
    pace = RequestPace(max_retries=0, timeout_ms=_TIMEOUT_MS)
    try:
        async with public_rest(url, clock, pace, random.Random()) as rest:  # noqa: S311 (jitter)
            sent_ms = clock.now_ms()
            server_ms = await rest.get(server_time(), parse_time)
            off_ms = server_ms - (sent_ms + clock.now_ms()) / 2
    except BotError:
        if kind == "local":
            return Diagnosis(
                "network", "wrong", f"no exchange at {url}; start `bot exchange`, or set local.url", 4
            )
        text = (
            f"{url} does not answer; candles from {kind} need the internet, a backtest and `bot demo` do not"
        )
        return Diagnosis("network", "warn", text)
    if kind != "local" and abs(off_ms) > settings.venue.max_clock_offset_ms:
        return Diagnosis(
            "clock", "warn", f"{off_ms:+.0f} ms from the exchange's; set this machine's clock (NTP)"
        )
    return Diagnosis("network", "ok", f"{url} answers, clocks {off_ms:+.0f} ms apart")


async def _key_at_venue(settings: Settings) -> Diagnosis:
    """Check the key at the venue."""
    from bot.app.venue.account import ask_key

    try:
        return Diagnosis("account", "ok", await ask_key(settings, timeout_ms=_TIMEOUT_MS))
    except BotError as error:
        return Diagnosis("account", "wrong", str(error), error.exit_code)
