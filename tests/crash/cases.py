"""One case: bring a daemon into a phase of an order, kill it at a failpoint, start it again, compare.

The daemon is a process at the local exchange over sockets; it kills itself at a point of ``failpoint.py``.
Afterwards it is started, compared with the exchange's own history, stopped by SIGTERM, started and compared
again. The ending ``stop`` is SIGTERM in the place of the kill: it must end in the same state.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

from bot.adapters.state.failpoint import POINTS
from bot.service.commands import NoDaemon, ask
from tests.cli.exchanges import Daemon, daemon, exchange
from tests.crash import acts, oracle
from tests.crash.oracle import Truth

Phase = Literal["none", "sent", "resting", "partly", "filled", "cancelling", "exiting", "taking", "took"]
PHASES: tuple[Phase, ...] = get_args(Phase)
ENDINGS = (*POINTS, "stop")
RECOVERY = ("recovery.replayed", "recovery.read")
TRIGGERED = ("sync.before", "sync.after", "send.before", "send.after", "answer")
"""Points that a quiet account passes only once it is told to flatten."""
ROTATION = (
    *("snapshot.before", "snapshot.ahead", "rename.before", "rename.after"),
    *("header.before", "header.after"),
)
"""Points between two segments; there segments are short."""
TAKING = ("taking", "took")
"""Takes were sent and are not answered; the first of two has filled, and the bot has not heard of it."""
SENDS = ("send.before", "send.after", "answer")

SYMBOL = "BTCUSDT"
WITHIN_S = 25.0
_HOW = {"resting": "rest", "cancelling": "rest", "partly": "part", "taking": "take", "took": "take"}


def _late(news_ms: int) -> list[dict[str, Any]]:
    """Let every answer come late, and news of orders and fills by ``news_ms``: what is under way stays so."""
    answers = {"kind": "delay", "on": "trade", "match": "op:order*", "delay_ms": 3_000}
    news = {"kind": "delay", "on": "private", "delay_ms": news_ms}
    return [answers, *(news | {"match": topic} for topic in ("order*", "execution*"))]


_LATE = _late(3_000)
_FILLS_LATER = _late(4_000)
"""An entry is answered before its fill is heard of: the answers after that are those of its takes."""
_THIN = [{"kind": "thin", "symbol": SYMBOL, "qty": "0.002"}]


_UNKNOWN_MS = str(int(60 * WITHIN_S * 1_000))
"""The default of five minutes is five seconds here: the exchange's clock runs 60 times as fast. A question to
the venue does not, and on a busy machine five seconds are too few to prove that an order never arrived."""


class Wrong(Exception):
    """The case did not come out as it must."""


@dataclass(frozen=True)
class Case:
    """Where the process dies."""

    ending: str
    phase: Phase

    def __str__(self) -> str:
        return f"{self.ending} × {self.phase}"

    @property
    def kills_itself(self) -> bool:
        """True if the first process has the failpoint."""
        return self.ending in POINTS and self.ending not in RECOVERY

    @property
    def at_an_answer_of_a_take(self) -> bool:
        """True if the process dies when it hears of its takes: they were sent before it is armed."""
        return (self.ending, self.phase) == ("answer", "taking")

    @property
    def begins_by_its_send(self) -> bool:
        """True if the request that begins the phase is the one that kills, so that it is armed before."""
        begins = self.phase in ("cancelling", "exiting", "taking") and not self.at_an_answer_of_a_take
        return self.ending in SENDS and begins

    @property
    def needs_a_flatten(self) -> bool:
        """True if nothing passes the failpoint in this phase by itself."""
        passes = self.begins_by_its_send or self.at_an_answer_of_a_take
        return self.ending in TRIGGERED and not passes


@dataclass
class Stage:
    """A local exchange that one case after the other uses."""

    url: str
    control: Path
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def spoil(self, faults: list[dict[str, Any]]) -> None:
        """Let things go wrong at the exchange."""
        for fault in faults:
            _curl(self.control, "POST", json.dumps(fault))

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        _curl(self.control, "DELETE")


@contextmanager
def stage(place: Path) -> Iterator[Stage]:
    """Start an exchange: a close a second, two trades a second."""
    control = place / "exchange.sock"
    with exchange("--no-funding", "--control", str(control), "--ticks-per-s", "2", symbols=1) as url:
        yield Stage(url, control)


def run(case: Case, at: Stage, place: Path) -> None:
    """Run a case in the empty folder ``place``; the exchange's account is flat before and after.

    Raises:
        Wrong: something was lost, doubled or wrong.
    """
    shutil.copy(acts.__file__, place)
    subject = _Subject(case, at, place, f"k{next(at.numbers):03d}")
    try:
        subject.end_first()
        at.mend()
        subject.check_written()
        if case.ending in RECOVERY:
            subject.die_while_starting()
        for begin in ("after its end", "after SIGTERM"):
            subject.start_again(begin, last=begin == "after SIGTERM")
    finally:
        at.mend()


class _Subject:
    """The bot of one case: its state directory, and what is known of it."""

    def __init__(self, case: Case, at: Stage, place: Path, prefix: str) -> None:
        self.case, self.at, self.place, self.prefix = case, at, place, prefix
        self.state = place / ".data"
        self.wallet = self.truth().wallet
        self.told_to_flatten = self.flattens = False
        """Whether a flatten was asked for, and whether it was promised."""

    # The first process

    def end_first(self) -> None:
        """Start, reach the phase, die."""
        armed, phase, ending = self.place / "armed", self.case.phase, self.case.ending
        sends = self.case.begins_by_its_send
        env = {"FAILPOINT": ending} if self.case.kills_itself else {}
        if phase != "none":
            env["FAILPOINT_FROM"] = str(armed)
        begins = {"sent": _LATE, "taking": _FILLS_LATER, "partly": _THIN}
        self.at.spoil(begins.get(phase, []))
        with self.daemon(env) as running:
            if phase == "none" and self.case.kills_itself:
                self.await_kill(running)
                return
            running.until("trading")
            if phase in ("cancelling", "exiting"):
                self.until(_reached["resting" if phase == "cancelling" else "filled"])
                self.at.spoil(_LATE)
            elif phase == "took":
                self.until(_reached["took"])
                self.at.spoil([*_LATE, self.spike()])
            elif sends:
                self.until(_reached["sent"])
            if sends:
                armed.touch()
            if phase in ("cancelling", "exiting"):
                self.flatten()
            if not sends:
                self.until(_reached[phase])
                armed.touch()
            if self.case.needs_a_flatten and not self.told_to_flatten:
                self.flatten()
            if self.case.kills_itself:
                self.await_kill(running)
            elif ending == "stop":
                self.at.mend()
                self.stop(running)
            else:
                os.kill(running.process.pid, signal.SIGKILL)

    def spike(self) -> dict[str, Any]:
        """Return a trade of others between the two takes: the first of them fills."""
        (near, far), last = sorted(self.truth().open.values()), oracle.last(self.at.url, SYMBOL)
        return {"kind": "spike", "symbol": SYMBOL, "price_frac": float((near + far) / 2 / last)}

    def flatten(self) -> None:
        """Ask for a flatten; it is promised once the daemon has answered."""
        self.told_to_flatten = True
        try:
            ask(self.state, "flatten")
            self.flattens = True
        except NoDaemon:
            if not self.case.kills_itself:
                raise

    def await_kill(self, running: Daemon) -> None:
        """Wait until the process has killed itself."""
        try:
            code = running.process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{self.case.ending} was never passed") from None
        if code != -signal.SIGKILL:
            assert running.process.stderr is not None
            raise Wrong(f"ended with {code}: {running.process.stderr.read()[-400:]}")

    def die_while_starting(self) -> None:
        """Start once more with the failpoint in the start."""
        with self.daemon({"FAILPOINT": self.case.ending}) as running:
            self.await_kill(running)

    def check_written(self) -> None:
        """See that nothing has left that the dead process had not written."""
        if wrong := oracle.unwritten(self.truth(), self.entries()):
            raise Wrong(f"at its end: {'; '.join(wrong)}")
        if self.case.phase in TAKING and self.case.kills_itself and not self.told_to_flatten:
            self.check_takes()

    def check_takes(self) -> None:
        """See that the process died between the takes and what it heard of them."""
        real, entries = self.truth(), self.entries()
        takes = {
            each["order_id"] for each in oracle.sent(entries) if each["approved"]["intent"].get("reduce_only")
        }
        heard = {each["fill"]["exec_id"] for each in entries if each["type"] == "Filled"}
        filled = {each["execId"] for each in real.executions if each["side"] == "Sell"}
        there = takes & {each["orderLinkId"] for each in real.orders}
        unsent = self.case.ending == "send.before" and self.case.phase == "taking"
        took = self.case.phase == "took"
        if len(takes) != 2 or (unsent and there) or heard & filled or (took and not filled):
            raise Wrong(f"it did not die in its phase: {sorted(takes)}, {sorted(there)} at the venue")
        accepted = {each["order_id"] for each in entries if each["type"] == "OrderAccepted"}
        at_an_answer = there == takes and takes - accepted and accepted - takes  # the entry was answered
        if self.case.at_an_answer_of_a_take and not at_an_answer:
            raise Wrong(f"it did not die at an answer of a take: {sorted(accepted)} of {sorted(there)}")

    # The next ones

    def start_again(self, begin: str, *, last: bool) -> None:
        """Start, wait until all is as it really is, and stop; leave a flat account the last time."""
        with self.daemon() as running:
            running.until("trading")
            self.until(self.settled, begin)
            if last and self.truth().position:
                ask(self.state, "flatten")
                self.until(lambda status: not status["positions"], begin)
            self.stop(running)

    def settled(self, status: Mapping[str, Any]) -> str:
        """Return what is not yet as it must be."""
        if status["state"] not in ("trading", "paused"):
            return f"{status['state']}: {status['halt_reason'] or status['state_words']}"
        real = self.truth()
        wrong = oracle.differences(real, self.entries(), dict(status), self.wallet)
        return "; ".join(wrong) or self.unlike_its_end(status, real)

    def unlike_its_end(self, status: Mapping[str, Any], real: Truth) -> str:
        """Return how the account differs from where the strategy, or the operator, wants it."""
        paused = status["state"] == "paused"
        if self.flattens and not paused:
            return "the flatten is forgotten"
        if paused and not self.told_to_flatten:
            return "paused by nobody"
        how = _HOW.get(self.case.phase)
        took = self.case.phase == "took"
        qty = oracle.Decimal(str(acts.QTY)) / (2 if took else 1)
        if abs(real.position) != (0 if paused or how == "rest" else qty):
            return f"position {real.position}"
        resting = 0 if paused else {"rest": 1, "take": 1 if took else 2}.get(how or "", 0)
        return "" if len(real.open) == resting else f"open orders {sorted(real.open)}"

    # All of them

    @contextmanager
    def daemon(self, env: Mapping[str, str] | None = None) -> Iterator[Daemon]:
        """A process on the state directory."""
        how = _HOW.get(self.case.phase, "at_once")
        words = ["--feed", "local", "--venue", "local", "--exchange", self.at.url, "--interval", "1m"]
        words += ["--strategy", "acts:Acts", "--param", f"how={how}"]
        settings = {
            "BOT_VENUE__PREFIX": self.prefix,
            "BOT_FEED__SYMBOLS": SYMBOL,
            "BOT_JOURNAL__SEGMENT_BYTES": "4096" if self.case.ending in ROTATION else "65536",
            "BOT_DAEMON__RESTARTS_MAX": "1000",
            "BOT_RISK__UNKNOWN_ORDER_HALT_MS": _UNKNOWN_MS,
        }
        with daemon(self.place, *words, env=settings | dict(env or {})) as running:
            yield running

    def stop(self, running: Daemon) -> None:
        """SIGTERM."""
        code, _ = running.end()
        if code:
            raise Wrong(f"a stop ended with {code}: {running.said[-1][-400:]}")

    def until(self, what: Callable[[Mapping[str, Any]], object], begin: str = "") -> None:
        """Wait until the status is so: ``what`` returns True, or no words of what is still missing."""
        by_s = time.monotonic() + WITHIN_S
        while (said := what(ask(self.state, "status"))) not in (True, ""):
            if time.monotonic() > by_s:
                raise Wrong(f"{begin}: {said or 'the phase was not reached'}")
            time.sleep(0.1 if begin else 0.02)

    def truth(self) -> Truth:
        """What the exchange holds."""
        return oracle.truth(self.at.url, self.prefix, SYMBOL)

    def entries(self) -> list[oracle.Row]:
        """What the journal says."""
        return oracle.journal(self.state / "journal" / "local-1")


_reached: dict[Phase, Callable[[Mapping[str, Any]], bool]] = {
    "none": lambda status: True,
    "sent": lambda status: any(each["state"] == "sent" for each in status["open_orders"]),
    "resting": lambda status: any(each["state"] == "open" for each in status["open_orders"]),
    "partly": lambda status: any(each["state"] == "partial" for each in status["open_orders"]),
    "filled": lambda status: bool(status["positions"] and status["positions"][0]["stop_loss"]),
    "cancelling": lambda status: bool(status["open_orders"]) and status["state"] == "paused",
    "taking": lambda status: any(o["reduce_only"] and o["state"] == "sent" for o in status["open_orders"]),
    "took": lambda status: [o["state"] for o in status["open_orders"] if o["reduce_only"]] == ["open"] * 2,
    "exiting": lambda status: any(each["reduce_only"] for each in status["open_orders"]),
}


def _curl(control: Path, method: str, body: str = "") -> None:
    """Ask the exchange's control socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(control))
        head = f"{method} /faults HTTP/1.1\r\nHost: exchange\r\nConnection: close\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert b" 200 " in answer.partition(b"\r\n")[0], answer
