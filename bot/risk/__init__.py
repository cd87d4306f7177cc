"""Permission: which intents may become orders, and when the bot must stop.

``limits.check`` turns an ``Intent`` into ``Approved`` or ``Refused``; nothing outside this package makes an
``Approved``. ``breaker.Breaker`` keeps the state that outlives one order: the day's loss, the equity peak,
rejects in a row, the operator's commands. Imports the domain only and knows no strategy, no venue and no
clock. Read ``limits.py`` first: its table ``CHECKS`` lists every rule. ``observing.Observer`` takes the place
of both where limits shall only be noted.
"""

from bot.risk.acts import LimitAct
from bot.risk.breaker import Breaker
from bot.risk.limits import CHECKS, BreakerState, Check, Exposure, Limits, RiskView, check
from bot.risk.observing import Observer

__all__ = [
    "CHECKS",
    "Breaker",
    "BreakerState",
    "Check",
    "Exposure",
    "LimitAct",
    "Limits",
    "Observer",
    "RiskView",
    "check",
]
