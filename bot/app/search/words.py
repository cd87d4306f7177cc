"""The judgement of a search in words."""

from typing import TYPE_CHECKING

from bot.domain.words import counted

if TYPE_CHECKING:  # `bot sweep --help` loads no numpy
    from collections.abc import Iterable

    from bot.app.search.search import Search
    from bot.app.search.trial import Outcome
    from bot.app.search.walk import WalkForward
    from bot.research.search.selection import Selection

BELIEVED = 0.95
"""A probability below this may be luck."""
LUCKY = 0.05
"""A lead with a p-value of this or more may be luck."""


def sampler_words(search: "Search") -> str | None:
    """Say what the sampler means for the judgement; None if trials do not depend on each other."""
    if search.sampler != "tpe":
        return None
    return (
        "TPE searches where earlier trials were good, so its trials are not independent draws: they are more "
        "alike than random ones, and the deflated Sharpe ratio can be too good; all of them count in it"
    )


def halt_words(outcomes: "Iterable[Outcome]") -> str | None:
    """Say what a halt does to the figures of its trial; None if no trial was halted."""
    if all(each.halted is None for each in outcomes):
        return None
    return (
        "a halted trial earns nothing after its halt, and its figures count those days, too (`bot backtest` "
        "ends its figures at the halt); `--risk observe` lets all trials run to the end"
    )


def words(judged: "Selection") -> list[str]:
    """Say what a search is worth, a line for each figure; what the trials cannot tell is said, too."""
    before = f" and {judged.earlier_trials} tried before" if judged.earlier_trials else ""
    alike = (
        "" if judged.effective_trials is None else f", worth {judged.effective_trials:.1f} independent ones"
    )
    told = [f"{counted(judged.trials, 'trial')}{before}{alike}, on {counted(judged.days, 'day')}"]
    deflated = judged.deflated_sharpe
    if deflated is None:
        told.append("deflated Sharpe ratio: unknown, too few days or trials that move")
    else:
        verdict = "more than luck" if deflated >= BELIEVED else "may be luck"
        told.append(f"deflated Sharpe ratio of the best: {deflated:.3f} ({verdict}; {BELIEVED} is asked)")
    if judged.overfit_probability is None:
        told.append("probability of overfitting: unknown, fewer than 20 days or 2 trials")
    else:
        told.append(
            f"probability of overfitting: {judged.overfit_probability:.2f} (0.5 is chance); the choice of "
            f"one half of the days lost money in the other in {100 * (judged.loss_probability or 0.0):.0f} %"
        )
    if judged.spa_p_value is None:
        told.append("test against buy and hold: unknown, fewer than 60 days")
    else:
        lead = f"{judged.spa_p_value:.3f}"
        told.append(f"chance of such a lead over buy and hold without skill in any trial: {lead}")
    if judged.track_record_days is not None:
        told.append(f"its Sharpe ratio needs a record of {judged.track_record_days:,.0f} days to be above 0")
    return told


def walk_words(found: "WalkForward") -> list[str]:
    """Say what a walk-forward is worth, a line for each figure."""
    steady, numbers = found.stability, found.numbers()
    efficiency, same = (number_text(steady[each]) for each in ("efficiency", "same_choice_frac"))
    fitted = [] if found.refits is None else ["the models were fitted anew on each training span"]
    earlier = {"walk-forwards": found.earlier, "sweeps": found.earlier_sweeps}
    named = " and ".join(f"{count} {name}" for name, count in earlier.items() if count)
    before = f", {named} before this count" if named else ""
    deflated = number_text(numbers["deflated_sharpe"])
    overfit = number_text(found.overfit_probability)
    note = sampler_words(found.search)
    return [
        *([] if note is None else [note]),
        f"efficiency {efficiency} (1: the tests are as good as the training; 0: all of it was luck)",
        f"the same choice as the step before: {same} of the steps",
        f"deflated Sharpe ratio: {deflated} on {len(found.returns)} days{before}",
        f"probability of overfitting in training: {overfit} (mean of the steps; 0.5 is chance)",
        *fitted,
    ]


def best_words(best: "Outcome", objective: str) -> str:
    """Say how good the best trial so far is."""
    return f"best {objective} {number_text(best.figures.get(objective.removeprefix('-')))}"


def number_text(value: object) -> str:
    """Write a figure with four digits; ``-`` if it is not defined."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"
