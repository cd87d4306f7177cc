"""A venue in this process, whose state outlives the process: what a backtest's and paper's have alike."""

from abc import ABC, abstractmethod

from bot.ports import Venue


class InnerVenue(Venue, ABC):
    """A ``ports.Venue`` that is an exchange of our own, and that can be written down between two events."""

    @abstractmethod
    def snapshot(self) -> bytes:
        """Return the whole venue between two events, as JSON with a version and a checksum."""

    @abstractmethod
    def _take_over(self, body: bytes, *, moves: bool) -> None:
        """Put a snapshot onto this venue, as ``move_in`` if ``moves``, else as ``restore``."""

    def restore(self, body: bytes) -> None:
        """Go on from a snapshot, on a new venue with the same arguments: what follows is equal.

        Raises:
            BadInput: the snapshot is damaged, of another version, or lacks a symbol of this venue. The venue
                must not be used then.
        """
        self._take_over(body, moves=False)

    def move_in(self, body: bytes) -> None:
        """Take over the account of a snapshot on a new venue with other symbols, rules, fees or leverage.

        Symbols of this venue that the snapshot does not have begin empty. A symbol that only the snapshot has
        goes on if it holds a position or an order.

        Raises:
            BadInput: the snapshot is damaged, or of another version. The venue must not be used then.
        """
        self._take_over(body, moves=True)
