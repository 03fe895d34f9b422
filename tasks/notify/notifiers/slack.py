"""A message for people, as Slack's incoming webhooks take it; Mattermost and others do, too."""

from tasks.notify.delivery import post
from tasks.notify.events import Event
from tasks.notify.notifiers import NOTIFIERS
from tasks.notify.settings import Hook
from tasks.rendering.markdown import clip, one_line

_LONGEST = 500


@NOTIFIERS.register
class Slack:
    """A text with links; names and comments are shown literally."""

    name = "slack"
    meaning = "A text with links, for a channel of Slack, Mattermost or the like."

    def send(self, event: Event, hook: Hook, seconds: float) -> None:
        """Post the message."""
        post(hook, {"text": message(event)}, seconds)


def message(event: Event) -> str:
    """The text: our own sentence and links, and what others wrote in code spans.

    In a code span neither markup nor a link nor a mention is obeyed, by Slack and Mattermost alike.
    """
    lines = [_plain(event.sentence)]
    told = {"by": event.by, "comment": event.comment, "reason": event.reason}
    lines += [f"{name}: {_literal(value)}" for name, value in told.items() if value]
    lines += [_literal(problem) for problem in event.problems[:5]]
    if event.form:
        lines.append(f"Decide: {event.form}")
    if event.page:
        lines.append(f"Evidence: {event.page}")
    return "\n".join(lines)


def _literal(value: str) -> str:
    return f"`{_plain(clip(one_line(value), _LONGEST)).replace('`', 'ˋ')}`"


def _plain(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
