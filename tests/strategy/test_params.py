from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest

from bot.domain.errors import BadUsage
from bot.strategy import SHIPPED, EmaCross, Target, View, build
from tests.strategy.views import targets


class Momentum:
    """A complete user strategy: no base class, no registration."""

    def __init__(self, bars: int = 3, size: float = 1.0) -> None:
        self.size = size
        self.closes: list[float] = [0.0] * bars

    def on_bar(self, view: View) -> Target | None:
        self.closes = [*self.closes[1:], view.bar.close]
        return Target(self.size if self.closes[-1] > self.closes[0] > 0 else 0.0)


class Everything:
    def __init__(
        self,
        must: str,
        n: int = 1,
        x: float = 1.0,
        on: bool = False,
        mode: Literal["a", "b"] = "a",
        level: Literal[1, 2] = 1,
        cap: float | None = 2.0,
        bare=0.5,
        whole: int | float = 1,
    ) -> None:
        self.got = (must, n, x, on, mode, level, cap, bare)

    def on_bar(self, view: View) -> Target | None:
        return None


class Size(Enum):
    SMALL = "small"


class Rich:
    """Annotations that only msgspec reads, and one that nobody does."""

    def __init__(
        self,
        risk: Decimal = Decimal(1),
        size: Size = Size.SMALL,
        path: Path = Path(),
        word: str = "",
        maybe: str | None = None,
        answer: Literal["yes", "no"] = "yes",
        call: Callable[[], int] | None = None,
    ) -> None:
        self.got = (risk, size, path, word, maybe, answer)

    def on_bar(self, view: View) -> Target | None:
        return None


class Picky:
    def __init__(self, n: int = 1) -> None:
        if n > 1:
            raise ValueError("n is too large")

    def on_bar(self, view: View) -> Target | None:
        return None


def test_a_strategy_of_a_few_lines_works() -> None:
    made = targets(build(Momentum, {"bars": "2", "size": "0.5"}), [100.0, 101.0, 100.0])
    assert [t.qty for t in made] == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_strategy_is_made_without_parameters(name: str) -> None:
    assert callable(build(SHIPPED[name], {}).on_bar)


def test_texts_become_what_the_constructor_says() -> None:
    given = {
        "must": "1",
        "n": "-3",
        "x": "1e-3",
        "on": "True",
        "mode": "b",
        "level": "2",
        "cap": "none",
        "bare": "2",
    }
    assert build(Everything, given).got == ("1", -3, 0.001, True, "b", 2, None, 2.0)
    assert build(Everything, {"must": "x", "on": "no", "cap": "3"}).got == (
        "x",
        1,
        1.0,
        False,
        "a",
        1,
        3.0,
        0.5,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n", "1.5"),
        ("n", "one"),
        ("x", "nan"),
        ("x", "inf"),
        ("x", ""),
        ("on", "maybe"),
        ("mode", "c"),
        ("level", "3"),
        ("cap", "x"),
        ("whole", "none"),
        ("bare", "x"),
    ],
)
def test_a_text_of_the_wrong_kind_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(BadUsage, match=f"Everything: {name} must be .*, was '{text}'"):
        build(Everything, {"must": "1", name: text})


def test_money_choices_and_paths_are_made_too_and_a_word_stays_a_word_where_one_is_asked_for() -> None:
    given = {"risk": "0.10", "size": "small", "path": "a/b", "word": "none", "maybe": "None", "answer": "no"}
    assert build(Rich, given).got == (Decimal("0.10"), Size.SMALL, Path("a/b"), "none", None, "no")
    assert build(Rich, {"word": "yes", "maybe": "1"}).got[3:5] == ("yes", "1")


@pytest.mark.parametrize(("name", "text"), [("risk", "x"), ("size", "large"), ("call", "print")])
def test_what_cannot_be_made_of_a_text_is_one_line(name: str, text: str) -> None:
    with pytest.raises(BadUsage, match=f"^Rich: {name} must be .*, was '{text}'$"):
        build(Rich, {name: text})


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list() -> None:
    with pytest.raises(
        BadUsage, match=r"no parameter fats; did you mean fast\? \(it takes fast, slow, size\)"
    ):
        build(EmaCross, {"fats": "3"})
    with pytest.raises(BadUsage, match=r"Flat has no parameter zzz \(it takes none\)"):
        build(SHIPPED["flat"], {"zzz": "3"})


def test_a_parameter_without_default_must_be_given() -> None:
    with pytest.raises(BadUsage, match="needs --param must="):
        build(Everything, {})


def test_what_the_constructor_refuses_is_a_usage_error() -> None:
    with pytest.raises(BadUsage, match="n is too large"):
        build(Picky, {"n": "2"})
