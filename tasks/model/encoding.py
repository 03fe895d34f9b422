"""Records as token ids: what the model reads, and which of it is learned.

A chat is rendered by the base model's own template (`tasks.model.decoder`). Each answer of
the assistant is learned after exactly the prompt that generation would see: the same text and the
same tokens (`tasks.model.chat_rendering`). Where the template writes earlier turns otherwise than
they were learned (it takes their reasoning out, say), a chat becomes several examples, one for each
answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from tasks.core.errors import BadInput
from tasks.model.chat_rendering import (
    learned_answers,
    refuse_control_tokens,
    render_prompt,
    with_first_form,
)
from tasks.model.decoder import Codec
from tasks.records import Chat, Record, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.model.tokens import Tokenizer

    AnyTokenizer: TypeAlias = PreTrainedTokenizerBase | Tokenizer


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one record; `learned[i]` says whether token i is a target of the loss.

    `source` is where the record was read first, before any curation.
    """

    id: str
    source: str
    input_ids: tuple[int, ...]
    learned: tuple[bool, ...]
    cut: int = 0
    """Tokens that `max_length` took, of those that are not learned."""
    answer_cut: int = 0
    """Tokens that `max_length` took, of those that are learned."""

    @property
    def targets(self) -> int:
        """Number of tokens that the loss counts; the first token has nothing before it."""
        return sum(self.learned[1:])


def encode(record: Record, tokenizer: "AnyTokenizer", max_length: int | None = None) -> Example:
    """Encode a chat by the base model's template, learning the assistant's turns only, or a text,
    learning all of it.

    Of a chat that becomes several examples (`encode_all`), this is the one with the last answer.
    Beyond `max_length` tokens the beginning of the prompt goes first (its BOS stays), and only then
    the end of the answer. Without an answer to learn, the example is empty.

    Raises:
        BadInput: the record is a preference or has a label, which this objective cannot learn from.
        Unrenderable: the base cannot be given this record without losing some of it.
    """
    codec = Codec.of(tokenizer)
    if isinstance(record, Text):
        return _text(record, codec, max_length)
    drafts = list(_drafts(_chat(record), codec))
    return _finished(record, drafts[-1] if drafts else _Draft(), codec, max_length)


def encode_all(record: Record, tokenizer: "AnyTokenizer", max_length: int) -> list[Example]:
    """Encode all of a record, in as many examples as that takes.

    A chat whose template rewrites earlier turns becomes an example for each answer. Of a text
    longer than `max_length` no token is lost: it is cut into examples of that length. Each begins
    with BOS, where the tokenizer wants it, and the last token of the one before, so that every
    token but the first is learned once.

    Raises:
        BadInput, Unrenderable: as `encode`.
    """
    codec = Codec.of(tokenizer)
    if isinstance(record, Text):
        return _text_parts(_text(record, codec, None), codec, max_length)
    found = [_finished(record, draft, codec, max_length) for draft in _drafts(_chat(record), codec)]
    if len(found) < 2:
        return found or [_finished(record, _Draft(), codec, max_length)]
    return [replace(example, id=f"{record.id}#{i}") for i, example in enumerate(found)]


def encode_prompt(
    record: Record, tokenizer: "AnyTokenizer", max_length: int | None = None
) -> list[int]:
    """Token ids of everything before the last answer, ready for generation.

    Of more than `max_length` tokens the beginning goes, but for BOS.

    Raises:
        BadInput, Unrenderable: as `encode`.
    """
    codec = Codec.of(tokenizer)
    if isinstance(record, Text):
        refuse_control_tokens(record, codec)
        ids = codec.ids(record.text)
    else:
        chat = _chat(record)
        refuse_control_tokens(chat, codec)
        turns = chat.turns[:-1] if chat.turns[-1].role == "assistant" else chat.turns
        ids = with_first_form(
            chat, codec, lambda form: codec.ids(render_prompt(chat, turns, form, codec))
        )
    first = codec.opening(ids)
    return ids if max_length is None else [*ids[:first], *_last(ids[first:], max_length - first)]


def visible(text: str, tokenizer: "AnyTokenizer") -> str:
    """The words of an answer, as `Codec.read` gives them: without reasoning before them."""
    return text[Codec.of(tokenizer).words_begin(text) :].strip()


def pieces(record: Record, tokenizer: "AnyTokenizer") -> list[tuple[str, bool]]:
    """What the model reads of `encode`'s example, and whether it learns to say each piece.

    Raises:
        BadInput, Unrenderable: as `encode`.
    """
    codec = Codec.of(tokenizer)
    if isinstance(record, Text):
        refuse_control_tokens(record, codec)
        begin = codec.bos_text if codec.bos else ""
        found = [(begin, False), (record.text + codec.end, True)]
    else:
        drafts = list(_drafts(_chat(record), codec))
        found = drafts[-1].pieces if drafts else []
        if found and codec.bos and not found[0][0].startswith(codec.bos_text):
            found = [(codec.bos_text, False), *found]
    return [(text, learned) for text, learned in found if text]


def _chat(record: Record) -> Chat:
    if not isinstance(record, Chat):
        raise BadInput(
            f"{record.source}:{record.line}: a {record.kind} record; supervised tuning needs "
            "messages, prompt and completion, or text"
        )
    return record


# Texts


def _text(record: Text, codec: Codec, max_length: int | None) -> Example:
    refuse_control_tokens(record, codec)
    ids = codec.ids(record.text + codec.end)
    learned = [i >= codec.opening(ids) for i in range(len(ids))]
    return _finished(record, _Draft(ids=ids, learned=learned), codec, max_length)


def _text_parts(whole: Example, codec: Codec, max_length: int) -> list[Example]:
    if len(whole.input_ids) <= max_length:
        return [whole]
    begin = codec.opening(whole.input_ids)
    bos, body = whole.input_ids[:begin], whole.input_ids[begin:]
    width = max(2, max_length - begin)
    found = []
    for start in range(0, len(body) - 1, width - 1):
        ids = body[start : start + width]
        # Repeated is the last token of the part before, which was learned there.
        learned = (*[False] * begin, start == 0 or not begin, *[True] * (len(ids) - 1))
        name = whole.id if start == 0 else f"{whole.id}#{start}"
        found.append(replace(whole, id=name, input_ids=bos + ids, learned=learned))
    return found


# Chats


@dataclass(slots=True)
class _Draft:
    """An example that grows: the text and tokens so far, and which of both is learned."""

    text: str = ""
    pieces: list[tuple[str, bool]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)

    def add(self, text: str, ids: Sequence[int], learned: bool) -> None:
        """Put this at the end."""
        self.text += text
        self.pieces.append((text, learned))
        self.ids.extend(ids)
        self.learned.extend([learned] * len(ids))


def _drafts(chat: Chat, codec: Codec) -> Iterator[_Draft]:
    """The examples of a chat: an answer goes on an example where its prompt begins with all of it,
    in text and in tokens, else it begins the next."""
    refuse_control_tokens(chat, codec)
    known = _Known(codec)
    draft = _Draft()
    rest = ""
    for answer in with_first_form(chat, codec, lambda form: learned_answers(chat, form, codec)):
        prompt = known.ids(answer.prompt)
        goes_on = answer.prompt.startswith(draft.text) and prompt[: len(draft.ids)] == draft.ids
        if draft.ids and not goes_on:
            yield _closed(draft, rest, known)
            draft = _Draft()
        draft.add(answer.prompt[len(draft.text) :], prompt[len(draft.ids) :], False)
        whole = known.ids(answer.prompt + answer.text)
        # The answer's tokens are those of the whole text, unless a token spans the border.
        joint = whole[: len(prompt)] == prompt
        learned = whole[len(prompt) :] if joint else _apart(answer.text, codec)
        draft.add(answer.text, learned, True)
        rest = answer.rest
    if draft.ids:
        yield _closed(draft, rest, known)


def _closed(draft: _Draft, rest: str, known: "_Known") -> _Draft:
    """The draft with what the template writes after the last answer, where its tokens go on."""
    ids = known.ids(draft.text + rest) if rest else draft.ids
    if ids[: len(draft.ids)] == draft.ids:
        draft.add(rest, ids[len(draft.ids) :], False)
    return draft


class _Known:
    """Token ids of texts that begin alike.

    Tokenizers cut a text at special tokens first and read the parts alone; so of a text that goes
    on, only what follows the last special token is tokenised again.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._before = ""
        self._ids: list[int] = []
        self._token = ""

    def ids(self, text: str) -> list[int]:
        """Token ids from the beginning, with BOS where the tokenizer wants it."""
        if self._token and text.startswith(self._before + self._token):
            ids = self._ids + self._codec.tokens(text[len(self._before) :])
        else:
            ids = self._codec.ids(text)
        special = self._codec.special
        last = next((i for i in range(len(ids) - 1, 0, -1) if ids[i] in special), 0)
        if last:
            token = special[ids[last]]
            begin = text.rfind(token)
            # Only where text and tokens agree on which special token is the last.
            if begin > 0 and all(text.find(other, begin + 1) < 0 for other in special.values()):
                self._before, self._ids, self._token = text[:begin], ids[:last], token
        return ids


def _apart(text: str, codec: Codec) -> list[int]:
    """Tokens of an answer that cannot be told from those of the whole text; without the space that
    some tokenizers put before a text."""
    for before in ("\n", codec.end):
        begin = codec.tokens(before) if before else []
        whole = codec.tokens(before + text)
        if whole[: len(begin)] == begin:
            return whole[len(begin) :]
    return codec.tokens(text)


def _finished(record: Record, draft: _Draft, codec: Codec, max_length: int | None) -> Example:
    """The example, cut to `max_length`."""
    ids, learned = draft.ids, draft.learned
    first = codec.opening(ids)
    if max_length is not None and len(ids) > max_length:
        width = max(2, max_length - first)
        answer = learned.index(True) if True in learned else first
        # At least one token has to stand before the first that is learned.
        start = max(first, min(len(ids) - width, answer - 1))
        ids = ids[:first] + ids[start : start + width]
        learned = learned[:first] + learned[start : start + width]
    source = record.origin[0] if record.origin else record.source
    answer_cut = sum(draft.learned) - sum(learned)
    cut = len(draft.ids) - len(ids) - answer_cut
    return Example(record.id, source, tuple(ids), tuple(learned), cut, answer_cut)


def _last(ids: Sequence[int], count: int) -> Sequence[int]:
    return ids[len(ids) - max(1, count) :] if len(ids) > count else ids
