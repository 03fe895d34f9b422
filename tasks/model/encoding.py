"""Records as token ids: what the model reads, and which of it is learned.

A chat is rendered by the base model's own template (`tasks.model.chat_template`). Each answer of
the assistant is learned after exactly the prompt that generation would see: the same text and the
same tokens. Where the template writes earlier turns otherwise than they were learned (it takes
their reasoning out, say), a chat becomes several examples, one for each answer.

What the template refuses or leaves out raises `Unrenderable`, which names the reason; nothing is
left out without a word.
"""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tasks.core.errors import BadInput
from tasks.model.chat_template import HELP, ChatTemplate, Form, Refusal, shared_beginning
from tasks.model.chat_template import TEMPLATE_ERRORS as TEMPLATE_ERRORS
from tasks.model.left_out import Marks, left_out, marked, marked_tools
from tasks.records import Chat, Record, Text, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.model.tokens import Tokenizer

    AnyTokenizer: TypeAlias = PreTrainedTokenizerBase | Tokenizer

T = TypeVar("T")

UNRENDERABLE = {
    "unrenderable": "the chat template raises an error",
    "template_ignores": "the chat template leaves content out",
    "empty_turn": "an answer says nothing",
    "control_tokens": "content is what the tokenizer reads as a control token",
    "nothing_to_learn": "no answer is to be learned",
}
"""Reasons of `Unrenderable`, with their meanings."""

_PROBE = "\u2042"
_CONTROLS = ("bos_token", "eos_token", "pad_token", "sep_token", "cls_token")


class Unrenderable(BadInput):
    """A record that cannot be encoded as it is meant; the message says where, why and what helps.

    Attributes:
        reason: one of `UNRENDERABLE`.
        evidence: what was found, by name: where a turn is to blame its number from 0 (`turn`), its
            `role` or the `key` that is left out, the template's `error`, what would `help`.
    """

    def __init__(self, record: Record, reason: str, sentence: str, **evidence: Any) -> None:
        super().__init__(f"{record.source}:{record.line}: {sentence}")
        self.reason = reason
        self.evidence = evidence


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
        _refuse_control(record, codec)
        ids = codec.ids(record.text)
    else:
        chat = _chat(record)
        _refuse_control(chat, codec)
        turns = chat.turns[:-1] if chat.turns[-1].role == "assistant" else chat.turns
        ids = _first_form(chat, codec, lambda form: codec.ids(_prompt(chat, turns, form, codec)))
    first = codec.opening(ids)
    return ids if max_length is None else [*ids[:first], *_last(ids[first:], max_length - first)]


def read_answer(ids: Sequence[int], tokenizer: Any) -> str:
    """The answer in generated tokens, as a person reads it: without control tokens, and without
    what the template puts before an answer's words (empty or full reasoning, a channel)."""
    codec = Codec.of(tokenizer)
    text = str(tokenizer.decode(ids, skip_special_tokens=True))
    if codec.opener or codec.closer:
        whole = str(tokenizer.decode(ids, skip_special_tokens=False))
        begin = _words_begin(whole, codec)
        if begin:
            first = next(
                i
                for i in range(1, len(ids) + 1)
                if len(str(tokenizer.decode(ids[:i], skip_special_tokens=False))) >= begin
            )
            text = str(tokenizer.decode(ids[first:], skip_special_tokens=True))
    return text.strip()


def visible(text: str, tokenizer: "AnyTokenizer") -> str:
    """The words of an answer, as `read_answer` gives them: without reasoning before them."""
    return text[_words_begin(text, Codec.of(tokenizer)) :].strip()


def pieces(record: Record, tokenizer: "AnyTokenizer") -> list[tuple[str, bool]]:
    """What the model reads of `encode`'s example, and whether it learns to say each piece.

    Raises:
        BadInput, Unrenderable: as `encode`.
    """
    codec = Codec.of(tokenizer)
    if isinstance(record, Text):
        _refuse_control(record, codec)
        begin = codec.bos_text if codec.bos else ""
        found = [(begin, False), (record.text + codec.end, True)]
    else:
        drafts = list(_drafts(_chat(record), codec))
        found = drafts[-1].pieces if drafts else []
        if found and codec.bos and not found[0][0].startswith(codec.bos_text):
            found = [(codec.bos_text, False), *found]
    return [(text, learned) for text, learned in found if text]


@dataclass(frozen=True, slots=True)
class Codec:
    """What encoding asks of a tokenizer.

    Attributes:
        tokenizer: the tokenizer.
        template: its chat template.
        bos: ids that it puts before a text when asked for special tokens: BOS, or nothing.
        bos_text: the same as text.
        ends: ids at which generation stops.
        end_texts: the same as texts.
        end: what ends an answer where the template writes none of them; empty if there is none.
        control: tokens whose text must not occur in content: those that begin, end and separate.
        special: texts of all special tokens, by id.
        opener: what the template puts before the words of an answer, after the prompt.
        closer: what it puts between an answer's reasoning and its words.
        rendered: structures of chats that the template is known to render whole.
    """

    tokenizer: "AnyTokenizer"
    template: ChatTemplate
    bos: tuple[int, ...]
    bos_text: str
    ends: frozenset[int]
    end_texts: tuple[str, ...]
    end: str
    control: tuple[str, ...]
    special: Mapping[int, str]
    opener: str
    closer: str
    rendered: set[Hashable] = field(default_factory=set)

    @classmethod
    def of(cls, tokenizer: "AnyTokenizer") -> "Codec":
        """The codec of a tokenizer with the template that it has now; made once for each."""
        template: Any = tokenizer.chat_template
        if isinstance(template, Mapping):
            template = tuple(template.items())
        return _codec(tokenizer, template)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text from its beginning, with one BOS where the tokenizer wants it."""
        ids = self.tokens(text)
        return ids if tuple(ids[: len(self.bos)]) == self.bos else [*self.bos, *ids]

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text, nothing added."""
        return list(self.tokenizer([text], add_special_tokens=False)["input_ids"][0])

    def opening(self, ids: Sequence[int]) -> int:
        """How many ids at the beginning are BOS."""
        return len(self.bos) if tuple(ids[: len(self.bos)]) == self.bos else 0


@functools.lru_cache(maxsize=4)
def _codec(tokenizer: "AnyTokenizer", named: Hashable) -> Codec:
    names = {name: str(x) for name, x in tokenizer.special_tokens_map.items() if _is_text(x)}
    source: Any = dict(named) if isinstance(named, tuple) else named
    template = ChatTemplate.of(source, names)
    stops = [*getattr(tokenizer, "stop_ids", ())]
    if tokenizer.eos_token_id is not None:
        stops.insert(0, tokenizer.eos_token_id)
    ends = tuple(str(tokenizer.convert_ids_to_tokens(i)) for i in dict.fromkeys(stops))
    bos = _bos(tokenizer)
    opener, closer = _surroundings(template)
    added = tokenizer.added_tokens_decoder.items()
    control = {names[name] for name in _CONTROLS if name in names}
    control |= {*ends, *_written(template, [token for _, token in added], opener + closer)}
    return Codec(
        tokenizer,
        template,
        bos,
        "".join(str(tokenizer.convert_ids_to_tokens(i)) for i in bos),
        frozenset(stops),
        ends,
        ends[0] if ends else "",
        tuple(sorted(text for text in control if text.strip())),
        {i: token.content for i, token in added if token.special},
        opener,
        closer,
    )


def _is_text(token: Any) -> bool:
    return bool(token) and not isinstance(token, list | tuple)


def _written(template: ChatTemplate, added: Sequence[Any], around: str) -> set[str]:
    """The added tokens by which a template sets turns apart.

    Tokens around an answer's words that are not special (`<think>`) are none of these: data has
    them in content, and templates take them from there.
    """
    source = template.source + template.tool_source
    sample = ""
    for roles in (["system", "user", "assistant"], ["user", "assistant"]):
        with contextlib.suppress(Refusal):
            sample += template.render([{"role": role, "content": "x"} for role in roles])
    special = {token.content for token in added if token.special}
    return {text for text in special if text in source or text in sample} | {
        token.content for token in added if token.content in sample and token.content not in around
    }


def _bos(tokenizer: "AnyTokenizer") -> tuple[int, ...]:
    """What the tokenizer puts before a text."""
    plain, whole = (
        list(tokenizer(["x"], add_special_tokens=special)["input_ids"][0])
        for special in (False, True)
    )
    begin = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    return tuple(whole[:begin])


def _surroundings(template: ChatTemplate) -> tuple[str, str]:
    """What stands before the words of an answer, and between its reasoning and its words."""
    asked = [{"role": "user", "content": "zq0qz"}]
    answer = {"role": "assistant", "content": "zq1qz"}
    try:
        prompt = template.render(asked, ask=True)
        plain = template.render([*asked, answer])
        thought = template.render([*asked, {**answer, "reasoning_content": "zq2qz"}])
    except Refusal:
        return "", ""
    before = plain.partition("zq1qz")[0]
    opener = before[len(shared_beginning(prompt, before)) :]
    _, reasoned, after = thought.partition("zq2qz")
    return opener.strip(), after.partition("zq1qz")[0].strip() if reasoned else ""


def _words_begin(text: str, codec: Codec) -> int:
    """Where the words of an answer begin, behind the template's opener or closer."""
    if codec.opener and text.lstrip().startswith(codec.opener):
        return text.index(codec.opener) + len(codec.opener)
    if codec.closer and codec.closer in text:
        return text.index(codec.closer) + len(codec.closer)
    return 0


def _chat(record: Record) -> Chat:
    if not isinstance(record, Chat):
        raise BadInput(
            f"{record.source}:{record.line}: a {record.kind} record; supervised tuning needs "
            "messages, prompt and completion, or text"
        )
    return record


# Texts


def _text(record: Text, codec: Codec, max_length: int | None) -> Example:
    _refuse_control(record, codec)
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


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that is learned: the prompt before it, its text up to where generation stops, and
    what the template writes after that."""

    prompt: str
    said: str
    rest: str


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
    _refuse_control(chat, codec)
    known = _Known(codec)
    draft = _Draft()
    rest = ""
    for answer in _first_form(chat, codec, lambda form: _answers(chat, form, codec)):
        prompt = known.ids(answer.prompt)
        goes_on = answer.prompt.startswith(draft.text) and prompt[: len(draft.ids)] == draft.ids
        if draft.ids and not goes_on:
            yield _closed(draft, rest, known)
            draft = _Draft()
        draft.add(answer.prompt[len(draft.text) :], prompt[len(draft.ids) :], False)
        whole = known.ids(answer.prompt + answer.said)
        # The answer's tokens are those of the whole text, unless a token spans the border.
        joint = whole[: len(prompt)] == prompt
        said = whole[len(prompt) :] if joint else _apart(answer.said, codec)
        draft.add(answer.said, said, True)
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


def _apart(said: str, codec: Codec) -> list[int]:
    """Tokens of an answer that cannot be told from those of the whole text; without the space that
    some tokenizers put before a text."""
    for before in ("\n", codec.end):
        begin = codec.tokens(before) if before else []
        whole = codec.tokens(before + said)
        if whole[: len(begin)] == begin:
            return whole[len(begin) :]
    return codec.tokens(said)


def _finished(record: Record, draft: _Draft, codec: Codec, max_length: int | None) -> Example:
    """The example, cut to `max_length`."""
    ids, learned = draft.ids, draft.learned
    first = codec.opening(ids)
    if max_length is not None and len(ids) > max_length:
        room = max(2, max_length - first)
        answer = learned.index(True) if True in learned else first
        # At least one token has to stand before the first that is learned.
        start = max(first, min(len(ids) - room, answer - 1))
        ids = ids[:first] + ids[start : start + room]
        learned = learned[:first] + learned[start : start + room]
    source = record.origin[0] if record.origin else record.source
    answer_cut = sum(draft.learned) - sum(learned)
    cut = len(draft.ids) - len(ids) - answer_cut
    return Example(record.id, source, tuple(ids), tuple(learned), cut, answer_cut)


def _last(ids: Sequence[int], count: int) -> Sequence[int]:
    return ids[len(ids) - max(1, count) :] if len(ids) > count else ids


# Rendering


def _answers(chat: Chat, form: Form, codec: Codec) -> list[_Answer]:
    """Each turn that is learned, with the prompt that generation would see."""
    _refuse_ignored(chat, form, codec)
    found = []
    for i, turn in enumerate(chat.turns):
        if turn.role != "assistant" or turn.learn is False:
            continue
        if not turn.content.strip() and not turn.tool_calls:
            sentence = f"messages[{i}]: an answer of nothing would teach the model to say nothing"
            raise Unrenderable(chat, "empty_turn", sentence, turn=i)
        prompt = _prompt(chat, chat.turns[:i], form, codec)
        whole = _rendered(chat, chat.turns[: i + 1], form, codec)
        if not whole.startswith(prompt):
            raise _ignores(chat, i, "the order of turns: no prompt that is followed by its answer")
        found.append(_answer(prompt, whole[len(prompt) :], turn, codec))
        _check_words(chat, i, found[-1])
    return found


def _answer(prompt: str, text: str, turn: Turn, codec: Codec) -> _Answer:
    """Cut what follows the prompt where generation stops; put an end there if there is none."""
    said_at = text.rfind(turn.content.strip()) if turn.content.strip() else 0
    begin = max(0, said_at) + len(turn.content.strip()) * (said_at >= 0)
    ends = [(text.find(end, begin), end) for end in codec.end_texts]
    found = min(((i, end) for i, end in ends if i >= 0), default=None)
    if found is None:
        return _Answer(prompt, text.rstrip() + codec.end, "")
    stop = found[0] + len(found[1])
    return _Answer(prompt, text[:stop], text[stop:])


def _prompt(chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec) -> str:
    """The text before an answer.

    A template may open answers in its prompt (with `<think>`) in a way that an answer without
    reasoning does not begin: then the prompt ends where both still agree.
    """
    prompt = _rendered(chat, turns, form, codec, ask=True) if turns else ""
    structure = _structure(chat, turns, form)
    if ("prompt", structure) in codec.rendered:
        return prompt
    answered = _rendered(chat, [*turns, Turn("assistant", _PROBE)], form, codec)
    if not turns:
        return answered.partition(_PROBE)[0]
    if structure is not None and answered.startswith(prompt):
        codec.rendered.add(("prompt", structure))
    return shared_beginning(prompt, answered)


def _rendered(
    chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec, *, ask: bool = False
) -> str:
    try:
        return codec.template.render(form.messages(turns), chat.tools, ask)
    except Refusal as error:
        role = _refused_role(chat, turns, form, codec)
        blame = f" (role {role})" if role else ""
        sentence = f"the base model's chat template refuses this chat{blame}: {error}; {HELP}"
        evidence = {"error": str(error), "help": HELP} | ({"role": role} if role else {})
        raise Unrenderable(chat, "unrenderable", sentence, **evidence) from None


def _refused_role(chat: Chat, turns: Sequence[Turn], form: Form, codec: Codec) -> str | None:
    """The role without whose turns the template would take the chat, if there is one."""
    for role in dict.fromkeys(turn.role for turn in turns):
        others = [turn for turn in turns if turn.role != role]
        try:
            if role not in ("user", "assistant") and others:
                codec.template.render(form.messages(others), chat.tools)
                return role
        except Refusal:
            continue
    return None


# What is refused


def _first_form(chat: Chat, codec: Codec, make: Callable[[Form], T]) -> T:
    """What `make` gives for the first form of the turns that the template takes."""
    errors = []
    for form in Form.all_for(chat.turns, codec.template.source):
        try:
            return make(form)
        except Unrenderable as error:
            errors.append(error)
    raise errors[0]


def _refuse_ignored(chat: Chat, form: Form, codec: Codec) -> None:
    """Refuse a chat of which the template leaves something out, whatever its words."""
    structure = _structure(chat, chat.turns, form)
    if structure in codec.rendered:
        return
    marks = Marks()
    turns = marked(chat.turns, marks)
    tools = marked_tools(chat.tools, marks)
    copy = replace(chat, turns=tuple(turns), tools=tuple(tools))
    learned = [
        i for i, turn in enumerate(turns) if turn.role == "assistant" and turn.learn is not False
    ]
    context = [None, *(i for i in range(len(turns)) if i not in learned)]
    for last in learned or [len(turns) - 1]:
        # Of earlier answers, which are learned in their own place, templates may drop parts.
        text = _rendered(copy, turns[: last + 1], form, codec)
        missing = marks.missing(text, last, [i for i in context if i is None or i < last])
        if missing:
            raise _ignores(chat, missing.turn, missing.key)
    if structure is not None:
        codec.rendered.add(structure)


def _structure(chat: Chat, turns: Sequence[Turn], form: Form) -> Hashable:
    """What a template's treatment of the turns depends on; None where that is too much to tell."""
    if chat.tools:
        return None
    found: list[Hashable] = [form]
    for turn in turns:
        if turn.tool_calls or turn.name or turn.tool_call_id:
            return None
        found.append((turn.role, turn.learn, not turn.content.strip(), not turn.reasoning.strip()))
    return tuple(found)


def _check_words(chat: Chat, number: int, answer: _Answer) -> None:
    """Refuse a chat whose words are not all in the prompt and the answer."""
    for i, turn in enumerate(chat.turns[: number + 1]):
        last = i == number
        if not last and turn.role == "assistant" and turn.learn is not False:
            continue
        key = left_out(turn, answer.said if last else answer.prompt, last=last)
        if key:
            raise _ignores(chat, i, key)


def _ignores(chat: Chat, number: int | None, key: str) -> Unrenderable:
    turn = None if number is None else chat.turns[number]
    place = "" if number is None else f"messages[{number}]: "
    missing = key
    if turn and key == "content" and turn.role != "assistant":
        key, missing = turn.role, f"the turn of the {turn.role}"
    sentence = f"{place}the base model's chat template leaves out {missing}; {HELP}"
    evidence: dict[str, Any] = {"key": key, "help": HELP}
    if number is not None:
        evidence["turn"] = number
    return Unrenderable(chat, "template_ignores", sentence, **evidence)


def _refuse_control(record: Record, codec: Codec) -> None:
    for number, turn in enumerate(record.turns):
        token = control_token([turn.text, turn.name or ""], codec)
        if token:
            key = "text" if record.kind == "text" else f"messages[{number}]"
            raise _control(record, token, key)
    if record.tools:
        token = control_token([str(tool) for tool in record.tools], codec)
        if token:
            raise _control(record, token, "tools")


def control_token(texts: Sequence[str], codec: Codec) -> str | None:
    """The first of the model's control tokens that one of the texts holds."""
    return next((token for token in codec.control for text in texts if token in text), None)


def _control(record: Record, token: str, key: str) -> Unrenderable:
    sentence = (
        f"{key} holds {token!r}, which the base model's tokenizer reads as a control token and "
        "not as text; write it otherwise, or leave the record out"
    )
    return Unrenderable(record, "control_tokens", sentence, token=token, key=key)
