"""The error tree. Each error carries one line for the user: what failed, where, and what to do.

::

    BotError                    exit 1
    ├── BadInput                exit 5   data from outside is not valid
    │   ├── BadBar              a candle whose numbers cannot belong to one candle
    │   ├── BadFile             a candle, funding or prediction file that does not have the documented form
    │   ├── UnusableNumber      a quantity or price that is NaN, infinite or out of range
    │   ├── TooFewBars          data that are sound, but too short for what was asked
    │   └── BadModel            a model directory whose weights, manifest or features do not fit together
    ├── BadUsage                exit 2   the command line asks for something impossible
    ├── BadSettings             exit 3   a settings key or value is wrong
    ├── VenueError              exit 4
    │   ├── Retryable           the same request may succeed later
    │   ├── Rejected            this request will never succeed
    │   └── Unknown             we cannot tell whether it was executed: reconcile before acting
    ├── Halted                  exit 6   risk stopped the run
    ├── StrategyFailed          exit 1   the user's own strategy raised
    ├── NotPromoted             exit 1   a retrained model is not better than the one in use
    ├── Occupied                exit 1   another process holds what this one needs
    ├── StoreFailed             exit 1   state that must survive a restart cannot be written or read
    └── Broken                  exit 1   a promise of our own code failed: stop, restart through recovery
"""


class BotError(Exception):
    """Root of every error we raise on purpose. ``exit_code`` is what the command line returns."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook (IPython) shows of the error: the one line that it carries."""
        return [f"{type(self).__name__}: {self}"]


class BadInput(BotError):
    """Data from outside is not valid: it is dropped or refused, never repaired by a guess."""

    exit_code = 5


class BadBar(BadInput):
    """A candle whose numbers cannot belong to one candle."""


class BadFile(BadInput):
    """A file that is missing, cut short, or not in the documented form."""


class UnusableNumber(BadInput):
    """A quantity or price that is NaN, infinite or out of range: the data, not a wrong line, made it so."""


class TooFewBars(BadInput):
    """Data that are sound, but too short for what was asked; the line says how much is needed."""


class BadModel(BadInput):
    """A model directory that is incomplete, altered, or made for other data."""


class BadUsage(BotError):
    """Arguments that contradict each other or name something that does not exist."""

    exit_code = 2


class NotWritten(BotError):
    """A file of results cannot be written: no space, no permission, no such place."""


class BadSettings(BotError):
    """Settings keys that do not exist or values out of their range, each in ``faults`` with its place."""

    exit_code = 3

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class VenueError(BotError):
    """The exchange, or the connection to it, did not do what the bot asked."""

    exit_code = 4


class Retryable(VenueError):
    """The same request may succeed later."""


class Rejected(VenueError):
    """This request will never succeed."""


class Unknown(VenueError):
    """It is not known yet whether the request was executed: reconcile before acting."""


class Halted(BotError):
    """The risk manager stopped the run."""

    exit_code = 6


class StrategyFailed(BotError):
    """The user's own strategy raised: file, line, error, symbol and bar in one line."""


class NotPromoted(BotError):
    """A retrained model that is not better than the one in use beyond noise, or leaky; that one stays."""


class NoResult(BotError):
    """A search of which no trial has a result."""


class Occupied(BotError):
    """Another process holds what this one needs, such as the state directory. Touch nothing of it."""


class StoreFailed(BotError):
    """The state directory is full or damaged. No order may leave before it is stored there."""


class Broken(BotError):
    """A promise of our own code failed: stop, and start again through recovery."""
