"""What holds for every notifier, against a receiver on this machine."""

import base64
import hashlib
import hmac
import http.server
import json
import logging
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.notify import EVENTS, NOTIFIERS, Event, NotDelivered, Notifier, notify
from tasks.notify.notifiers.slack import message
from tasks.notify.settings import Hook
from tasks.settings import Settings
from tests.examples import EXAMPLES

HOSTILE = "<!channel> <script>x</script> [free](http://evil.example) `code` @here\x1b[2J\n*bold*"

every_notifier = pytest.mark.parametrize("notifier", list(NOTIFIERS), ids=lambda item: item.name)


class Receiver:
    """A receiver that answers the given statuses one after another, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.url = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.taken.append(({name.lower(): v for name, v in self.headers.items()}, body))
            status = found.statuses.pop(0) if found.statuses else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/secret-path"
        yield found
        server.shutdown()


def event(name: Any = "waiting", **values: Any) -> Event:
    return Event(event=name, model="tiny", version=3, page="http://here/v3", **values)


@every_notifier
def test_it_says_what_it_is(notifier: Notifier) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", notifier.name)
    assert notifier.meaning.endswith(".")


@every_notifier
@pytest.mark.parametrize("name", EVENTS)
def test_every_event_arrives_as_json(notifier: Notifier, name: str, receiver: Receiver) -> None:
    notifier.send(event(name, by=HOSTILE), Hook(url=receiver.url, kind=notifier.name), 5)
    ((headers, body),) = receiver.taken
    assert headers["content-type"] == "application/json"
    assert "tiny version 3" in json.loads(body)["text"]


@every_notifier
def test_a_receiver_that_fails_first_is_told_once_with_one_id(
    notifier: Notifier, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", "whsec_" + base64.b64encode(b"a key").decode())
    receiver.statuses = [503, 429]
    hook = Hook(url=receiver.url, kind=notifier.name, secret="HOOK_KEY")
    notifier.send(event(), hook, 10)
    assert len(receiver.taken) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1
    for headers, body in receiver.taken:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(b"a key", signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


@every_notifier
@pytest.mark.parametrize("statuses", [[400], [302], [500] * 9])
def test_one_that_refuses_is_given_up_in_time(
    notifier: Notifier, receiver: Receiver, statuses: list[int]
) -> None:
    receiver.statuses = list(statuses)
    started = time.monotonic()
    with pytest.raises(NotDelivered) as raised:
        notifier.send(event(), Hook(url=receiver.url, kind=notifier.name), 1.5)
    assert time.monotonic() - started < 3
    assert len(receiver.taken) == (1 if len(statuses) == 1 else 2)
    assert "secret-path" not in str(raised.value)


def test_nothing_that_happens_to_a_receiver_stops_anything(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = [
        {"url": "http://127.0.0.1:9/closed-path"},
        {"url": "env:NO_SUCH_VARIABLE"},
        {"url": receiver.url, "secret": "NO_SUCH_VARIABLE"},
        {"url": receiver.url, "events": ["decided"]},
        {"url": receiver.url, "events": ["waiting"]},
    ]
    settings = Settings.model_validate({"notify": {"hooks": hooks, "timeout_seconds": 0.6}})
    with caplog.at_level(logging.WARNING, "tasks"):
        notify(settings, event())
    assert len(receiver.taken) == 1
    assert len(caplog.records) == 3
    assert "NO_SUCH_VARIABLE of notify is not set" in caplog.text
    assert "closed-path" not in caplog.text


def test_a_message_for_people_obeys_nothing_that_others_wrote() -> None:
    text = message(event("decided", action="approve", by=HOSTILE, comment=HOSTILE, form="http://f"))
    first, by, comment, *links = text.splitlines()
    assert first == "tiny version 3: approve."
    assert links == ["Decide: http://f", "Evidence: http://here/v3"]
    for line in (by, comment):
        _, opening, rest = line.partition("`")
        assert opening and rest.endswith("`") and "`" not in rest[:-1]
        assert not set("<>\x1b") & set(line)


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_no_text_leaves_its_code_span(by: str, comment: str) -> None:
    lines = message(event("decided", action="reject", by=by, comment=comment)).split("\n")
    told = [line for line in lines if line.startswith(("by: ", "comment: "))]
    assert len(told) == bool(by) + bool(comment)
    assert len(lines) == 2 + len(told)
    assert all(line.count("`") == 2 and line.endswith("`") for line in told)
    shown = "".join(lines).replace("\u200c", "").replace("\u200d", "")
    assert not [sign for sign in shown if unicodedata.category(sign).startswith("C")]


def test_the_example_for_contributors_works(receiver: Receiver) -> None:
    namespace: dict[str, Any] = {"__name__": "pager"}
    exec(EXAMPLES["pager.py"], namespace)
    namespace["Pager"]().send(event(form="http://f"), Hook(url=receiver.url), 5)
    told = json.loads(receiver.taken[0][1])
    assert told == {"title": event().sentence, "link": "http://f"}
    assert NOTIFIERS.get("pager").meaning.endswith(".")
