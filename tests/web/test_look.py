"""The live page and a report look alike: every colour stands once, in ``look.css``."""

import re
from importlib.resources import files

import pytest

PAGE = files("bot.web").joinpath("page")
LOOK = PAGE.joinpath("look.css").read_text("utf-8")
STYLES = {
    "page.css": PAGE.joinpath("page.css").read_text("utf-8"),
    "report.css": files("bot.web").joinpath("report.css").read_text("utf-8"),
}


@pytest.mark.parametrize("name", STYLES)
def test_a_style_sheet_names_no_colour_of_its_own(name: str):
    assert re.findall(r"#[0-9a-f]{6}\b|#[0-9a-f]{3}\b|rgba?\(|hsl", STYLES[name]) == []


@pytest.mark.parametrize("name", STYLES)
def test_a_style_sheet_uses_only_variables_that_exist(name: str):
    known = set(re.findall(r"(--[a-z-]+):", LOOK)) | {"--tint"}  # a cell of the report sets its own tint
    assert set(re.findall(r"var\((--[a-z-]+)", STYLES[name])) - known == set()


def test_each_colour_has_a_light_and_a_dark_side():
    colours = re.findall(r"--[a-z-]+: (.*#.*);", LOOK)
    assert len(colours) > 10
    assert [
        each for each in colours if not re.fullmatch(r"light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\)", each)
    ] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_what_it_is_written_on(theme: str):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for texts."""
    texts, grounds = ("ink", "soft", "gain", "loss", "ok", "halt", "hint"), ("card", "paper")
    pairs = [(text, ground) for text in texts for ground in grounds] + [
        ("hint", "hint-card"),
        ("halt", "halt-card"),
    ]
    poor = {pair: round(contrast(*(colour(name, theme) for name in pair)), 2) for pair in pairs}
    assert {pair: value for pair, value in poor.items() if value < 4.5} == {}


def colour(name: str, theme: str) -> str:
    sides = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", LOOK)
    assert sides is not None, name
    return sides[1 if theme == "light" else 2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour_: str) -> float:
    parts = [int(colour_[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
