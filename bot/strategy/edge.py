"""What a strategy that waits for a forecast return has seen, and what an entry would need: for people only.

No decision depends on it, so it is no part of a strategy's state: a new process begins to count anew.
"""

from typing import Protocol, runtime_checkable


class Edge:
    """The forecasts at live closes so far, in bps of the price: how many, the last and the largest."""

    __slots__ = ("bars", "largest_bps", "last_bps")

    def __init__(self) -> None:
        self.bars = 0
        self.largest_bps = 0.0
        self.last_bps = 0.0

    def see(self, edge_bps: float) -> None:
        """Count the forecast of one more close; its sign is the side."""
        self.bars += 1
        self.last_bps = edge_bps
        if abs(edge_bps) > abs(self.largest_bps):
            self.largest_bps = edge_bps


@runtime_checkable
class SeesEdge(Protocol):
    """A strategy that enters on a forecast return alone."""

    edge: Edge
    edge_horizon: str
    """Such as ``60m``."""

    def entry_bps(self, round_trip_bps: float) -> float:
        """Return the forecast return that an entry needs, in bps, if a round trip costs so much."""


def edge_of(strategy: object) -> SeesEdge | None:
    """Return a strategy that enters on a forecast return and has seen forecasts; else None."""
    return strategy if isinstance(strategy, SeesEdge) and strategy.edge.bars else None


def last_edge_words(strategy: object, round_trip_bps: float) -> str:
    """Say what the last forecast was and what an entry needs; empty for a strategy that needs none."""
    seen = edge_of(strategy)
    if seen is None:
        return ""
    return (
        f"the forecast of {seen.edge_horizon} is {seen.edge.last_bps:+.1f} bps, an entry needs more than "
        f"{seen.entry_bps(round_trip_bps):.1f}; the largest of {seen.edge.bars:,} was "
        f"{seen.edge.largest_bps:+.1f}"
    )


def missing_edge_words(strategy: object, round_trip_bps: float, maker_trip_bps: float) -> str:
    """Say what a forecast would have had to be for an entry; empty if one was large enough.

    ``maker_trip_bps`` is a round trip whose orders are all filled as a maker's: the least that it can cost.
    """
    seen = edge_of(strategy)
    if seen is None or abs(seen.edge.largest_bps) > seen.entry_bps(round_trip_bps):
        return ""
    as_maker = seen.entry_bps(maker_trip_bps)
    enough = "enough" if abs(seen.edge.largest_bps) > as_maker else "not enough either"
    return (
        f"an entry needs a forecast of more than {seen.entry_bps(round_trip_bps):.1f} bps over "
        f"{seen.edge_horizon}, because a round trip costs {round_trip_bps:.1f}; the largest of "
        f"{seen.edge.bars:,} was {seen.edge.largest_bps:+.1f}. Maker first, with every order filled as a "
        f"maker's ({maker_trip_bps:.1f} bps a round trip), it would need {as_maker:.1f}: {enough}"
    )
