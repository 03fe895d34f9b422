"""One delivery over HTTP: signed, tried again, in bounded time.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), so that receivers
have libraries for it: headers `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,BASE64`,
where the last is the HMAC-SHA256 of `ID.TIMESTAMP.BODY`. Attempts share one id: a receiver that has
seen it has seen the event.
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.core.errors import PerpetuneError

if TYPE_CHECKING:
    from tasks.notify.settings import Hook

_FIRST_PAUSE = 0.5  # seconds; doubles
_TRY_AGAIN = (408, 425, 429)


class NotDelivered(PerpetuneError):
    """A receiver could not be told; the message names neither its address's path nor its key."""


def post(hook: "Hook", content: Mapping[str, Any], seconds: float) -> None:
    """Post `content` as JSON, again and again with longer pauses until `seconds` are over.

    What a server refuses for good (a status of 400 to 499, but for 408, 425 and 429) is not tried
    again. Redirections are not followed: the body is for the address that the settings name.

    Raises:
        NotDelivered: the receiver has not taken it, or a variable of the settings is not set.
    """
    url, key = _url(hook), _key(hook)
    body = json.dumps(content, ensure_ascii=False, sort_keys=True).encode(errors="replace")
    delivery, end, pause = f"msg_{uuid.uuid4().hex}", time.monotonic() + seconds, _FIRST_PAUSE
    while True:
        headers = _headers(delivery, body, key)
        problem, final = _attempt(url, body, headers, max(0.1, end - time.monotonic()))
        if not problem:
            return
        if final or time.monotonic() + pause >= end:
            raise NotDelivered(f"{_origin(url)}: {problem}")
        time.sleep(pause)
        pause *= 2


def _attempt(url: str, body: bytes, headers: dict[str, str], seconds: float) -> tuple[str, bool]:
    """What went wrong, empty where nothing did; and whether it would go wrong again."""
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310 (http and https only)
        with _OPENER.open(request, timeout=seconds) as answer:
            return ("", True) if answer.status < 300 else (f"status {answer.status}", True)
    except urllib.error.HTTPError as error:
        refused = error.code < 500 and error.code not in _TRY_AGAIN
        return f"status {error.code}", refused
    except urllib.error.URLError as error:
        return f"cannot be reached ({type(error.reason).__name__})", False
    except (OSError, http.client.HTTPException) as error:
        return f"cannot be reached ({type(error).__name__})", False
    except ValueError:
        return "no address", True


def _headers(delivery: str, body: bytes, key: bytes | None) -> dict[str, str]:
    at = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "perpetune",
        "webhook-id": delivery,
        "webhook-timestamp": at,
    }
    if key is not None:
        signed = hmac.new(key, f"{delivery}.{at}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return headers


def _url(hook: "Hook") -> str:
    if not hook.url.startswith("env:"):
        return hook.url
    url = _variable(hook.url.removeprefix("env:"))
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotDelivered(f"{hook.url}: holds no address that begins with http:// or https://")
    return url


def _key(hook: "Hook") -> bytes | None:
    """The key: raw text, or base64 behind `whsec_` as Standard Webhooks writes it."""
    if hook.secret is None:
        return None
    value = _variable(hook.secret)
    if value.startswith("whsec_"):
        try:
            return base64.b64decode(value.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise NotDelivered(f"{hook.secret}: no base64 behind whsec_") from None
    return value.encode()


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise NotDelivered(f"the environment variable {name} of notify is not set")
    return value


def _origin(url: str) -> str:
    # The path of an address may be all that keeps strangers out.
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}"


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirection)
