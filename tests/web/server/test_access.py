"""Who may use the page, and what becomes of wrong tries."""

import os
from pathlib import Path

import pytest

from bot.domain.errors import BadSettings
from bot.web.server.access import TRIES_MAX, TRIES_WITHIN_S, Access, read_token

TOKEN = "0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def access(now_s: Clock | None = None, **more: bool) -> Access:
    return Access(TOKEN, now_s or Clock(), **more)


class Headers:
    """Headers of a request, one value each."""

    def __init__(self, **values: str) -> None:
        self._values = {name.replace("_", "-"): value for name, value in values.items()}

    def getall(self, key: str, default: list[str], /) -> list[str]:
        return [self._values[key]] if key in self._values else default


def test_a_link_opens_the_page_once() -> None:
    page = access()
    code = page.make_link()
    assert not page.takes_link(code + "x")
    assert page.takes_link(code)
    assert not page.takes_link(code)


def test_only_the_latest_links_are_valid() -> None:
    page = access()
    first, *rest = [page.make_link() for _ in range(9)]
    assert not page.takes_link(first)
    assert page.takes_link(rest[0])


def test_the_cookie_follows_from_the_token_and_is_not_the_token() -> None:
    page = access()
    assert page.cookie == access().cookie != TOKEN
    assert page.cookie != Access(TOKEN + "x", Clock()).cookie
    assert page.cookie_name != Access(TOKEN + "x", Clock()).cookie_name
    assert page.knows_cookie(page.cookie)
    assert not page.knows_cookie(TOKEN)
    assert not page.knows_cookie(None)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (Headers(X_Bot_Token=TOKEN), True),
        (Headers(Authorization=f"Bearer {TOKEN}"), True),
        (Headers(X_Bot_Token=TOKEN[:-1]), False),
        (Headers(X_Bot_Token="é"), False),
        (Headers(Authorization=f"Basic {TOKEN}"), False),
        (Headers(), False),
    ],
)
def test_a_program_sends_the_token_itself(given: Headers, known: bool) -> None:
    assert access().knows_token(given) is known


@pytest.mark.surface("http")
def test_after_ten_wrong_tries_not_even_the_right_token_is_looked_at_for_a_minute() -> None:
    clock = Clock()
    page = access(clock)
    right, code = Headers(X_Bot_Token=TOKEN), page.make_link()
    for _ in range(TRIES_MAX):
        assert page.knows_token(right)
        assert not page.knows_token(Headers(X_Bot_Token="guess"))
    assert page.too_many_tries
    assert not page.knows_token(right)
    assert not page.takes_link(code)
    assert page.knows_cookie(page.cookie)  # whoever is in stays in
    clock.now_s += TRIES_WITHIN_S
    assert page.knows_token(right)
    assert page.takes_link(code)


def test_who_sends_nothing_has_tried_nothing() -> None:
    page = access()
    for _ in range(2 * TRIES_MAX):
        assert not page.knows_token(Headers())
        assert not page.knows_cookie(None)
    assert not page.too_many_tries


@pytest.mark.parametrize(("host", "is_refused"), [("10.1.2.3:80", False), ("evil.example", True)])
def test_a_page_for_all_addresses_is_called_by_an_address(host: str, is_refused: bool) -> None:
    assert (access(any_address=True).refusal(Headers(Host=host)) is not None) is is_refused
    assert access().refusal(Headers(Host=host)) is not None


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "web-token"
    before = os.umask(0)
    try:
        token = read_token(path)
    finally:
        os.umask(before)
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token(path) == token


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (TOKEN, 0o644, "others may read the token; run `chmod 600"),
        ("short", 0o600, "a token has 16 to 512 characters"),
        ("with a blank in it 0123", 0o600, "a token has 16 to 512 characters"),
        ("é" * 20, 0o600, "cannot be read"),
    ],
)
def test_a_token_that_is_none_is_refused(text: str, mode: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(BadSettings, match=said):
        read_token(path)
