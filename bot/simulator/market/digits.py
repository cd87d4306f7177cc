"""Numbers in messages: decimal text without an exponent, and integers on the grid of a step."""

from decimal import Decimal


def shortest(value: float) -> str:
    """Return the fewest digits that read back as ``value``: 84045.0 is ``84045``, 1e-05 is ``0.00001``."""
    text = repr(float(value))
    if text.endswith(".0"):
        return text[:-2]
    return format(Decimal(text), "f") if "e" in text else text


def at_least(value: float, places: int) -> str:
    """Return ``value`` with at least ``places`` decimals: ``84594.40``, not ``84594.4``."""
    text = shortest(value)
    whole, _, decimals = text.partition(".")
    return text if len(decimals) > places else f"{whole}.{decimals:0<{places}}" if places else text


class StepGrid:
    """Turns multiples of ``step`` into integers and back without a rounding error.

    A multiple ``n`` has the float ``n × numerator / 10**places``: one division of two exact floats, so it
    is the float nearest to the decimal. ``step`` 0 stands for a grid too fine to matter.
    """

    __slots__ = ("_factor", "_scale", "numerator", "places", "step")

    def __init__(self, step: Decimal) -> None:
        normal = step.normalize() if step else Decimal("1e-8")
        exponent = normal.as_tuple().exponent
        assert isinstance(exponent, int), f"a step must be finite, was {step}"
        self.step = normal
        self.places = max(0, -exponent)
        self.numerator = int(normal.scaleb(self.places))
        self._scale = 10.0**self.places
        self._factor = self._scale / self.numerator

    def nearest(self, value: float) -> int:
        """Return the multiple nearest to ``value``."""
        return round(value * self._factor)

    def below(self, value: float) -> int:
        """Return the largest multiple not above ``value``, with room for a float's last digit."""
        return int(value * self._factor + 1e-6)

    def value(self, multiple: int) -> float:
        """Return the float nearest to that multiple."""
        return multiple * self.numerator / self._scale

    def text(self, multiple: int) -> str:
        """Return the multiple as text with all decimals of the step: ``84017.5``, ``1.770``."""
        if not self.places:
            return str(multiple * self.numerator)
        digits = str(multiple * self.numerator).rjust(self.places + 1, "0")
        return f"{digits[: -self.places]}.{digits[-self.places :]}"

    def decimal(self, multiple: int) -> Decimal:
        """Return the multiple as a ``Decimal``."""
        return multiple * self.step
