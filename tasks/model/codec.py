"""What encoding needs to know of a tokenizer and of its chat template."""

import contextlib
import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tasks.model.chat_template import ChatTemplate, Refusal, shared_beginning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.model.tokens import Tokenizer

    AnyTokenizer: TypeAlias = PreTrainedTokenizerBase | Tokenizer

_CONTROLS = ("bos_token", "eos_token", "pad_token", "sep_token", "cls_token")


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


def control_token(texts: Sequence[str], codec: Codec) -> str | None:
    """The first of the model's control tokens that one of the texts holds."""
    return next((token for token in codec.control for text in texts if token in text), None)
