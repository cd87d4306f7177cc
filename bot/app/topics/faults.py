"""``bot help faults``: what a fault plan of the local exchange can do."""

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import members
from bot.simulator.faults.plan import KINDS, Fault

EXAMPLE = """\
seed = 7
[[fault]]
kind = "lost_answer"            # the order is accepted, its answer never arrives
on = "trade"
rate = 0.2
[[fault]]
kind = "stall"                  # after one minute every public connection is half-open for two minutes
on = "public"
from_s = 60
for_s = 120
"""


def page() -> Page:
    """Return the kinds of faults, and the keys of one."""
    return Page(
        "faults",
        "`bot exchange --faults plan.toml` reads a `seed` and a list of `[[fault]]`. Each fault has its own "
        "random stream. Times are seconds since the exchange started.",
        [
            Section("An example: a file plan.toml", code=EXAMPLE),
            Section("kind", [Entry(name, f"{words}.") for name, words in KINDS.items()]),
            Section(
                "Keys of a fault",
                [each for each in members(Fault) if "(" not in each.facts["type"] and each.name != "once"],
            ),
        ],
    )
