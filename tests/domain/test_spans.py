import pytest

from bot.domain.spans import span_with_ms, span_words


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [
        (-5, "0 ms"),
        (250, "250 ms"),
        (30_000, "30 s"),
        (90_500, "1 min 30 s"),
        (3_600_000, "1 h"),
        (3_605_000, "1 h"),
        (11_520_000, "3 h 12 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(span_ms: int, words: str) -> None:
    assert span_words(span_ms) == words


def test_a_span_beside_its_milliseconds() -> None:
    assert span_with_ms(30_000) == "30 s (30000 ms)"
    assert span_with_ms(250) == "250 ms"
