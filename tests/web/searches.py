"""An invented sweep for the tests of its page: 60 trials, the objective known in advance."""

from collections.abc import Sequence

from bot.web.search.data import Axis, Head, Objective, SweepData, Told, Trial


def head(axes: Sequence[Axis], *, objective: str = "sharpe", is_small: bool = False) -> Head:
    return Head(
        strategy="my<b>rule",
        symbols=["BTCUSDT"],
        from_ms=0,
        to_ms=86_400_000,
        axes=axes,
        objective=Objective(name=objective, is_small=is_small),
        verdict="Best of 60 trials.",
        judgement=[Told(name="Deflated Sharpe ratio", value="0.533", meaning="This may be luck.")],
        origin=[("Results", "abc")],
        files=[],
    )


def trial(number: int, value: float | None, state: str = "whole", **params: str) -> Trial:
    return Trial(
        number=number,
        params=params,
        figures={"sharpe": value, "total_return": value and value / 10},
        state=state,  # type: ignore[arg-type]
        ended="" if state == "whole" else "why<",
    )


def sweep() -> SweepData:
    """Trial ``6 i + j`` has fast ``i``, slow ``10 j`` and Sharpe ``i − j``; the last is without a result."""
    axes = [
        Axis.ordered("fast", [str(i) for i in range(10)]),
        Axis.ordered("slow", [str(10 * j) for j in range(6)]),
        Axis.ordered("fixed", ["x"]),
    ]
    made = [
        trial(
            6 * i + j, float(i - j), "halted" if i == 3 else "whole", fast=str(i), slow=str(10 * j), fixed="x"
        )
        for i in range(10)
        for j in range(6)
    ]
    made[-1] = trial(59, None, "failed", fast="9", slow="50", fixed="x")
    ranked = sorted(made[:-1], key=lambda each: -(each.figures["sharpe"] or 0.0))
    return SweepData(head=head(axes), trials=[*ranked, made[-1]], best=ranked[0].number)
