import base64
import io
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.logs import REDACTED, Redactor, make_logger

CANARY = "cAn4ry/s3cret+'x\"=="


def hiding(secret: str = CANARY) -> Redactor:
    redactor = Redactor()
    redactor.hide(secret)
    return redactor


@pytest.mark.fault(83)
@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        json.dumps(CANARY),
        repr(CANARY),
        base64.b64encode(CANARY.encode()).decode(),
        base64.urlsafe_b64encode(CANARY.encode()).decode(),
    ],
)
def test_a_secret_is_taken_out_in_every_form(form: str) -> None:
    assert hiding()(f"before {form} after").startswith("before ")
    assert REDACTED in hiding()(f"before {form} after")
    assert "cAn4ry" not in hiding()(f"before {form} after")


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_secret_inside_a_longer_base64_text_is_taken_out(before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + CANARY.encode() + after).decode()
    shown = hiding()(text)
    assert REDACTED in shown
    # What is left decodes to no run of the secret longer than the bytes it shares with its neighbours.
    assert len(shown.replace(REDACTED, "")) <= len(text) - len(base64.b64encode(CANARY.encode())) + 8


def test_other_text_is_left_alone() -> None:
    assert hiding()("an ordinary line") == "an ordinary line"
    assert Redactor()(CANARY) == CANARY


@pytest.mark.parametrize("form", ["console", "json"])
def test_the_log_shows_no_secret_whatever_holds_it(form: str) -> None:
    stream = io.StringIO()
    log = make_logger(hiding(), form=form, stream=stream)  # type: ignore[arg-type]
    log.info(f"key {CANARY}", key=CANARY, nested={"a": [CANARY]}, raw=CANARY.encode())
    try:
        raise ValueError(CANARY)
    except ValueError:
        log.exception("failed")
    assert "cAn4ry" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) >= 5


def test_a_json_line_has_the_event_and_its_keys() -> None:
    stream = io.StringIO()
    make_logger(Redactor(), stream=stream).info("bars_fetched", bars=1000, symbol="BTCUSDT")
    fact = json.loads(stream.getvalue())
    assert (fact["event"], fact["bars"], fact["symbol"], fact["level"]) == (
        "bars_fetched",
        1000,
        "BTCUSDT",
        "info",
    )
    assert fact["timestamp"].endswith("Z")


@pytest.mark.surface("logs")
@pytest.mark.parametrize("form", ["console", "json"])
def test_a_text_from_outside_cannot_forge_a_log_line(form: str) -> None:
    stream = io.StringIO()
    log = make_logger(Redactor(), form=form, stream=stream)  # type: ignore[arg-type]
    log.info("symbol\nseen", symbol="A\nERROR fake\x1b[31m\u2028\x9b")
    assert stream.getvalue().count("\n") == 1
    assert not {"\x1b", "\x9b", "\u2028"} & set(stream.getvalue())


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    log = make_logger(Redactor(), level="warning", stream=stream)
    log.info("hidden")
    log.warning("shown")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["shown"]


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed file")]
)
def test_a_log_that_cannot_be_written_never_stops_the_program(error: Exception) -> None:
    make_logger(Redactor(), stream=Broken(error)).error("nobody_hears")


def test_a_moment_is_written_in_words_beside_its_milliseconds_and_a_span_is_not() -> None:
    stream = io.StringIO()
    make_logger(Redactor(), form="json", stream=stream).info(
        "close", bar_ms=1_735_689_900_000, late_ms=12_000
    )
    line = json.loads(stream.getvalue())
    assert line["bar_utc"] == "2025-01-01 00:05:00"
    assert (line["bar_ms"], "late_utc" in line) == (1_735_689_900_000, False)


def test_on_a_terminal_a_line_with_words_says_them_and_what_to_do_and_as_json_it_keeps_its_facts() -> None:
    shown, kept = io.StringIO(), list[str]()
    log = make_logger(Redactor(), form="console", stream=shown, also=kept.append)
    log.error(
        "halted", words="drawdown: 0.21\x1b[2J, limit 0.2", do="`bot unhalt`", cause="drawdown", equity=1
    )
    line = shown.getvalue()
    assert "halted: drawdown: 0.21\\x1b[2J, limit 0.2" in line
    assert "do=" in line
    assert "cause" not in line
    assert json.loads(kept[0])["cause"] == "drawdown"


def test_a_line_of_json_shows_letters_of_any_script_and_stays_one_line() -> None:
    stream, copied = io.StringIO(), list[str]()
    log = make_logger(Redactor(), form="json", stream=stream, also=copied.append)
    said = "币安人生USDT\u2028\x9b2J\ud800\U000e0001\n"
    log.info("close", symbol=said)
    for line in (stream.getvalue(), copied[0]):
        assert "币安人生USDT" in line
        assert len(line.splitlines()) == 1
        assert line[:-1].isprintable()
        assert json.loads(line)["symbol"] == said


def test_a_secret_with_letters_of_another_script_and_a_quote_is_taken_out_of_json() -> None:
    stream = io.StringIO()
    make_logger(hiding('geheim"ß密码12'), form="json", stream=stream).info("x", key='geheim"ß密码12')
    assert json.loads(stream.getvalue())["key"] == REDACTED
