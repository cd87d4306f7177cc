"""One address of apprise: what arrives, and what is said about one that does not answer, without secrets."""

import asyncio
import base64
import io
import logging

import pytest

from bot.adapters.notify.service import Hider, Picture, Service
from bot.domain.addresses import Address
from bot.domain.errors import BadSettings
from tests.service.notify.receiver import Receiver

TOKEN = "canaryTok3n"
WORDS = "<b>10001</b> & *qty* _invalid_"


async def test_a_message_arrives_as_it_was_written_with_its_level_and_picture() -> None:
    async with Receiver() as hook:
        service = Service(Address.of(hook.url))
        picture = Picture(b"\x89PNG", "equity.png")
        assert await asyncio.to_thread(service.send, "halted", WORDS, "error", picture) is None
    (message,) = hook.messages
    assert (message["title"], message["message"], message["type"]) == ("halted", WORDS, "failure")
    (attached,) = message["attachments"]
    assert base64.b64decode(attached["base64"]) == b"\x89PNG"
    assert attached["filename"] == "equity.png"


@pytest.mark.parametrize(("status", "said"), [(401, "401"), (500, "500")])
async def test_a_refusal_says_why_without_the_answers_or_the_addresss_secrets(status: int, said: str) -> None:
    async with Receiver() as hook:
        hook.status = status
        service = Service(Address.of(hook.url))
        why = await asyncio.to_thread(service.send, "t", "b", "info")
    assert why is not None
    assert said in why
    assert "canary" not in why


ADDRESSES = [
    f"json://user-canary:{TOKEN}@127.0.0.1:9/path-{TOKEN}?+X-Key={TOKEN}",
    f"ntfy://user-canary:{TOKEN}@127.0.0.1:9/canary-topic",
    f"mailto://canary:{TOKEN}@localhost:9?from=canary@canary.example&smtp=127.0.0.1",
    f"matrix://canary:{TOKEN}@127.0.0.1:9/canary-room",
]
"""Services that can be told to go to this machine, where nobody listens."""


@pytest.mark.parametrize("url", ADDRESSES, ids=lambda url: url.partition(":")[0])
def test_no_error_names_a_secret_and_apprise_logs_nowhere_else(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = io.StringIO()
    handler = logging.StreamHandler(elsewhere)
    logging.getLogger().addHandler(handler)
    try:
        said = Service(Address.of(url)).send("t", "b", "error")
    finally:
        logging.getLogger().removeHandler(handler)
    assert said
    assert "onnection" in said
    assert "canary" not in said
    assert elsewhere.getvalue() + "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    ("url", "requested"),
    [
        (
            f"tgram://123456789:{TOKEN}_abc/-100{TOKEN}",
            f"https://api.telegram.org/bot123456789:{TOKEN}_abc/send",
        ),
        (f"discord://{TOKEN}1/{TOKEN}2abc", f"https://discord.com/api/webhooks/{TOKEN}1/{TOKEN}2abc"),
        (f"ntfy://{TOKEN}", f"https://ntfy.sh/{TOKEN}"),
        (
            f"slack://{TOKEN}A/B{TOKEN}/C{TOKEN}",
            f"https://hooks.slack.com/services/{TOKEN}A/B{TOKEN}/C{TOKEN}",
        ),
    ],
)
def test_a_token_in_a_services_own_url_is_taken_out_of_what_its_errors_say(url: str, requested: str) -> None:
    said = Hider(Address.of(url))(f"Max retries exceeded with url: {requested} ('{TOKEN[:0]}timed out')")
    assert "canary" not in said
    assert said.endswith("('timed out')")


def test_every_part_of_an_address_is_taken_out_of_a_text_and_a_hosts_name_is_not() -> None:
    hide = Hider(Address.of(f"json://me:pass@hook.example:8443/a/{TOKEN}?key=se%2Fcret7"))
    text = f"json://me:pass@hook.example:8443/a/{TOKEN}?key=se%2Fcret7 pass se/cret7 passing hook.example"
    assert hide(text).split(" ", 1)[1] == "[redacted] [redacted] passing hook.example"


@pytest.mark.parametrize("url", ["nosuch://canary-secret", "tgram://canary-secret"])
def test_an_address_that_apprise_does_not_know_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadSettings, match="appriseit") as caught:
        Service(Address.of(url))
    assert "canary" not in str(caught.value)
