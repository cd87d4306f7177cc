"""Rows of the event list say in words what happened."""

import pytest

from bot.domain.messages import LINES, Line, LinkDown, LinkUp, RiskChanged
from bot.journal.entries import Effects
from bot.journal.rows import rows_of


@pytest.mark.parametrize("line", Line)
def test_a_line_is_told_in_words_when_it_goes_and_when_it_comes(line: Line) -> None:
    (down,), (up,) = rows_of(LinkDown(1, line)), rows_of(LinkUp(2, line))
    assert (down[2:4], up[2:4]) == (("line_down", LINES[line][0]), ("line_up", LINES[line][1]))
    assert line.value not in (down[3], up[3])
    usual = line in (Line.START, Line.STOPPING)  # each run begins and ends so
    assert (down[1], up[1]) == ("info" if usual else "warning", "info")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("link_down: start", "the bot is starting (link_down: start)"),
        ("drawdown", "drawdown"),
        ("", "nothing holds entries back"),
    ],
)
def test_a_move_of_the_breaker_is_told_in_words(reason: str, words: str) -> None:
    (row,) = rows_of(Effects((RiskChanged(1, "reducing", reason),)))
    assert row[3] == words
