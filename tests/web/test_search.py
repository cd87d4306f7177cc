"""The page of a search: its maps and lines show the trials, and the judgement comes before them."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from bot.web.search.data import Axis, Halves, SweepData
from bot.web.search.drawings import DOTS_MAX, LINES_MAX, halves_chart, parallel
from bot.web.search.maps import GROUPS_MAX, heat_maps, searched
from bot.web.search.pages import render_sweep, trial_rows
from tests.web.searches import head, sweep, trial


def test_the_judgement_stands_before_maps_lines_and_trials_and_texts_are_escaped() -> None:
    page = render_sweep(sweep())
    parts = ["Deflated Sharpe ratio", "Heat maps", "Parallel coordinates", "All trials", "To run it again"]
    assert [page.index(f">{part}") for part in parts] == sorted(page.index(f">{part}") for part in parts)
    assert "my&lt;b&gt;rule" in page
    assert "why<" not in page
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import", page)


def test_a_cell_is_the_median_of_its_trials_and_the_best_trial_is_outlined() -> None:
    one = trial(100, 7.0, fast="1", slow="0", fixed="x")  # beside Sharpe 1 of trial 6
    data = sweep()
    (found,) = heat_maps(replace(data, trials=[one, *data.trials], best=100))
    assert (found.down, found.across) == ("slow", "fast")  # the shorter one goes down
    assert found.heads == [str(i) for i in range(10)]
    first = found.rows[0][1]
    assert (first[1].text, first[1].meaning) == ("4.00", "2 trials: 1.00 to 7.00")
    assert [cell.text for cell in found.rows[1][1]] == [f"{i - 1:.2f}".replace("-", "−") for i in range(10)]
    outlined = [cell for _, cells in found.rows for cell in cells if "best" in cell.style]
    assert outlined == [first[1]]
    assert found.rows[-1][1][-1].text == ""  # it has no result


def test_colours_follow_the_sign_and_without_one_how_good_a_value_is() -> None:
    (found,) = heat_maps(sweep())
    cells = [cell for _, row in found.rows for cell in row if cell.text]
    assert all(("loss" in cell.style) == cell.text.startswith("−") for cell in cells)
    axes = [Axis.ordered("n", ["1", "2", "3"])]
    trials = [trial(i, 0.1 * i, n=str(i)) for i in (1, 2, 3)]
    small = SweepData(head=head(axes, is_small=True), trials=trials, best=1)
    (row,) = heat_maps(small)[0].rows
    assert [cell.tint for cell in row[1]] == [70, 39, 8]


def test_a_long_axis_shares_columns_and_numbers_are_in_their_order() -> None:
    axis = Axis.ordered("n", [str(n) for n in range(100, 0, -1)])
    data = SweepData(
        head=head([axis]), trials=[trial(n, float(n), n=str(n)) for n in range(1, 101)], best=100
    )
    (found,) = heat_maps(data)
    assert len(found.heads) <= GROUPS_MAX
    assert (found.heads[0], found.heads[-1]) == ("1 … 7", "99 … 100")
    assert found.rows[0][1][0].text == "4.00"


def test_a_range_has_few_columns_and_the_parameter_that_matters_comes_first() -> None:
    stop = Axis.ordered("stop", [f"{n / 100:g}" for n in range(1_001)], is_range=True)
    idle = Axis.ordered("idle", ["a", "b"])
    trials = [trial(n, float(n // 40), stop=f"{(10 * n + 7) / 100:g}", idle="ab"[n % 2]) for n in range(100)]
    data = SweepData(head=head([idle, stop]), trials=trials, best=99)
    (found,) = heat_maps(data)
    assert (found.down, found.across) == ("idle", "stop")
    assert found.heads == ["0 … 1.99", "2 … 3.99", "4 … 6", "6.01 … 8", "8.01 … 10"]
    assert all(cell.text for _, cells in found.rows for cell in cells)
    assert [axis.name for axis in searched(data)] == ["stop", "idle"]
    rows = json.loads(trial_rows(data).every)["columns"]
    assert [each["choices"] for each in rows if each["name"] == "stop"] == [[]]


def test_of_many_parameters_those_that_move_the_objective_have_maps() -> None:
    names = ["idle", "a", "b", "c", "d"]
    axes = [Axis.ordered(name, ["0", "1"]) for name in names]
    bits = [{name: str(n >> at & 1) for at, name in enumerate(names)} for n in range(32)]
    trials = [
        trial(n, float(sum(v == "1" for k, v in p.items() if k != "idle")), **p) for n, p in enumerate(bits)
    ]
    maps = heat_maps(SweepData(head=head(axes), trials=trials, best=31))
    assert len(maps) == 6
    assert all("idle" not in (each.down, each.across) for each in maps)


def test_every_trial_with_the_objective_is_a_line_and_of_very_many_the_best_and_some() -> None:
    drawn = parallel(sweep())
    assert sorted(map(int, re.findall(r'data-trial="(\d+)"', drawn))) == list(range(59))
    assert drawn.count('class="trial strategy first"') == 1
    assert drawn.count('class="trial drawdown"') == 6  # the halted ones
    axis = Axis.ordered("n", [str(n) for n in range(2_000)])
    many = [trial(n, -float(n), n=str(n)) for n in range(2_000)]
    numbers = [
        int(n)
        for n in re.findall(
            r'data-trial="(\d+)"', parallel(SweepData(head=head([axis]), trials=many, best=0))
        )
    ]
    assert len(set(numbers)) == len(numbers) == LINES_MAX
    assert {0, 50, 1_999} <= set(numbers)


def test_a_dot_is_a_choice_with_its_colour_and_the_note_says_how_often_it_was_worse() -> None:
    inside, outside = np.array([1.0, 2.0, 3.0, math.nan]), np.array([-1.0, 0.5, -0.5, 1.0])
    halves = Halves(inside=inside, outside=outside, is_worse=np.array([True, False, True, True]))
    drawn = halves_chart(halves)
    dots = re.findall(r'<circle class="(\w+)" r="3" cx="([\d.]+)%" cy="([\d.]+)"', drawn)
    assert [style for style, _, _ in dots] == ["drawdown", "strategy", "drawdown"]
    assert [float(x) for _, x, _ in dots] == sorted(float(x) for _, x, _ in dots)
    assert min(dots, key=lambda dot: float(dot[2]))[0] == "strategy"  # the highest
    page = render_sweep(replace(sweep(), halves=halves))
    assert "in 75.00 % of the ways it is in the worse half" in page
    assert "The median Sharpe ratio of a choice is 2.00 where it was chosen, and 0.00 in the other" in page


def test_of_very_many_choices_an_even_part_is_drawn_and_without_a_ratio_none() -> None:
    ways = 12_870
    many = Halves(inside=np.arange(ways) / ways, outside=np.zeros(ways), is_worse=np.zeros(ways, bool))
    drawn = halves_chart(many)
    assert drawn.count("<circle") == DOTS_MAX
    assert "800 of 12,870 choices are drawn" in drawn
    still = np.full(3, math.nan)
    assert halves_chart(Halves(inside=still, outside=still, is_worse=np.ones(3, bool))) == ""


def test_the_table_has_every_trial_with_keys_to_sort_by_and_no_value_is_not_0() -> None:
    rows = trial_rows(sweep())
    told = {each["name"]: each for each in json.loads(rows.every)["columns"]}
    assert rows.count == 60
    assert told["slow"]["key"][0] == 0.0
    assert told["slow"]["choices"] == ["0", "10", "20", "30", "40", "50"]
    assert (told["Sharpe"]["text"][-1], told["Sharpe"]["key"][-1]) == ("–", None)
    assert told["How it ended"]["text"][-1] == "no result"


@pytest.mark.parametrize("objective", ["sharpe", "no such"])
def test_a_search_without_a_result_has_a_page_without_pictures(objective: str) -> None:
    axes = [Axis.ordered("n", ["1", "2"])]
    trials = [trial(i, None, "failed", n=str(i)) for i in (1, 2)]
    page = render_sweep(SweepData(head=head(axes, objective=objective), trials=trials, best=None))
    assert "Heat maps" not in page
    assert "Parallel coordinates" not in page
    assert page.count("no result</td>") == 2
