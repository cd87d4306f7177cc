"""Sends requests over the trade socket: each has exactly one outcome, also when the socket dies."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from bot.adapters.net.link import DialGate, Link, LinkPolicy
from bot.adapters.net.signed_rest import RequestOutcome, SignedRest
from bot.adapters.state.failpoint import reach
from bot.adapters.venue.config import VenueConfig
from bot.bybit.codes import CodeKind, RequestAction, meaning
from bot.bybit.hosts import check_signed_url
from bot.bybit.orders import Request
from bot.bybit.rate_limits import AddressBudget
from bot.bybit.trade import AuthFailed, BadMessage, Ready, TradeMessage, TradeResponse, TradeSession

CONNECT_BUDGET = ((300.0, 4), (3600.0, 20))
"""Most failures as (seconds, failures). REST can do its work, so the trade socket dials less often."""
GIVEN_UP_MAX = 1_024
"""Requests given up without an answer that are remembered, to recognise a late answer."""
RESTARTING = 10019
"""The server shuts down: requests in flight still run, new ones need a new connection."""


class GateBehind(DialGate):
    """Dials only while ``first`` is set: if the private stream cannot connect, this socket does not try."""

    def __init__(
        self, first: asyncio.Event, policy: LinkPolicy, rng: random.Random, address: AddressBudget
    ) -> None:
        super().__init__(policy, rng, CONNECT_BUDGET, address=address)
        self._first = first

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until ``first`` is set and dialling is allowed."""
        await self._first.wait()
        async with super().turn():
            yield


class TradeSocket:
    """Sends requests over the trade socket while it is ready.

    Args:
        late: called with the order, the kind and the answer if the request was given up before.

    Attributes:
        ready: True while signed in; then requests may be sent.
        bad: number of messages that could not be read.
        wrote_s: the loop's time when the last request had been written to the socket.
    """

    def __init__(
        self,
        url: str,
        rest: SignedRest,
        config: VenueConfig,
        *,
        ids: Iterator[str],
        rng: random.Random,
        gate: DialGate,
        late: Callable[[str, CodeKind, TradeResponse], None],
    ) -> None:
        self.ready = False
        self.bad = 0
        self.wrote_s = 0.0
        self.why = ""
        """Why the socket is not ready, if that is known."""
        self._rest = rest
        self._config = config
        self._ids = ids
        self._late = late
        self._under_way: dict[str, tuple[asyncio.Future[RequestOutcome], RequestAction]] = {}
        self._given_up: dict[str, tuple[str, RequestAction]] = {}
        self._link: Link[TradeMessage] = Link(
            check_signed_url(url),
            self._start,
            on_value=self._on_value,
            on_up=lambda: None,
            on_down=self._on_down,
            rng=rng,
            policy=config.link,
            gate=gate,
        )

    async def run(self) -> None:
        """Keep the socket until cancelled."""
        await self._link.run()

    def send(self, request: Request, action: RequestAction) -> "asyncio.Future[RequestOutcome] | None":
        """Write a request now; return a future of its outcome, or None if nothing was written."""
        if not self.ready or request.op is None or request.arg is None:
            return None
        session = self._link.session
        if not isinstance(session, TradeSession):
            return None
        req_id = next(self._ids)
        window_ms = self._config.recv_window_ms
        text = session.request(request.op, request.arg, req_id, self._rest.time.now_ms(), window_ms)
        reach("send.before")
        if not self._link.send(text):
            return None
        reach("send.after")
        loop = asyncio.get_running_loop()
        self.wrote_s = loop.time()
        answer: asyncio.Future[RequestOutcome] = loop.create_future()
        self._under_way[req_id] = (answer, action)
        link_id = str(request.arg.get("orderLinkId", ""))
        timer = loop.call_later(
            self._config.order_timeout_ms / 1000.0, self._give_up, req_id, link_id, action
        )
        answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def _start(self, now_ms: float) -> tuple[TradeSession, list[str]]:
        credentials, config = self._rest.credentials, self._config
        session = TradeSession(
            credentials.key,
            credentials.secret,
            ids=self._ids,
            patience=config.patience,
            clean=credentials.clean,
        )
        return session, session.opened(now_ms, self._rest.time.now_ms())

    def _on_value(self, value: TradeMessage, _: float) -> None:
        match value:
            case Ready():
                self.ready, self.why = True, ""
            case TradeResponse():
                self._on_answer(value)
            case AuthFailed(reason, code):
                self._link.reconnect(f"signing in failed: {code} {reason}")
            case BadMessage():
                self.bad += 1

    def _on_answer(self, answer: TradeResponse) -> None:
        req_id = answer.req_id
        if not req_id and len(self._under_way) == 1 and not self._given_up:
            req_id = next(iter(self._under_way))  # the venue refused without naming the request
        waiting = self._under_way.get(req_id)
        if waiting is None:
            link_id, action = self._given_up.pop(req_id, (answer.link_id, "query"))
            if link_id and action != "query":
                self._late(link_id, meaning(answer.code, action=action).kind, answer)
            return
        reach("answer")
        kind = meaning(answer.code, action=waiting[1]).kind
        text, venue_id = answer.text, answer.order_id
        self._settle(
            req_id, RequestOutcome(kind, answer.code, text, reset_ms=answer.reset_ms, order_id=venue_id)
        )
        if answer.code == RESTARTING:
            self._link.reconnect("the venue restarts")

    def _give_up(self, req_id: str, link_id: str, action: RequestAction) -> None:
        """Report the outcome as unknown, because no answer came in time; one may still come."""
        self._given_up[req_id] = (link_id, action)
        if len(self._given_up) > GIVEN_UP_MAX:
            del self._given_up[next(iter(self._given_up))]
        self._settle(req_id, RequestOutcome("retry_unknown", 0, "no answer in time"))

    def _settle(self, req_id: str, outcome: RequestOutcome) -> None:
        answer, _ = self._under_way.pop(req_id, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(outcome)

    def _on_down(self, reason: str) -> None:
        """Report every request in flight as unknown: it may have arrived. Nothing is sent again."""
        self.ready, self.why = False, reason
        self._given_up.clear()
        for req_id in list(self._under_way):
            self._settle(req_id, RequestOutcome("retry_unknown", 0, f"the trade socket died: {reason}"))
