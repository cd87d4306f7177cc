"""What must be right before anything is traded: each wrong thing is one line and its exit code."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.adapters.net import signed_rest
from bot.adapters.state.clock import WallClock
from bot.bybit.hosts import SignedUrls
from bot.domain.errors import BadSettings, BotError, VenueError
from bot.domain.messages import Filled, LinkDown, LinkUp, OrderAccepted, Synced
from bot.domain.orders import Order
from bot.exchange.quotes.exchange import QuoteExchange
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import Mischief, exchange_with, venue_at


def rename(exchange: ExchangeServer, **rights: bool) -> None:
    """Give the exchange's key other rights."""
    gate = exchange.accounts._gate
    gate._keys["test-key"] = msgspec.structs.replace(gate._keys["test-key"], **rights)
    desk = exchange.accounts.by_key["test-key"]
    desk.key = gate._keys["test-key"]


async def start(exchange: ExchangeServer, state: Path, **options: Any) -> None:
    async with venue_at(exchange, state, **options):
        pass


async def refused(exchange: ExchangeServer, state: Path, **options: Any) -> BotError:
    with pytest.raises(BotError) as caught:
        await start(exchange, state, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.fault(96)
async def test_a_key_of_another_host_is_named(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        error = await refused(exchange, tmp_path, key="someone-elses")
    assert isinstance(error, VenueError)
    assert error.exit_code == 4
    assert "10003" in str(error)


async def test_a_wrong_secret_is_named_and_not_shown(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        error = await refused(exchange, tmp_path, secret="canary-secret")
    assert error.exit_code == 4
    assert "10004" in str(error)
    assert "canary" not in str(error)
    assert "test-key" not in str(error)


@pytest.mark.fault(96)
@pytest.mark.parametrize(
    ("rights", "words"), [({"read_only": True}, "read-only"), ({"withdraw": True}, "withdraw")]
)
async def test_a_key_that_may_do_too_little_or_too_much_is_refused(
    tmp_path: Path, rights: dict[str, bool], words: str
) -> None:
    async with exchange_with() as exchange:
        rename(exchange, **rights)
        error = await refused(exchange, tmp_path)
    assert error.exit_code == 4
    assert words in str(error)


@pytest.mark.fault(37)
async def test_hedge_mode_is_refused(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        engine = exchange.accounts.by_key["test-key"].engine
        assert isinstance(engine, QuoteExchange)
        assert engine.switch_mode("ETHUSDT", True) is None
        error = await refused(exchange, tmp_path)
    assert error.exit_code == 4
    assert "ETHUSDT is in hedge mode" in str(error)


@pytest.mark.parametrize("skew_ms", [-3_000, 3_000])
async def test_a_clock_that_is_far_from_the_venues_is_refused(tmp_path: Path, skew_ms: int) -> None:
    async with exchange_with() as exchange:
        exchange.clock.skew_ms = skew_ms
        error = await refused(exchange, tmp_path)
    assert error.exit_code == 4
    assert f"{'ahead of' if skew_ms < 0 else 'behind'} the venue's" in str(error)


async def test_a_clock_that_is_a_little_off_is_corrected(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        exchange.clock.skew_ms = -400
        async with venue_at(exchange, tmp_path, recv_window_ms=300) as trader:
            order_id = trader.place(trader.limit())
            await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])


async def test_a_margin_mode_that_differs_from_the_settings_is_refused(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        error = await refused(exchange, tmp_path, margin_mode="isolated")
    assert isinstance(error, BadSettings)
    assert error.exit_code == 3


@pytest.mark.fault(94)
async def test_a_symbol_that_the_venue_does_not_have_is_named(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        error = await refused(exchange, tmp_path, symbols=("BTCUSDT", "DOGEUSDT"))
    assert isinstance(error, BadSettings)
    assert "DOGEUSDT" in str(error)


async def test_no_network_is_one_line(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_rest, "BACKOFF_MS", 1)
    base = f"127.0.0.1:{unused_tcp_port}"
    urls = SignedUrls(f"http://{base}", f"ws://{base}/v5/private", None)
    async with exchange_with() as exchange:
        error = await refused(exchange, tmp_path, urls=urls)
    assert error.exit_code == 4
    assert "cannot connect" in str(error)


@pytest.mark.fault(89)
@pytest.mark.surface("mainnet")
@pytest.mark.parametrize("url", ["https://api.bybit.com", "http://api-testnet.bybit.com"])
async def test_a_host_of_real_money_or_without_tls_is_refused(tmp_path: Path, url: str) -> None:
    async with exchange_with() as exchange:
        error = await refused(exchange, tmp_path, urls=SignedUrls(url, url, None))
    assert error.exit_code == 3


async def test_leverage_is_set_and_read_back(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, leverage=Decimal(7)) as trader:
        for symbol in trader.venue.config.symbols:
            assert trader.desk.engine.position(symbol, 0).leverage == 7


@pytest.mark.fault(58)
async def test_a_leverage_that_somebody_changes_later_is_set_again(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"leverage": Decimal(7), "modes_ms": 50, "reconcile_ms": 50}
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        trader.desk.set_leverage(
            {"category": "linear", "symbol": "ETHUSDT", "buyLeverage": "3", "sellLeverage": "3"}
        )
        assert trader.desk.engine.position("ETHUSDT", 0).leverage == 3
        await trader.until(lambda: trader.notes)
        assert trader.notes[0] == ("leverage_changed", {"symbol": "ETHUSDT", "set_again": "7"})
        assert trader.desk.engine.position("ETHUSDT", 0).leverage == 7


@pytest.mark.fault(37)
async def test_while_a_symbol_is_in_hedge_mode_no_entry_leaves_and_the_status_says_why(
    tmp_path: Path,
) -> None:
    changes: dict[str, Any] = {"modes_ms": 50, "reconcile_ms": 50}
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        engine = trader.desk.engine
        assert isinstance(engine, QuoteExchange)
        assert engine.switch_mode("ETHUSDT", True) is None
        await trader.until(lambda: trader.told(LinkDown)[1:])
        assert "ETHUSDT is in hedge mode" in str(trader.venue.facts()["venue_trouble"])
        assert [event for event, _ in trader.notes] == ["account_unread"]
        assert engine.switch_mode("ETHUSDT", False) is None
        await trader.until(lambda: trader.told(LinkUp)[1:], within_s=8)
        assert trader.venue.facts()["venue_trouble"] is None


@pytest.mark.fault(37)
async def test_a_refusal_that_speaks_of_the_position_mode_has_the_mode_looked_at_at_once(
    tmp_path: Path,
) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        engine = trader.desk.engine
        assert isinstance(engine, QuoteExchange)
        assert engine.switch_mode("BTCUSDT", True) is None
        trader.place(trader.intent())
        await trader.until(lambda: trader.told(LinkDown)[1:])
        assert "BTCUSDT is in hedge mode" in str(trader.venue.facts()["venue_trouble"])


@pytest.mark.fault(58)
async def test_while_the_account_has_another_margin_mode_no_entry_leaves_and_the_status_says_why(
    tmp_path: Path,
) -> None:
    changes: dict[str, Any] = {"modes_ms": 50, "reconcile_ms": 50}
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        trader.desk.set_margin_mode({"setMarginMode": "ISOLATED_MARGIN"})
        await trader.until(lambda: trader.told(LinkDown)[1:])
        assert "the account is in ISOLATED_MARGIN" in str(trader.venue.facts()["venue_trouble"])
        trader.desk.set_margin_mode({"setMarginMode": "REGULAR_MARGIN"})
        await trader.until(lambda: trader.told(LinkUp)[1:], within_s=8)
        assert trader.venue.facts()["venue_trouble"] is None


@pytest.mark.fault(71)
@pytest.mark.invariant(26)
async def test_a_second_bot_on_the_account_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"lock_folder": tmp_path / "locks", "holder": "process 1, state_dir /a"}
    async with exchange_with() as exchange:
        async with venue_at(exchange, tmp_path / "a", **changes):
            error = await refused(exchange, tmp_path / "b", **changes)
            assert "another bot trades this account" in str(error)
            assert "process 1, state_dir /a" in str(error)
            async with venue_at(exchange, tmp_path / "c", prefix="other", run="other1", **changes):
                pass
        async with venue_at(exchange, tmp_path / "b", **changes):
            pass
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


async def test_an_account_that_cannot_be_locked_is_traded_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file, no folder")
    lock: dict[str, Any] = {"lock_folder": tmp_path / "locks"}
    async with exchange_with() as exchange, venue_at(exchange, tmp_path / "a", **lock) as trader:
        assert [event for event, _ in trader.notes] == ["account_not_locked"]


@pytest.mark.fault(41)
async def test_others_orders_are_counted_or_refused(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        async with venue_at(exchange, tmp_path / "a", prefix="other", run="other1") as stranger:
            stranger.place(stranger.limit())
            await stranger.until(lambda: stranger.told(OrderAccepted))
        async with venue_at(exchange, tmp_path / "b") as trader:
            assert trader.told(Synced)[0].account.foreign_orders == 1
        error = await refused(exchange, tmp_path / "c", foreign="refuse")
    assert "1 order not of ours" in str(error)


@pytest.mark.fault(39, 42)
async def test_fourteen_working_orders_are_known_after_a_death_among_thousands_of_rows(
    tmp_path: Path,
) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange:
        async with venue_at(exchange, tmp_path / "before") as trader:
            symbols = ("BTCUSDT", "ETHUSDT")
            ids = [trader.place(trader.limit("0.1", f"0.{70 + n}", symbol=symbols[n % 2])) for n in range(14)]
            await trader.until(lambda: len(trader.told(OrderAccepted)) == 14)
        grow_history(trader.desk, 1_500)
        held = trader.held()
        faults.requests.clear()
        async with venue_at(exchange, tmp_path / "after", run="bot2") as again:
            (synced,) = again.told(Synced)
            assert sorted(order.order_id for order in synced.account.orders) == sorted(ids)
            assert again.venue.table.positions.get("BTCUSDT", 0) == held
            assert again.told(Filled) == []
            order_id = again.place(again.limit("0.01"))
            await again.until(lambda: again.of(order_id) == ["OrderAccepted"])
    pages = [path for _, path in faults.requests if path.startswith("/v5/execution/list")]
    assert len(pages) > 30


def grow_history(desk: Any, rounds: int) -> None:
    """Trades of the same account that leave two orders and two executions each, and nothing else."""
    for n in range(rounds):
        for side in ("Buy", "Sell"):
            desk.create(
                {
                    "category": "linear",
                    "symbol": "BTCUSDT",
                    "side": side,
                    "orderType": "Market",
                    "qty": "0.001",
                    "orderLinkId": f"past-{n}-{side}",
                }
            )


@pytest.mark.fault(28)
async def test_orders_of_an_earlier_run_are_settled_before_the_account_is_told(tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        async with venue_at(exchange, tmp_path) as trader:
            working = trader.place(trader.limit())
            filled = trader.place(trader.intent("0.02"))
            await trader.until(lambda: trader.filled() == Decimal("0.02"))
            never = trader.limit()
            trader.store.sent(Order("bot1-99-0", never))
            seen = max(event.ts_ms for event in trader.told(Filled))
            trader.store.saw_execution(seen)
            trader.exchange.accounts.by_key["test-key"].create(  # filled while nobody looked
                {
                    "category": "linear",
                    "symbol": "BTCUSDT",
                    "side": "Buy",
                    "orderType": "Market",
                    "qty": "0.03",
                    "orderLinkId": "bot1-50-0",
                }
            )
        async with venue_at(exchange, tmp_path, run="bot2", recv_window_ms=300) as again:
            kinds = [type(event).__name__ for event in again.events]
            (synced,) = again.told(Synced)
            assert {order.order_id for order in synced.account.orders} == {working}
            assert [each.qty for each in synced.account.holdings] == [Decimal("0.05")]
            assert set(again.venue.table.live) == {working}
            missed = [event.fill for event in again.told(Filled)]
            assert {fill.order_id for fill in missed} <= {"bot1-50-0", filled}
            assert "bot1-50-0" in {fill.order_id for fill in missed}
            assert kinds.index("Filled") < kinds.index("Synced") < kinds.index("LinkUp")
            assert again.venue.counts["never_existed"] == 1
            assert len(again.told(LinkUp)) == 1


async def test_the_default_clock_is_the_walls(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, clock=WallClock()) as trader:
        assert abs(trader.rest.time.offset_wall_ms) < 100
