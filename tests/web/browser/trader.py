"""A strategy that always has something to show: it is long at every second close, with a stop."""

from typing import ClassVar

from bot.strategy import Target, View


class InAndOut:
    """Enters when flat, leaves when long; asks for forecasts so that the page has a model to show."""

    needs_forecast: ClassVar[bool] = True

    def __init__(self, leverage: float = 0.2) -> None:
        self.leverage = leverage

    def on_bar(self, view: View) -> Target | None:
        if view.position:
            return Target(0.0, reason="the turn of the test is over")
        return Target(
            view.worth(self.leverage), reason="it is the test's turn", stop_loss=0.9 * view.bar.close
        )
