"""What a person in a browser reads who is not let in: what happened, and what to do about it.

Programs are told the same as JSON. The document loads the page's own styles and theme and nothing else, so it
fits the policy that every answer carries.
"""

import re
from collections.abc import Mapping
from html import escape

TITLES: Mapping[int, str] = {
    401: "This page opens with a link",
    403: "Refused",
    404: "There is nothing here",
    429: "Too many wrong tries",
}
"""Status → heading; every other status is just named."""
_LINK = (
    "<p>The page shows your account and can steer the bot, so it opens only with a link that carries its "
    "token.</p>"
    "<ol>"
    "<li>On the machine of the bot, run <code>bot web --link</code>; add the <code>-c FILE</code> with which "
    "you start the bot, if any. It prints a link that opens this page once.</li>"
    "<li>A bot that starts with <code>bot run --web-port</code> also says such a link: in its log, the line "
    "<code>web</code>. <code>bot web</code> prints one as its first line.</li>"
    '<li>You have opened a link in this browser before? <a href="/">Open the page again.</a></li>'
    "</ol>"
)
_BACK = '<p><a href="/">To the first page</a></p>'


def is_for_a_person(path: str, headers: Mapping[str, str]) -> bool:
    """Return True if a person reads the answer: the first page, or whatever a browser navigates to."""
    return path == "/" or "text/html" in headers.get("Accept", "")


def document(status: int, words: str) -> str:
    """Return the document that says why a request was not answered, and what to do."""
    title = TITLES.get(status, f"Not answered ({status})")
    more = _LINK if status == 401 else _BACK
    said = re.sub("`([^`]+)`", r"<code>\1</code>", escape(f"{words[:1].upper()}{words[1:]}."))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} · bot</title>\n"
        '<link rel="icon" href="/static/icon.svg">\n<link rel="stylesheet" href="/static/look.css">\n'
        '<link rel="stylesheet" href="/static/page.css">\n'
        '<script src="/static/js/theme.js"></script>\n</head>\n'
        '<body class="stranger">\n<main>\n'
        f'<p class="home"><img src="/static/icon.svg" alt="" width="22" height="22"> bot</p>\n'
        f'<h1>{title}</h1>\n<p class="soft">{said}</p>\n{more}\n</main>\n</body>\n</html>\n'
    )
