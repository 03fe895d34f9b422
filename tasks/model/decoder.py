"""The answers of a model: how a prompt is written, what is generated from it, how it is read.

Evaluation decodes with this file, and every registered version carries a copy of it (`tasks.
registry.served_model`), so that the answers a person approved are the answers that are served. The
file stands alone for that: it imports the standard library, torch, transformers and peft only, and
the last three when they are needed.

A template is Jinja source that a model ships (or that `base.chat_template` names). It is rendered
by transformers' own sandbox, with one difference: the date that a template asks for is `TODAY`.
Source of what a template is given: Transformers' documentation, "Chat templates" and "Tool use".
"""

import contextlib
import copy
import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

# For base models that never saw a chat: turns under plain headings, the answer ends with EOS.
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)

TODAY = datetime(2024, 7, 26)
"""What `strftime_now` says in every template: the same records give the same tokens on any day.
It is the date that Llama 3's templates fall back to."""

TEMPLATE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a chat template, which is the model's code, raises on turns that it does not expect, besides
Jinja's own `TemplateError`."""

GENERATION_ERRORS = (AttributeError, LookupError, NotImplementedError, TypeError, ValueError)
"""Raised by architectures that lack something for `generate`."""

_CONTROLS = ("bos_token", "eos_token", "pad_token", "sep_token", "cls_token")
_PROBE = "\u2042"
# Length of the longer of two prompts that show whether padding is ignored.
_PROBE_TOKENS = 16
# Tokens from which it pays to compute a beginning that several sequences share apart.
_FEWEST_SHARED = 64

Message = dict[str, Any]


class Refusal(Exception):
    """The template raises an error on these messages; the text is the template's own."""


class BadEnds(ValueError):
    """The model's files name an end of answers that is no token."""


# Templates


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The template of a base model.

    Attributes:
        source: Jinja source.
        tool_source: source for chats with tools, where the model ships one of its own.
        special_tokens: by the names that templates know them by (`bos_token`, ...).
    """

    source: str
    tool_source: str
    special_tokens: Mapping[str, str]

    @classmethod
    def of(
        cls, template: str | Mapping[str, str] | None, special_tokens: Mapping[str, Any]
    ) -> "ChatTemplate":
        """From what a tokenizer holds: one source, or several by name (`default`, `tool_use`)."""
        named = {"default": template} if isinstance(template, str) else dict(template or {})
        source = named.get("default") or next(iter(named.values()), PLAIN_TEMPLATE)
        texts = {name: str(token) for name, token in special_tokens.items() if token}
        return cls(source, named.get("tool_use", source), texts)

    @property
    def dated(self) -> bool:
        """Whether the template asks for the date."""
        return "strftime_now" in self.source + self.tool_source

    @property
    def opening(self) -> str:
        """What the prompt for an answer ends with that an answer of words does not begin with."""
        asked: list[Message] = [{"role": "user", "content": "zq0qz"}]
        try:
            prompt = self.render(asked, ask=True)
            answered = self.render([*asked, {"role": "assistant", "content": "zq1qz"}])
        except Refusal:
            return ""
        return prompt[len(shared_beginning(prompt, answered)) :]

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        ask: bool = False,
    ) -> str:
        """The chat as text.

        Args:
            messages: turns as templates take them.
            tools: definitions of the tools that the model may call.
            ask: end where the assistant's next turn begins.

        Raises:
            Refusal: the template raises an error, or is no valid Jinja.
        """
        from jinja2 import TemplateError  # transformers renders with it

        try:
            text: str = compiled(self.tool_source if tools else self.source).render(
                messages=[_with_aliases(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                documents=None,
                add_generation_prompt=ask,
                **self.special_tokens,
            )
            return text
        except (TemplateError, *TEMPLATE_ERRORS, RecursionError) as error:
            raise Refusal(f"{type(error).__name__}: {error}"[:300]) from None

    def prompt(
        self, messages: Sequence[Message], form: "Form", tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """The text before an answer.

        A template may open answers in its prompt (with `<think>`) in a way that an answer without
        reasoning does not begin: then the prompt ends where both still agree.

        Raises:
            Refusal: as `render`.
        """
        asked = self.render(form.messages(messages), tools, ask=True) if messages else ""
        probe = {"role": "assistant", "content": _PROBE}
        answered = self.render(form.messages([*messages, probe]), tools)
        return shared_beginning(asked, answered) if messages else answered.partition(_PROBE)[0]


@functools.lru_cache(maxsize=16)
def compiled(source: str) -> Any:
    """The template as transformers' sandbox compiles it, with a date of its own.

    Raises:
        jinja2.TemplateError: it is none.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    # Transformers has an environment for each source; this one sets the date.
    environment = _compile_jinja_template(source).environment
    return environment.from_string(source, globals={"strftime_now": TODAY.strftime})


def _with_aliases(message: Message) -> Message:
    """The message with its reasoning under the other names that templates read it by."""
    reasoning = message.get("reasoning_content")
    return message if reasoning is None else {"thinking": reasoning, **message}


def shared_beginning(text: str, other: str) -> str:
    """The beginning that two texts have in common."""
    if other.startswith(text):
        return text
    differ = (i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b)
    return text[: next(differ, min(len(text), len(other)))]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write turns for a template; templates differ in what they take.

    Attributes:
        developer: the role that a developer's turn has.
        text_arguments: whether the arguments of calls are JSON text, as OpenAI has them, or
            decoded, as Transformers has them.
        short_ids: whether ids of calls are replaced by nine letters and digits, which Mistral's
            templates insist on; ids say nothing but which result belongs to which call.
        parts: whether content is a list of parts, as templates for pictures and text have it.
    """

    developer: str = "developer"
    text_arguments: bool = False
    short_ids: bool = False
    parts: bool = False

    @classmethod
    def all_for(cls, messages: Sequence[Message], source: str) -> "list[Form]":
        """The forms that make a difference to these turns, the likeliest for the template first.

        A developer's turn is what a system's turn was before; templates that do not know the one
        role know the other.
        """
        developers = ["developer"]
        if any(message["role"] == "developer" for message in messages):
            developers.insert("developer" in source, "system")
        calls = any(message.get("tool_calls") for message in messages)
        switches = [(False, False), (True, False), (False, True), (True, True)]
        found = [
            cls(developer, text_arguments, short_ids)
            for text_arguments, short_ids in (switches if calls else switches[:1])
            for developer in developers
        ]
        return [*found, replace(found[0], parts=True)]

    def messages(self, turns: Sequence[Message]) -> list[Message]:
        """The turns as this form has them."""
        names: dict[str, str] = {}
        found: list[Message] = []
        for turn in turns:
            message = dict(turn)
            if turn["role"] == "developer":
                message["role"] = self.developer
            if self.parts:
                message["content"] = [{"type": "text", "text": turn["content"]}]
            if turn.get("tool_calls"):
                message["tool_calls"] = [self._call(call, names) for call in turn["tool_calls"]]
            if self.short_ids and turn["role"] == "tool":
                message["tool_call_id"] = _answered(turn.get("tool_call_id"), names, found)
            found.append(message)
        return found

    def _call(self, call: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
        written = dict(call)
        arguments = call["function"]["arguments"]
        if self.text_arguments and not isinstance(arguments, str):
            text = json.dumps(arguments, ensure_ascii=False)
            written["function"] = {**call["function"], "arguments": text}
        if self.short_ids:
            name = call.get("id", f"call {len(names)}")
            written["id"] = names.setdefault(name, f"call{len(names):05d}")
        return written


def _answered(name: str | None, names: Mapping[str, str], before: Sequence[Message]) -> str:
    """The short id of the call that a tool's turn answers: the named one, or the next in order."""
    if name and name in names:
        return names[name]
    answered = {message.get("tool_call_id") for message in before}
    return next((short for short in names.values() if short not in answered), "call00000")


# Tokens


@dataclass(frozen=True, slots=True)
class Codec:
    """What encoding and decoding ask of a tokenizer.

    Attributes:
        tokenizer: transformers' tokenizer, or one with the same parts of its interface.
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

    tokenizer: Any
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
    def of(cls, tokenizer: Any) -> "Codec":
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

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat, ready for generation.

        Raises:
            Refusal: the template takes the chat in no form.
            ValueError: a turn holds one of the model's control tokens.
        """
        for number, message in enumerate(messages):
            token = self.control_token([message["content"], message.get("name") or ""])
            if token:
                raise ValueError(
                    f"messages[{number}] holds {token!r}, which the tokenizer reads as a control "
                    "token and not as text; write it otherwise"
                )
        refusals = []
        for form in Form.all_for(messages, self.template.source):
            try:
                return self.ids(self.template.prompt(messages, form))
            except Refusal as refusal:
                refusals.append(refusal)
        raise refusals[0]

    def control_token(self, texts: Sequence[str]) -> str | None:
        """The first of the model's control tokens that one of the texts holds."""
        return next((token for token in self.control for text in texts if token in text), None)

    def words_begin(self, text: str) -> int:
        """Where the words of an answer begin, behind the template's opener or closer."""
        if self.opener and text.lstrip().startswith(self.opener):
            return text.index(self.opener) + len(self.opener)
        if self.closer and self.closer in text:
            return text.index(self.closer) + len(self.closer)
        return 0

    def answer_length(self, ids: Sequence[int]) -> int:
        """Number of generated tokens up to the end token, which counts; what follows is padding."""
        return next((i + 1 for i, token in enumerate(ids) if token in self.ends), len(ids))

    def read(self, ids: Sequence[int]) -> str:
        """The answer in generated tokens, as a person reads it: without control tokens, and
        without what the template puts before an answer's words (reasoning, a channel)."""
        decode = self.tokenizer.decode
        text = str(decode(ids, skip_special_tokens=True))
        if self.opener or self.closer:
            begin = self.words_begin(str(decode(ids, skip_special_tokens=False)))
            if begin:
                first = next(
                    i
                    for i in range(1, len(ids) + 1)
                    if len(str(decode(ids[:i], skip_special_tokens=False))) >= begin
                )
                text = str(decode(ids[first:], skip_special_tokens=True))
        return text.strip()


@functools.lru_cache(maxsize=4)
def _codec(tokenizer: Any, named: Hashable) -> Codec:
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


def _bos(tokenizer: Any) -> tuple[int, ...]:
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


# Tokenizers, made ready


def make_ready(tokenizer: Any, folder: Path, template: str | None) -> None:
    """Give a tokenizer what its folder says and transformers 5 leaves out.

    It then puts BOS before texts where its configuration asks for that, has a chat template in any
    case, and has `stop_ids`: ids at which generation stops by the model's configuration, besides
    the tokenizer's own end token.

    Args:
        tokenizer: as transformers read it from `folder`.
        folder: the model's folder.
        template: a template in place of the model's own.
    """
    # Transformers looks at the post-processor in `tokenizer.json` alone, which older versions made
    # of the configuration when they loaded it.
    bos = tokenizer.bos_token_id
    wanted = read_object(folder / "tokenizer_config.json").get("add_bos_token") is True
    if wanted and bos is not None and tokenizer.is_fast and bos not in tokenizer("x")["input_ids"]:
        tokenizer.add_bos_token = True
    if template is not None:
        tokenizer.chat_template = template
    elif not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    tokenizer.stop_ids = tuple(i for i in stop_ids(folder) if i < len(tokenizer))


def stop_ids(folder: Path) -> list[int]:
    """Ids of the tokens at which generation stops, by the model's files; empty if they say nothing.

    As transformers does, `generation_config.json` is asked first, then `config.json`.
    """
    for name in ("generation_config.json", "config.json"):
        values = read_object(folder / name)
        ends = values.get("eos_token_id")
        if ends is None and isinstance(values.get("text_config"), dict):
            ends = values["text_config"].get("eos_token_id")
        found = [end for end in (ends if isinstance(ends, list) else [ends]) if type(end) is int]
        if found:
            return [end for end in found if end >= 0]
    return []


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder; empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


# Generation


def generate(
    model: Any,
    codec: Codec,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    done: Callable[[Sequence[int], float], object] = lambda *_: None,
) -> list[list[int]]:
    """Greedy answers as token ids, ends included: one for each prompt.

    Prompts of similar length are answered together, padded on the left, with a key-value cache;
    where the model does not ignore padding (a recurrence may not), prompts of equal length. A long
    beginning that prompts share is computed once (`beginnings`).
    Settings that the model ships (temperatures, penalties) are not looked at, ends excepted.

    Args:
        model: a causal language model of transformers, with a PEFT adapter or without.
        codec: of its tokenizer.
        prompts: token ids of each prompt, ready for generation.
        max_new_tokens: longest answer, in tokens.
        batch_size: number of prompts that are answered together.
        done: called when a batch is answered, with the numbers of its prompts and its seconds.

    Raises:
        BadEnds: the model's settings name an end that is no token.
        GENERATION_ERRORS: the architecture does not generate.
    """
    import torch

    answers: list[list[int]] = [[]] * len(prompts)
    head = model.get_output_embeddings().weight
    frozen = not head.requires_grad
    # The model that generates: a PEFT model uses its settings.
    inner = inner_model(model)
    shipped = inner.generation_config
    greedy = _greedy(shipped, codec, max_new_tokens)
    # PyTorch multiplies a batch by a weight in one product only if the weight may need a gradient;
    # otherwise, as under an adapter, it copies the whole head for every prompt of the batch.
    head.requires_grad_(head.is_floating_point())
    inner.generation_config = greedy
    try:
        with torch.inference_mode():
            for batch, beginning in _planned(model, prompts, batch_size, greedy):
                inputs = _left_padded(model, [prompts[i] for i in batch], greedy, beginning)
                begun = time.perf_counter()
                rows = model.generate(**inputs)
                seconds = time.perf_counter() - begun
                width = inputs["input_ids"].shape[1]
                for i, generated in zip(batch, rows[:, width:].tolist(), strict=True):
                    answers[i] = generated
                done(batch, seconds)
    finally:
        inner.generation_config = shipped
        head.requires_grad_(not frozen)
    return answers


def inner_model(model: Any) -> Any:
    """The model under a PEFT adapter, or the model itself."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first tokens of several sequences, and the model's key-value cache of them."""

    length: int = 0
    cache: Any = None

    @classmethod
    def of(cls, model: Any, ids: Sequence[int]) -> "Beginning":
        """Compute it.

        Raises:
            GENERATION_ERRORS: the architecture has no such cache.
        """
        import torch

        start = torch.tensor([list(ids)], device=next(model.parameters()).device)
        return cls(len(ids), model(input_ids=start, use_cache=True).past_key_values)

    def inputs(self, rows: int) -> dict[str, Any]:
        """Keywords for a forward, or for `generate`, of so many rows behind it."""
        if self.cache is None:
            return {}
        cache = copy.deepcopy(self.cache)  # what is computed behind it is written into it
        cache.batch_repeat_interleave(rows)
        return {"past_key_values": cache}


def beginnings(
    model: Any,
    rows: Sequence[Sequence[int]],
    most: Sequence[int],
    gives_the_same: Callable[[int, Beginning], bool],
) -> list[tuple[Beginning, list[int]]]:
    """Which rows are computed behind which beginning: one that most of them share, or none.

    Args:
        model: a causal language model.
        rows: token ids.
        most: how many tokens of each row may belong to a beginning.
        gives_the_same: whether the row of that number comes out the same behind a beginning.
    """
    everything = list(range(len(rows)))
    plain = [(Beginning(), everything)]
    starts = {
        i: tuple(row[:_FEWEST_SHARED]) for i, row in enumerate(rows) if most[i] >= _FEWEST_SHARED
    }
    commonest = Counter(starts.values()).most_common(1)
    if not commonest or commonest[0][1] < 2 or _has_virtual_tokens(model):
        return plain
    members = [i for i, start in starts.items() if start == commonest[0][0]]
    shortest = min(most[i] for i in members)
    differ = (n for n in range(shortest) if len({rows[i][n] for i in members}) > 1)
    length = next(differ, shortest)
    try:
        found = Beginning.of(model, rows[members[0]][:length])
        same = gives_the_same(members[0], found)
    except GENERATION_ERRORS:
        return plain
    if not same:
        return plain
    others = sorted(set(everything) - set(members))
    return [(found, members), *([(Beginning(), others)] if others else [])]


def _has_virtual_tokens(model: Any) -> bool:
    """Whether an adapter puts virtual tokens before each sequence."""
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False))


def _planned(
    model: Any, prompts: Sequence[Sequence[int]], batch_size: int, greedy: Any
) -> Iterator[tuple[list[int], Beginning]]:
    """Prompts that are answered together, by their numbers, and what they begin with."""

    def gives_the_same(i: int, beginning: Beginning) -> bool:
        # With padding, as in a batch.
        longer = [*prompts[i], prompts[i][-1]]
        alone = _first_logits(model, [prompts[i]], greedy)
        behind = _first_logits(model, [prompts[i], longer], greedy, beginning)
        return _equal(model, behind, alone)

    most = [len(prompt) - 1 for prompt in prompts]
    for beginning, members in beginnings(model, prompts, most, gives_the_same):
        for batch in _batches(model, [prompts[i] for i in members], batch_size, greedy):
            yield [members[i] for i in batch], beginning


def _left_padded(
    model: Any, prompts: Sequence[Sequence[int]], greedy: Any, beginning: Beginning | None = None
) -> dict[str, Any]:
    """Keywords for `generate`: prompts with padding before them, or behind what they begin with,
    and a mask of the prompts."""
    import torch

    beginning = beginning or Beginning()
    start, width = beginning.length, max(map(len, prompts))
    ids = torch.full((len(prompts), width), greedy.pad_token_id)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, :start] = torch.tensor(prompt[:start])
        mask[i, :start] = 1
        behind = start + width - len(prompt)
        ids[i, behind:] = torch.tensor(prompt[start:])
        mask[i, behind:] = 1
    device = next(model.parameters()).device
    inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    return inputs | beginning.inputs(len(prompts))


def _batches(
    model: Any, prompts: Sequence[Sequence[int]], batch_size: int, greedy: Any
) -> Iterator[list[int]]:
    """Indices of prompts that are answered together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    unequal = len({len(prompt) for prompt in prompts}) > 1 and batch_size > 1
    if unequal and not _ignores_padding(model, [prompts[i] for i in order], greedy):
        for _, same_length in groupby(order, key=lambda i: len(prompts[i])):
            yield from map(list, _batched(same_length, batch_size))
    else:
        yield from map(list, _batched(order, batch_size))


def _batched(items: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Batches of `size` items, as `itertools.batched` of Python 3.12."""
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch


def _ignores_padding(model: Any, by_length: Sequence[Sequence[int]], greedy: Any) -> bool:
    """Whether a short prompt has the same next-token logits beside a longer one as alone."""
    long = by_length[-1][-_PROBE_TOKENS:]
    short = by_length[0][-(len(long) // 2) :]
    beside, alone = (_first_logits(model, probed, greedy) for probed in ([short, long], [short]))
    return _equal(model, beside, alone)


def _first_logits(
    model: Any, prompts: Sequence[Sequence[int]], greedy: Any, beginning: Beginning | None = None
) -> Any:
    """Logits of the first token that the first of these prompts is answered with."""
    generated = model.generate(
        **_left_padded(model, prompts, greedy, beginning),
        max_new_tokens=1,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return generated.logits[0][0].float()


def _equal(model: Any, logits: Any, expected: Any) -> bool:
    """Whether logits are the same but for rounding."""
    import torch

    exact = model.dtype in (torch.float32, torch.float64)
    bound = (0.01 if exact else 0.25) * float(expected.std())
    return not bool((logits - expected).abs().max() > bound)


def _greedy(shipped: Any, codec: Codec, max_new_tokens: int) -> Any:
    from transformers import GenerationConfig

    ends = shipped.eos_token_id if shipped.eos_token_id is not None else []
    ends = ends if isinstance(ends, list) else [ends]
    if not all(type(end) is int and end >= 0 for end in ends):
        raise BadEnds(
            f"eos_token_id in generation_config.json is {shipped.eos_token_id!r}; "
            "it has to be the number of a token, or a list of them"
        )
    ends = {*ends, *codec.ends}
    padding = codec.tokenizer.pad_token_id
    if padding is None:
        padding = min(ends, default=0)  # masked in prompts, cut off in answers
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends) or None,
        pad_token_id=padding,
    )
