"""The signed REST endpoints: credentials, quotas, and the table of paths.

``account/account.py`` handles orders, positions and money; ``queries.py`` answers questions.
https://bybit-exchange.github.io/docs/v5/intro
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from bot.bybit.decode import decode
from bot.bybit.serve import RateLimitHeaders, envelope
from bot.domain.errors import BadInput
from bot.simulator.account import order_forms as forms
from bot.simulator.account.access import AccessGate, Grant, Key, RequestRefused
from bot.simulator.account.account import Account
from bot.simulator.account.actions import ACTIONS, TOO_OFTEN, OrderAnswer, act, cost_of
from bot.simulator.http.queries import NOT_IN_DEMO, QUERIES
from bot.simulator.market.clock import ExchangeClock

Params = Mapping[str, Any]
Query = Callable[[Account, Params, int], OrderAnswer]


class Endpoint(msgspec.Struct, frozen=True):
    """One path: its quota and its handler. A read-only key may not use a path that ``writes``."""

    group: str
    answer: Query
    writes: bool = False


def _cancel_all(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    return OrderAnswer({"list": account.cancel_all(params), "success": "1"})


def _done(change: Callable[[Account, Params], object]) -> Query:
    def answer(account: Account, params: Params, now_ms: int) -> OrderAnswer:
        change(account, params)
        return OrderAnswer()

    return answer


def _margin_mode(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    account.set_margin_mode(params)
    return OrderAnswer({"reasons": []}, text="Request accepted")


def _add_margin(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    symbol, idx = account.add_margin(params)
    rows = [row for row in account.position_rows(symbol) if row.positionIdx == idx]
    return OrderAnswer({"category": "linear", **msgspec.to_builtins(rows[0])})


def _protect(account: Account, params: Params, now_ms: int) -> OrderAnswer:
    """``order/disconnected-cancel-all``: an ordinary account may not use it, well-formed or not."""
    window = forms.number(params, "timeWindow")
    forms.choice(params, "product", ("OPTIONS", "DERIVATIVES", "SPOT"), "OPTIONS")
    if window is None or window % 1 or not 3 <= window <= 300:
        raise forms.bad("timeWindow must be 3 to 300 seconds")
    raise RequestRefused(10005, "Permission denied: disconnection protection is for institutional accounts.")


POSTS: dict[str, Endpoint] = {
    "/v5/order/cancel-all": Endpoint("cancel-all", _cancel_all, writes=True),
    "/v5/order/disconnected-cancel-all": Endpoint("protection", _protect, writes=True),
    "/v5/position/set-leverage": Endpoint("leverage", _done(Account.set_leverage), writes=True),
    "/v5/position/switch-mode": Endpoint("switch-mode", _done(Account.switch_mode), writes=True),
    "/v5/position/trading-stop": Endpoint("trading-stop", _done(Account.trading_stop), writes=True),
    "/v5/position/add-margin": Endpoint("add-margin", _add_margin, writes=True),
    "/v5/position/set-auto-add-margin": Endpoint("auto-margin", _done(Account.set_auto_margin), writes=True),
    "/v5/account/set-margin-mode": Endpoint("margin-mode", _margin_mode, writes=True),
    "/v5/account/set-limit-px-action": Endpoint("settings", _done(Account.set_limit_action), writes=True),
    "/v5/account/demo-apply-money": Endpoint("demo-money", _done(Account.apply_money), writes=True),
}


class PrivateRest:
    """Answers signed requests. ``account`` returns an account, ``grant`` its share of the quota."""

    def __init__(
        self,
        gate: AccessGate,
        clock: ExchangeClock,
        account: Callable[[Key], Account],
        grant: Callable[[Key, str, int], Grant],
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._account = account
        self._grant = grant

    def routes(self) -> list[web.RouteDef]:
        """Return every path with its handler."""
        routes = [web.post(path, self._handler(path, each)) for path, each in POSTS.items()]
        routes += [web.get(path, self._handler(path, each)) for path, each in QUERIES_AS_ENDPOINTS.items()]
        routes.append(web.post("/v5/order/pre-check", self._handler("/v5/order/pre-check", PRE_CHECK)))
        for name in ACTIONS:
            routes.append(web.post(f"/v5/order/{name.removeprefix('order.')}", self._order_handler(name)))
        return routes

    def _handler(self, path: str, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
        def run(key: Key, params: Params) -> tuple[OrderAnswer | RequestRefused, RateLimitHeaders]:
            grant = self._grant(key, endpoint.group, 1)
            if not grant.granted:
                return RequestRefused(10006, TOO_OFTEN), grant.limit
            if endpoint.writes and key.read_only:
                return _read_only(), grant.limit
            if path in NOT_IN_DEMO and self._account(key).rules.demo:
                return RequestRefused(10001, "Request is not supported in demo trading"), grant.limit
            try:
                return endpoint.answer(self._account(key), params, self._clock.market_ms()), grant.limit
            except RequestRefused as refused:
                return refused, grant.limit

        return self._signed(run)

    def _order_handler(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        action = ACTIONS[name]

        def run(key: Key, params: Params) -> tuple[OrderAnswer | RequestRefused, RateLimitHeaders]:
            grant = self._grant(key, action.group, cost_of(action, params))
            if key.read_only:
                return _read_only(), grant.limit
            try:
                return act(self._account(key), action, params, grant.granted), grant.limit
            except RequestRefused as refused:
                return refused, grant.limit

        return self._signed(run)

    def _signed(
        self, run: Callable[[Key, Params], tuple[OrderAnswer | RequestRefused, RateLimitHeaders]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Check the credentials, read the parameters, wrap the answer."""

        async def handle(request: web.Request) -> web.Response:
            query = request.raw_path.partition("?")[2].partition("#")[0]
            body = await request.read()
            payload = query.encode("utf-8", "surrogateescape") if request.method == "GET" else body
            limit: RateLimitHeaders | None = None
            try:
                key = self._gate.rest(
                    request.headers, payload, now_ms=self._clock.now_ms(), speed=self._clock.speed
                )
                params = _from_query(query) if request.method == "GET" else _from_body(body)
                outcome, limit = run(key, params)
            except RequestRefused as refused:
                outcome = refused
            return self._response(outcome, limit)

        return handle

    def _response(
        self, outcome: OrderAnswer | RequestRefused, limit: RateLimitHeaders | None
    ) -> web.Response:
        now_ms = self._clock.now_ms()
        if isinstance(outcome, RequestRefused):
            body = envelope(outcome.result, outcome.code, outcome.text, time_ms=now_ms)
            status = outcome.status
        else:
            body = envelope(outcome.result, 0, outcome.text, time_ms=now_ms, ext=outcome.ext)
            status = 200
        headers = limit.headers() if limit is not None else {}
        return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def _read_only() -> RequestRefused:
    return RequestRefused(10005, "Permission denied, please check your API key permissions.")


def _from_query(query: str) -> Params:
    return dict(parse_qsl(query, keep_blank_values=True))


def _from_body(body: bytes) -> Params:
    try:
        params: dict[str, Any] = decode(body, dict[str, Any]) if body else {}
    except BadInput as error:
        raise RequestRefused(10001, "params error: the body must be a JSON object") from error
    return params


QUERIES_AS_ENDPOINTS: dict[str, Endpoint] = {
    path: Endpoint(group, answer)
    for path, (group, answer) in QUERIES.items()
    if path != "/v5/order/pre-check"
}
PRE_CHECK = Endpoint("pre-check", QUERIES["/v5/order/pre-check"][1], writes=True)
