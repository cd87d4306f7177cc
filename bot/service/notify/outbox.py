"""What waits for one address, and when it may leave: rate, retries and a bound on what waits. Pure.

The first alert leaves at once. What comes faster than the rate allows, or while the address does not answer,
leaves together as one message: the most severe alerts in words, the others as "and N more".
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.domain.alerts import LEVELS, Alert

SHOWN_MAX = 8
"""Alerts of one message in words."""
_MINUTE_S = 60.0
_RESERVE_FRAC = 0.3
"""Part of the rate that only a message with an error may use."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How often, how long and how much; ``rate`` is messages in any 60 s."""

    rate: int = 10
    waiting_max: int = 500
    retry_s: float = 2.0
    max_retry_s: float = 300.0


@dataclass(frozen=True)
class Batch:
    """One message: ``shown`` in order of time, ``more`` counts the others by name."""

    shown: tuple[Alert, ...]
    more: Counter[str] = field(default_factory=Counter)


class Outbox:
    """Alerts for one address. Times are seconds of any steady clock, given by the caller.

    Attributes:
        sent: messages that the address took.
        dropped: alerts that found no room; they are still counted in the next message.
        failures: tries in a row that failed.
    """

    def __init__(self, policy: Policy) -> None:
        self.sent = self.dropped = self.failures = 0
        self._policy = policy
        self._waiting: deque[Alert] = deque()
        self._flying: tuple[Alert, ...] = ()
        self._lost: Counter[str] = Counter()
        self._lost_flying: Counter[str] = Counter()
        self._left_s: deque[float] = deque()
        self._not_before_s = 0.0

    def __len__(self) -> int:
        """Return how many alerts wait or are on their way."""
        return len(self._waiting) + len(self._flying)

    def add(self, alert: Alert) -> None:
        """Take an alert. If there is no room, the oldest of the least severe ones is dropped."""
        self._waiting.append(alert)
        while len(self) > self._policy.waiting_max and self._waiting:
            victim = min(self._waiting, key=_severity)  # the first of them: the oldest
            self._waiting.remove(victim)
            self._lost[victim.name] += 1
            self.dropped += 1

    def due_s(self, now_s: float) -> float | None:
        """Return when the next message may leave, at the earliest now; None if nothing waits."""
        if not self._waiting or self._flying:
            return None
        rate = self._policy.rate
        if all(alert.level != "error" for alert in self._waiting):
            rate = max(1, rate - int(rate * _RESERVE_FRAC))
        while self._left_s and now_s - self._left_s[0] >= _MINUTE_S:
            self._left_s.popleft()
        free_s = now_s if len(self._left_s) < rate else self._left_s[-rate] + _MINUTE_S
        return max(free_s, self.retry_s(now_s))

    def retry_s(self, now_s: float) -> float:
        """Return when the next try may be made, whatever the rate: at once unless the last one failed."""
        return max(now_s, self._not_before_s)

    def take(self) -> Batch:
        """Return everything that waits as one message, which is then on its way until ``done``."""
        assert not self._flying, "one message at a time"
        self._flying, self._lost_flying = tuple(self._waiting), self._lost
        self._waiting.clear()
        self._lost = Counter()
        shown = sorted(range(len(self._flying)), key=lambda i: -_severity(self._flying[i]))[:SHOWN_MAX]
        more = Counter(each.name for i, each in enumerate(self._flying) if i not in shown)
        return Batch(tuple(self._flying[i] for i in sorted(shown)), more + self._lost_flying)

    def done(self, now_s: float, *, ok: bool) -> None:
        """Note what became of the message on its way: it arrived, or its alerts wait again."""
        flying, self._flying = self._flying, ()
        if ok:
            self.sent += 1
            self.failures = 0
            self._lost_flying = Counter()
            self._left_s.append(now_s)
            return
        self._waiting.extendleft(reversed(flying))
        self._lost += self._lost_flying
        policy = self._policy
        wait_s = min(policy.retry_s * 2.0 ** min(self.failures, 30), policy.max_retry_s)
        self.failures += 1
        self._not_before_s = now_s + wait_s


def names_of(counted: Counter[str]) -> str:
    """Return counts in words: ``12 fill, 3 limit refused``."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counted.most_common())


def worst(alerts: Sequence[Alert]) -> Alert:
    """Return the first of the most severe alerts."""
    return max(alerts, key=_severity)


def _severity(alert: Alert) -> int:
    return LEVELS.index(alert.level)
