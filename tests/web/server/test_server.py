"""The routes: who is let in, what each answer carries, and what becomes of wrong requests."""

from pathlib import Path

import aiohttp
import pytest

from bot.web.server.access import TRIES_MAX
from bot.web.server.server import HEADERS
from tests.web.page import Page as Document
from tests.web.server.bench import Page, serving, trading

READING = ("api/status", "api/stream", "api/symbols", "api/trades", "api/export/fills.csv", "api/model")


async def strange(page: Page, path: str, method: str = "GET", **more: object) -> tuple[int, str]:
    """What one without a token is told."""
    async with aiohttp.ClientSession() as client:
        answer = await client.request(method, page.server.url + path, allow_redirects=False, **more)  # type: ignore[arg-type]
        return answer.status, await answer.text()


@pytest.mark.surface("http")
async def test_without_a_token_nothing_is_told_but_that_it_lives(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        for path in ("", *READING):
            assert (await strange(page, path))[0] == 401
        assert (await strange(page, "api/kill", "POST", json={"confirm": "kill"}))[0] == 401
        assert (await strange(page, "healthz")) == (200, "ok\n")
        assert (await strange(page, "readyz")) == (503, "down\n")
        assert (await strange(page, "metrics"))[0] == 200


@pytest.mark.surface("http")
@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("", 401, "bot web --link"),
        ("?token=wrong", 401, "used already"),
        ("reports/demo/demo.html", 401, "in its log, the line  web"),
        ("api/export/fills.csv", 401, "This page opens with a link"),
    ],
)
async def test_a_person_without_a_token_reads_what_to_do(
    path: str, status: int, says: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as page, aiohttp.ClientSession() as browser:
        asks = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"} if path else {}
        async with browser.get(page.server.url + path, headers=asks, allow_redirects=False) as answer:
            assert (answer.status, answer.content_type) == (status, "text/html")
            assert HEADERS.items() <= dict(answer.headers).items()
            said = Document(await answer.text())
        assert says in said.text
        for _, attributes in said.tags:  # the policy allows nothing inline
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)


@pytest.mark.surface("http")
async def test_what_a_person_asked_for_stays_a_text_in_the_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        asks = {"Accept": "text/html", "Host": "<script>alert(1)</script>"}
        status, text = await strange(page, "", headers=asks)
        assert status == 403
        assert "<script>alert" not in text
        assert "Refused" in Document(text).text


@pytest.mark.surface("http")
async def test_beyond_this_machine_metrics_need_the_token(tmp_path: Path) -> None:
    async with serving(tmp_path, host="0.0.0.0") as page:
        assert (await strange(page, "metrics"))[0] == 401
        bearer = {"Authorization": f"Bearer {page.client.headers['X-Bot-Token']}"}
        assert (await strange(page, "metrics", headers=bearer))[0] == 200


@pytest.mark.surface("http")
async def test_a_link_becomes_a_cookie_that_no_script_and_no_other_page_has(tmp_path: Path) -> None:
    async with serving(tmp_path) as page, aiohttp.ClientSession() as browser:
        link = page.server.link()
        first = await browser.get(link, allow_redirects=False)
        assert (first.status, first.headers["Location"]) == (303, "/")
        cookie = first.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
        name, _, value = cookie.split(";")[0].partition("=")
        kept = {"Cookie": f"{name}={value}"}
        assert (await strange(page, "api/status", headers=kept))[0] == 200
        assert (await strange(page, "?token=whatever", headers=kept))[0] == 303  # a bookmarked link
        status, words = await strange(page, link.removeprefix(page.server.url))
        assert status == 401
        assert "used already" in words


@pytest.mark.surface("http")
async def test_another_page_is_refused_whatever_it_sends(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        for wrong in (
            {"Origin": "https://evil.example"},
            {"Host": "evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            status, words = await page.refused("POST", "api/kill", json={"confirm": "kill"}, headers=wrong)
            assert status == 403
            assert words.startswith("refused")
        own = {"Origin": page.server.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        assert (await page.get("api/status", **own))["daemon"] == "down"


@pytest.mark.surface("http")
async def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        guess = {"X-Bot-Token": "guess"}
        codes = [(await strange(page, "api/status", headers=guess))[0] for _ in range(TRIES_MAX + 2)]
        assert codes[: TRIES_MAX - 1] == [401] * (TRIES_MAX - 1)
        assert codes[-1] == 429


@pytest.mark.surface("http")
async def test_every_answer_carries_the_headers_that_keep_a_page_safe(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        for path in ("healthz", "api/status", "api/nothing", "static/nothing.js", "metrics"):
            async with page.client.get(page.server.url + path) as answer:
                assert HEADERS.items() <= dict(answer.headers).items()
        async with page.client.get(page.server.url + "api/stream") as answer:
            assert HEADERS.items() <= dict(answer.headers).items()
        policy = HEADERS["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy


@pytest.mark.surface("http")
@pytest.mark.parametrize(
    "name",
    ["../report.css", "%2e%2e/report.css", "js/..%2f..%2freport.js", "/etc/hosts", "%2fetc%2fx.txt", ""],
)
async def test_files_outside_the_page_are_not_served(name: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        status, _ = await page.refused("GET", f"static/{name}")
        assert status == 404


@pytest.mark.surface("http")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("api/trades?limit=0", "limit must be a number from 1 to 5000, was '0'"),
        ("api/trades?limit=x", "limit must be"),
        ("api/events?level=loud", "level must be one of info, warning, error"),
        ("api/events?before=-1", "before must be"),
        ("api/equity?points=99999999999999999999", "points must be"),
        ("api/candles?symbol=BTCUSDT&limit=٣", "limit must be"),
    ],
)
async def test_a_wrong_question_is_named(path: str, said: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        status, words = await page.refused("GET", path)
        assert status == 400
        assert said in words


@pytest.mark.surface("http")
async def test_a_directory_without_a_journal_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as page:
        status, words = await page.refused("GET", "api/trades")
        assert (status, "no journal yet" in words) == (409, True)
        async with page.stream() as stream:
            await stream.next("status", lambda told: "no journal yet" in (told["journal_trouble"] or ""))


@pytest.mark.surface("http")
async def test_texts_of_others_stay_texts(tmp_path: Path) -> None:
    async with trading(tmp_path), serving(tmp_path) as page:
        answer = await page.client.get(page.server.url + "api/events?kind=<script>alert(1)</script>")
        assert answer.content_type == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert await answer.json() == {"rows": [], "more": False}


@pytest.mark.surface("http")
async def test_a_report_is_served_in_a_sandbox_and_nothing_else_of_the_directory_is(tmp_path: Path) -> None:
    for folder in ("reports", "demo"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.html").write_text("<script>1</script>")
    (tmp_path / "demo" / "demo.html").write_text("<title>ema_cross on B&amp;Q</title><script>1</script>")
    (tmp_path / "reports" / "secret.txt").write_text("x")
    (tmp_path / "reports" / "link.html").symlink_to(tmp_path / "web-token")
    (tmp_path / "web-token").write_text("secret")
    async with serving(tmp_path) as page:
        told = await page.get("api/reports")
        names = {row["name"] for row in told}
        assert names == {"reports", "ema_cross on B&Q"}  # the title of a report, or its file
        paths = {row["path"] for row in told}
        assert paths == {"/reports/reports/reports.html", "/reports/demo/demo.html"}
        async with page.client.get(page.server.url + "reports/demo/demo.html") as answer:
            assert (await answer.text()).endswith("<script>1</script>")
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("sandbox allow-scripts")
            assert "allow-same-origin" not in policy
            assert "default-src 'none'" in policy
        for wrong in (
            "reports/secret.txt",
            "reports/link.html",
            "..%2fweb-token/x.html",
            "reports/..%2f..%2fx.html",
        ):
            assert (await page.refused("GET", f"reports/{wrong}"))[0] == 404
        assert (await strange(page, "reports/demo/demo.html"))[0] == 401
