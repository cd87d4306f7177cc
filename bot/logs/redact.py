"""Takes secrets out of texts, in every form that a text may hold them."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 8
"""Shortest secret that can be hidden. A shorter one would hide ordinary words; settings refuse it."""


class Redactor:
    """Replaces known secrets in text, also in their JSON-escaped, url-encoded and base64 forms."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        for secret in secrets:
            self.hide(secret)

    def hide(self, secret: str) -> None:
        """Hide ``secret`` in every text that passes through this redactor from now on."""
        assert len(secret) >= MIN_SECRET_CHARS, "settings refuse a secret this short"
        forms = {*self._forms, *_forms_of(secret)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return ``text`` with the secrets replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text


def _forms_of(secret: str) -> set[str]:
    raw = secret.encode()
    written = {secret, repr(secret)[1:-1], repr(raw)[2:-1]}
    forms = written | {json.dumps(t, ensure_ascii=a)[1:-1] for t in written for a in (True, False)}
    forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for shift in range(3):
        # In the base64 of a longer text ("key:secret") the secret starts at one of three bit offsets. The
        # characters that also hold bits of the neighbouring bytes are cut off.
        cut = slice(-(-8 * shift // 6), 8 * (shift + len(raw)) // 6)
        padded = bytes(shift) + raw
        forms |= {base64.b64encode(padded).decode()[cut], base64.urlsafe_b64encode(padded).decode()[cut]}
    return forms | {form.replace("/", "\\/") for form in forms}  # a slash of JSON may be escaped
