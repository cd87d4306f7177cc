"""What a strategy sees (``View``) and what it returns (``Target``).

A strategy is any object with ``on_bar(view) -> Target | None``; one instance per symbol. For example::

    class Momentum:
        \"\"\"Long after a rise, flat after a fall.\"\"\"

        def __init__(self, size: float = 1.0) -> None:
            self.size = size
            self.last = 0.0

        def on_bar(self, view: View) -> Target | None:
            rising, self.last = view.bar.close > self.last, view.bar.close
            return Target(self.size if rising else 0.0)

A class that needs forecasts sets ``needs_forecast = True``; the engine then runs the model for it. A class
with ``longer_bars = ("4h", "1d")`` finds these bars of its symbol in ``view.longer``.
Indicators are declared, on the class or in its constructor, and read by name::

    from bot.features.indicators import close, ema, sma

    class Trend:
        indicators = {"fast": ema(close, 12), "slow": sma(close, 48)}

        def on_bar(self, view: View) -> Target | None:
            if not view.warm:
                return None
            return Target(view.worth(0.5) if view.ind["fast"] > view.ind["slow"] else 0.0)

``Momentum`` remembers a price. With two more methods this survives a restart (``memory.Remembering``)::

        def state(self) -> float:
            return self.last

        def restore(self, state: float) -> None:
            self.last = state

Without them a new process shows the strategy past bars again, and orders follow from none of these.
"""

from collections.abc import Iterable
from math import inf, nan
from typing import Literal, Protocol, SupportsFloat

import msgspec

from bot.domain.errors import BadInput, UnusableNumber
from bot.domain.market import Bar, Forecast
from bot.strategy.indicators import Values

TAKES_MAX = 10
"""Takes that a target may name."""


class View(msgspec.Struct):
    """One symbol at the close of ``bar``. The engine reuses the object: read it, do not store it."""

    symbol: str
    """Such as ``BTCUSDT``."""
    bar: Bar
    """The bar that has just closed."""
    position: float
    """In base; negative when short."""
    entry_price: float
    """Average entry price, quote per base; NaN when flat."""
    equity: float
    """Equity of the account, in quote."""
    forecast: Forecast | None
    """None if the strategy does not ask for forecasts, the model is not warm, or its output is not finite."""
    warm: bool
    """Whether every indicator is known, and a forecast if the strategy asks for forecasts."""
    round_trip_bps: float
    """Fees and spread of entering and leaving a position, in bps of its value."""
    bars_per_hour: float
    """Closed bars in an hour: 12 for bars of 5 minutes."""
    bars_held: int
    """Bars since the position was last flat or changed its side; 0 when flat."""
    live: bool = True
    """False if no order can follow from this bar: it warms up, or came too late to act on."""
    longer: dict[str, Bar | None] = {}
    """The longer bars that closed last, by length such as `4h`, for a class with `longer_bars`. None: no such
    bar is whole, because a bar of it is missing or the history begins in it."""
    trailing_volatility: float = nan
    """Volatility a year over about the last `volatility_hours` (an exponential mean), as a fraction, for a
    class that has these; NaN while it is not known."""
    ind: dict[str, float] = msgspec.field(default_factory=Values)
    """The indicators that the strategy declares, by name; NaN while unknown, so after a hole in the bars."""

    def worth(self, leverage: float) -> float:
        """Return the base quantity whose value is ``leverage`` × equity at this close; 0 without equity."""
        return leverage * self.equity / self.bar.close if 0.0 < self.equity < inf else 0.0


class Target(msgspec.Struct, frozen=True):
    """The position that the strategy wants after this bar. None instead of a target keeps the position.

    Raises:
        UnusableNumber: a quantity that is not finite, or a price that is not finite and positive. From a
            strategy, the engine counts it and keeps the position.
        BadInput: a text or None for a number, ``expires_bars`` below 1 or without a ``limit_price``,
            ``trailing_from`` without a ``trailing_stop``, or takes that are too many, close more than the
            position, or are named both as prices and as distances. It stops the strategy.
    """

    qty: float
    """Position wanted, in base; negative for short, 0 for flat."""
    reason: str = ""
    """Explains the target, above all a flat one (``cold``, ``no_signal``, ``cost``); reports count them."""
    limit_price: float | None = None
    """The order rests at this price instead of crossing the spread; quote per base. It rests until it is
    filled, or until a later target asks for another quantity or price."""
    stop_loss: float | None = None
    """Price of a protective stop at the venue, quote per base."""
    take_profit: float | None = None
    """Price of a protective profit order at the venue, quote per base."""
    expires_bars: int | None = None
    """With a ``limit_price``: what is left of an entry is cancelled at the close so many bars after this one.
    What was filled stays, with its stop. The same target at a later close begins the count again. An exit
    does not expire. None: no limit."""
    trailing_stop: float | None = None
    """Distance of a trailing stop at the venue, quote per base: it follows the best price since it was set,
    so it only comes closer. An entry sets it after its first fill. Without a ``stop_loss`` the entry also
    has a fixed stop at this distance from its price. A new distance begins anew at the last price."""
    trailing_from: float | None = None
    """The trailing stop waits until the price reaches this price; quote per base. Until then only a
    ``stop_loss``, or the stop of the settings, protects the position. None: it follows at once, and a later
    price does not make it wait again."""
    takes: tuple[tuple[float, float], ...] | None = None
    """Profits to take in parts, at most 10: ``[(103.0, 0.5), (106.0, 0.5)]`` closes half of the position at
    103 and the other half at 106. Prices in quote per base, parts as fractions of the whole position. Their
    limit orders follow the position: they come after its first fill, change with its size, and end with it.
    None keeps those that are there, an empty list takes them away."""
    takes_bps: tuple[tuple[float, float], ...] | None = None
    """Like `takes`, with distances in bps of the average entry price instead of prices: `[(150, 0.5)]` closes
    half of a long position 1.5 % above what it cost, of a short one 1.5 % below. The prices follow the fills,
    not the close of the decision: an entry that fills at another price, or adds to the position, moves the
    orders that are left. Prices are rounded away from the entry."""

    def __post_init__(self) -> None:
        if type(self.qty) is not float:
            self._to_float("qty")
        if not -inf < self.qty < inf:
            raise UnusableNumber(f"a target quantity must be finite, was {self.qty}")
        for name in ("limit_price", "stop_loss", "take_profit"):
            price = getattr(self, name)
            if (
                price is not None
                and not 0.0 < (price if type(price) is float else self._to_float(name)) < inf
            ):
                raise UnusableNumber(f"a target's {name} must be positive and finite, was {price}")
        if self.expires_bars is not None and (self.limit_price is None or self.expires_bars < 1):
            raise BadInput(f"expires_bars must be 1 or more and needs a limit_price, was {self.expires_bars}")
        if self.trailing_stop is not None or self.trailing_from is not None:
            self._check_trailing()
        if self.takes is not None:
            msgspec.structs.force_setattr(self, "takes", _checked_takes(self.takes, "takes", "price"))
        if self.takes_bps is not None:
            if self.takes is not None:
                raise BadInput(
                    "a target names its takes as prices (takes) or as distances (takes_bps), not both"
                )
            checked = _checked_takes(self.takes_bps, "takes_bps", "distance in bps")
            msgspec.structs.force_setattr(self, "takes_bps", checked)

    def _check_trailing(self) -> None:
        if self.trailing_stop is not None and not 0.0 < self._to_float("trailing_stop") < inf:
            raise UnusableNumber(
                f"a target's trailing_stop must be positive and finite, was {self.trailing_stop}"
            )
        if self.trailing_from is not None:
            if self.trailing_stop is None:
                raise BadInput(f"trailing_from needs a trailing_stop, was {self.trailing_from} without one")
            if not 0.0 < self._to_float("trailing_from") < inf:
                raise UnusableNumber(f"trailing_from needs a finite price above 0, was {self.trailing_from}")

    def _to_float(self, name: str) -> float:
        """Make a number of another kind, such as one of numpy or a Decimal, a float.

        Raises:
            BadInput: it is no number.
        """
        given = _number(getattr(self, name), f"a target's {name}")
        msgspec.structs.force_setattr(self, name, float(given))
        return float(given)

    @staticmethod
    def fraction(
        equity_frac: float,
        reason: str = "",
        *,
        band: float = 0.1,
        limit_price: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        expires_bars: int | None = None,
        trailing_stop: float | None = None,
        trailing_from: float | None = None,
        takes: tuple[tuple[float, float], ...] | None = None,
        takes_bps: tuple[tuple[float, float], ...] | None = None,
    ) -> "Target":
        """Return a target worth ``equity_frac`` × equity at this close; negative for short, 0 for flat.

        A position of the same side that is off by at most ``band`` × the target stays as it is. The other
        names are the fields of ``Target``. Without a known equity no order follows.

        Raises:
            UnusableNumber: a value that is not finite.
            BadInput: a negative ``band``, or what ``Target`` refuses.
        """
        flat = Target(
            0.0,
            reason,
            limit_price,
            stop_loss,
            take_profit,
            expires_bars,
            trailing_stop,
            trailing_from,
            takes,
            takes_bps,
        )
        return flat._sized(equity_frac, "fraction", band, inf)

    @staticmethod
    def volatility(
        annual_vol: float,
        reason: str = "",
        *,
        max_leverage: float = 2.0,
        band: float = 0.1,
        limit_price: float | None = None,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        expires_bars: int | None = None,
        trailing_stop: float | None = None,
        trailing_from: float | None = None,
        takes: tuple[tuple[float, float], ...] | None = None,
        takes_bps: tuple[tuple[float, float], ...] | None = None,
    ) -> "Target":
        """Return a target with which equity has this volatility a year, as a fraction; negative for short.

        It is worth ``annual_vol`` / volatility × equity, at most ``max_leverage`` × equity. The volatility is
        that of the forecast, else ``view.trailing_volatility``; while it is not known, no order follows.
        ``band`` and the other names are those of ``fraction``.

        Raises:
            UnusableNumber: a value that is not finite.
            BadInput: ``max_leverage`` or ``band`` out of range, or what ``Target`` refuses.
        """
        flat = Target(
            0.0,
            reason,
            limit_price,
            stop_loss,
            take_profit,
            expires_bars,
            trailing_stop,
            trailing_from,
            takes,
            takes_bps,
        )
        return flat._sized(annual_vol, "volatility", band, max_leverage)

    def _sized(
        self, size: float, by: Literal["fraction", "volatility"], band: float, max_leverage: float
    ) -> "Target":
        """Return this flat target with a size; a size of 0 is flat."""
        _number(size, f"the size of Target.{by}")
        if not size:
            return self
        terms = {name: getattr(self, name) for name in self.__struct_fields__}
        return SizedTarget(**terms, size=size, by=by, band=band, max_leverage=max_leverage)


def _number(given: object, what: str) -> SupportsFloat:
    """Return what is a number of any kind, such as one of numpy or a Decimal.

    Raises:
        BadInput: it is none.
    """
    if type(given) is float:
        return given
    if isinstance(given, str) or not isinstance(given, SupportsFloat):
        raise BadInput(f"{what} must be a number, was {given!r}")
    return given


def _checked_takes(
    takes: Iterable[Iterable[float]], name: str, where: str
) -> tuple[tuple[float, float], ...]:
    """Return the takes of a field as a tuple of (where, part); ``where`` says what the first number is.

    Raises:
        UnusableNumber: a price or distance that is not finite and positive, or a part that is NaN.
        BadInput: they are no pairs, too many, or close more than the whole.
    """
    try:
        pairs = tuple((float(at), float(part)) for at, part in takes)
    except (TypeError, ValueError):
        raise BadInput(f"{name} must be a list of ({where}, part of the position), was {takes!r}") from None
    for at, part in pairs:
        if not (0.0 < at < inf and 0.0 < part <= 1.0):
            kind = BadInput if 0.0 < at < inf and part == part else UnusableNumber
            raise kind(f"a take needs a finite {where} above 0 and a part in (0, 1], was ({at}, {part})")
    if len(pairs) > TAKES_MAX or sum(part for _, part in pairs) > 1.0 + 1e-9:
        raise BadInput(f"{name} must be at most {TAKES_MAX} and close at most the whole, were {pairs}")
    return pairs


class SizedTarget(Target, frozen=True, kw_only=True):
    """A target whose quantity follows from the account at the close: ``sized.quantity_of``.

    Its ``qty`` is NaN, so that it can never become an order by itself.
    """

    size: float
    by: Literal["fraction", "volatility"]
    band: float
    max_leverage: float = inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -inf < self.size < inf:
            raise UnusableNumber(f"the size of Target.{self.by} must be finite, was {self.size}")
        if not (0.0 <= self.band < inf and self.max_leverage > 0.0):
            raise BadInput(f"Target.{self.by} needs band >= 0 and max_leverage > 0")
        msgspec.structs.force_setattr(self, "qty", nan)


class Strategy(Protocol):
    """Turns a ``View`` into a ``Target``.

    A strategy may also have ``state()`` and ``restore(state)``: see ``memory.Remembering``.
    """

    def on_bar(self, view: View) -> Target | None:
        """Return the target after this closed bar. Called once per bar, in order. None keeps the position."""
