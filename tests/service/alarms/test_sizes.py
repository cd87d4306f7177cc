"""An account that has outgrown its limits of size hears of it before an entry is refused."""

from decimal import Decimal

from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.strategy.signal import Target
from tests.engine.scripted import Script, holding, reading, remote
from tests.helpers import bar, closed, instrument
from tests.service.alarms.heard import Heard

WHOLE = {0: Target.fraction(1.0)}
SMALL = "warning limits_below_equity"


def paper(equity: str, **limits: Decimal) -> Heard:
    assignment = Assignment(instrument(), 300_000, Script(WHOLE), round_trip_bps=12.0)
    return Heard(Engine([assignment], Decimal(equity), Limits(**limits), name="t"))  # type: ignore[arg-type]


def test_it_is_said_once_with_each_limit_and_its_setting_and_before_the_first_refusal() -> None:
    heard = paper("80000")
    assert heard.take(closed(bar(0))) == [SMALL, "warning limit_refused"]
    assert heard.hooked[0].words == (
        "an entry worth the whole equity (80,000 USDT) is refused by the defaults "
        "risk.max_order_notional_quote = 50000, risk.max_position_notional_quote = 50000"
    )
    assert "set each of them" in heard.hooked[0].do
    assert SMALL not in heard.take(closed(bar(1)))


def test_an_account_within_its_limits_hears_nothing() -> None:
    assert SMALL not in paper("50000").take(closed(bar(0)))
    large = dict.fromkeys(("max_order_notional_quote", "max_position_notional_quote"), Decimal(90_000))
    assert SMALL not in paper("80000", **large).take(closed(bar(0)))


def test_a_limit_that_somebody_has_set_is_meant_as_it_is() -> None:
    small = dict.fromkeys(("max_order_notional_quote", "max_position_notional_quote"), Decimal(500))
    assert SMALL not in paper("80000", **small).take(closed(bar(0)))
    heard = paper("120000", **small)
    assert SMALL in heard.take(closed(bar(0)))
    assert heard.hooked[0].words.endswith("by the defaults risk.max_total_notional_quote = 100000")


def test_a_venues_account_is_judged_once_it_is_read() -> None:
    heard = Heard(remote(WHOLE))
    assert SMALL not in heard.take(closed(bar(0)))
    assert SMALL in heard.take(reading("120000", first=True))
    assert "risk.max_total_notional_quote = 100000" in heard.hooked[-1].words


def test_an_account_that_grows_beyond_a_limit_hears_of_it_then() -> None:
    heard = Heard(remote(WHOLE))
    assert SMALL not in heard.take(reading("49000", holding("20"), first=True), closed(bar(1, 100.0)))
    assert SMALL in heard.take(closed(bar(2, 200.0)))
