"""One run in the form in which two runs can be laid over each other: from a journal, or recorded."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.app.runs.live.arguments import Arguments
from bot.domain.errors import BadUsage
from bot.domain.ledger import Fill
from bot.domain.market import Bar
from bot.domain.messages import (
    BarsClosed,
    Command,
    Effect,
    Event,
    Filled,
    FundingPaid,
    FundingRate,
    ModelSwapped,
    OrderCancelled,
    OrderRejected,
    PlaceOrder,
    Verdict,
)
from bot.domain.orders import Refused
from bot.journal.entries import EVENTS, Answer, Effects, Entry, Marked

At = tuple[int, str]
"""Close and symbol."""
_NEVER, _ALWAYS = -1, 1 << 62


@dataclass
class KeptRun:
    """What a run saw, decided and got. A ``ports.Recorder``: a backtest is kept in the same form.

    Attributes:
        bars: every bar by close and symbol, those of the warm-up too.
        live: the bars that came in time to act on.
        refused: what risk refused, by close and symbol of the decision.
        placed: orders by id; ``ended``: why one was refused or cancelled.
        ts_ms: closes that were decided on, with ``equity`` and ``notional`` (quote) at each.
        swaps: the models that took over, in order.
        pruned: spans of the journal without bars: (the last close before, the first close after), UTC ms.
    """

    name: str
    bars: dict[At, Bar] = field(default_factory=dict)
    live: set[At] = field(default_factory=set)
    refused: dict[At, Refused] = field(default_factory=dict)
    placed: dict[str, PlaceOrder] = field(default_factory=dict)
    ended: dict[str, OrderRejected | OrderCancelled] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    rates: dict[At, FundingRate] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    funding: list[FundingPaid] = field(default_factory=list)
    ts_ms: list[int] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    notional: list[float] = field(default_factory=list)
    swaps: list[ModelSwapped] = field(default_factory=list)
    pruned: list[tuple[int, int]] = field(default_factory=list)

    def is_pruned(self, close_ms: int) -> bool:
        """True if the journal no longer holds the bars of a close."""
        return any(before_ms < close_ms < after_ms for before_ms, after_ms in self.pruned)

    @property
    def first_ms(self) -> int:
        """The first close that was decided on."""
        return self.ts_ms[0]

    @property
    def last_ms(self) -> int:
        """The last close that was decided on."""
        return self.ts_ms[-1]

    def event(self, event: Event) -> None:
        """Keep an event."""
        match event:
            case BarsClosed():
                for bar in event.bars:
                    self.bars.setdefault((event.close_ms, bar.symbol), bar)
                    if event.live:
                        self.live.add((event.close_ms, bar.symbol))
            case Filled(fill):
                self.fills.append(fill)
            case FundingPaid():
                self.funding.append(event)
            case FundingRate():
                self.rates[event.ts_ms, event.symbol] = event
            case OrderRejected() | OrderCancelled():
                self.ended[event.order_id] = event
            case Command():
                self.commands.append(event)
            case ModelSwapped():
                self.swaps.append(event)
            case _:
                return

    def effects(self, effects: Iterable[Effect]) -> None:
        """Keep orders and refusals."""
        for effect in effects:
            if isinstance(effect, PlaceOrder):
                self.placed[effect.order_id] = effect
            elif isinstance(effect, Verdict) and isinstance(effect.verdict, Refused):
                intent = effect.verdict.intent
                self.refused[intent.decided_ms, intent.symbol] = effect.verdict

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Keep one point of the curve."""
        self.ts_ms.append(ts_ms)
        self.equity.append(equity)
        self.notional.append(notional)


@dataclass(frozen=True)
class Journaled:
    """A run as its journal tells it, and the arguments of its engine."""

    run: KeptRun
    arguments: Arguments
    changed: bool
    """Whether strategy, settings or model changed while the account lived, other than by a swap."""
    began: Arguments
    """The arguments, with the model that decided before the first swap."""


def read_run(journal: Journal) -> Journaled:
    """Read the run of an account.

    Raises:
        StoreFailed: the journal is damaged.
        BadUsage: no close was decided on yet.
    """
    run, index = KeptRun(journal.account), JournalIndex(journal)
    arguments, holes = list[Arguments](), _Holes()
    before_swaps: Arguments | None = None
    for segment in journal.all():
        arguments.append(Arguments.decode(segment.header.arguments))
        holes.segment(is_condensed=segment.header.condensed is not None)
        for each in segment.entries:
            entry = each.entry
            holes.entry(entry)
            if isinstance(entry, EVENTS):
                run.event(entry)
                if run.swaps:
                    before_swaps = before_swaps or arguments[-1]
            elif isinstance(entry, Answer):
                run.event(entry.event)
            elif isinstance(entry, Effects):
                run.effects(entry.effects)
            elif isinstance(entry, Marked) and entry.equity is not None and entry.notional is not None:
                run.marked(entry.ts_ms, entry.equity, entry.notional)
    run.pruned = holes.spans()
    if not run.ts_ms:
        raise BadUsage(f"{journal.folder}: no close was decided on yet; wait for the next bar")
    ours = index.ours()
    run.fills = [fill for fill in run.fills if ours(fill.cause, fill.order_id)]
    last = arguments[-1]
    began = last.with_model_of(before_swaps or last)
    swapped = {began.model_hash, *(each.model for each in run.swaps)}
    alike = [last.with_model_of(each) if each.model_hash in swapped else last for each in arguments]
    changed = any(not ours.decides_as(each) for ours, each in zip(alike, arguments, strict=True))
    return Journaled(run, last, changed, began)


class _Holes:
    """Finds the spans whose bars were taken out of a journal, while its entries are read in order.

    A restart shows bars again that were decided on long ago; they do not end a span.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._before_ms: int | None = None
        """The last close before the span that is open; None: none is open."""
        self._seen_ms, self._decided_ms, self._is_condensed = _NEVER, _NEVER, False

    def segment(self, *, is_condensed: bool) -> None:
        """Begin a segment."""
        self._is_condensed = is_condensed
        if is_condensed and self._before_ms is None:
            self._before_ms = self._seen_ms

    def entry(self, entry: Entry) -> None:
        """Take the next entry of the segment."""
        if isinstance(entry, Marked) and self._is_condensed:
            self._decided_ms = entry.ts_ms
        elif isinstance(entry, BarsClosed) and entry.close_ms > self._decided_ms:
            self._seen_ms = max(self._seen_ms, entry.close_ms)
            if self._before_ms is not None:
                self._spans.append((self._before_ms, entry.close_ms))
                self._before_ms = None

    def spans(self) -> list[tuple[int, int]]:
        """Return what was found; the last span may have no end."""
        return self._spans + ([] if self._before_ms is None else [(self._before_ms, _ALWAYS)])
