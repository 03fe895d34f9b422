"""Tokens of the base model without the model: counting and rendering, light enough for workers.

PyTorch and transformers' models stay out of the process: a tokenizer takes 20 MB here instead of
several hundred.
"""

import functools
import json
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tasks import base_model, files
from tasks.base_model import PLAIN_TEMPLATE
from tasks.errors import BadInput
from tasks.settings import Settings

log = logging.getLogger(__name__)

_PROBES = (
    "The quick brown fox, 1234 jumps!",
    "def f(x):\n\treturn  x ** 2  # ok\n\n\n",
    "Ünïcödé — 漢字 🙂 \u200b 'don't' …",
    " leading and trailing \n",
)


class Tokenizer:
    """A `tokenizer.json` with its chat template; callable as far as `tasks.encoding` asks.

    Counting goes through `tokie` where it agrees with Hugging Face's `tokenizers` on probes (some
    fifteen times as fast), else through `tokenizers` itself.
    """

    def __init__(self, folder: Path) -> None:
        import tokenizers

        config = _config(folder)
        self.chat_template: str = _template(folder, config)
        self.special_tokens = {
            name: token["content"] if isinstance(token, dict) else token
            for name, token in config.items()
            if name in ("bos_token", "eos_token", "pad_token", "unk_token") and token
        }
        self.eos_token: str | None = self.special_tokens.get("eos_token")
        self._exact = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._exact.no_truncation()
        self._exact.no_padding()
        self._fast = self._agreeing(folder)
        self.widest = max(map(len, self._exact.get_vocab()), default=1)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens around it."""
        if self._fast is None:
            return [len(self._exact.encode(text, add_special_tokens=False)) for text in texts]
        try:
            return list(map(self._fast.count_tokens, texts))
        except BaseException as error:
            # Its pattern gives up on some endless runs of one script, in a panic, which is no
            # Exception: one by one, only that text is counted the slow way.
            if type(error).__name__ != "PanicException":
                raise
        if len(texts) == 1:
            return [len(self._exact.encode(texts[0], add_special_tokens=False))]
        return [count for text in texts for count in self.count([text])]

    def __call__(
        self, texts: Sequence[str], add_special_tokens: bool = False
    ) -> dict[str, list[list[int]]]:
        """Token ids, in the shape of transformers' tokenizers."""
        found = self._exact.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [encoding.ids for encoding in found]}

    def apply_chat_template(
        self,
        messages: Sequence[dict[str, Any]],
        tokenize: bool = False,
        add_generation_prompt: bool = False,
    ) -> str:
        """The chat as text, by transformers' own sandboxed renderer."""
        from transformers.utils.chat_template_utils import render_jinja_template

        assert not tokenize
        rendered: Any = render_jinja_template(
            conversations=[list(messages)],
            chat_template=self.chat_template,
            add_generation_prompt=add_generation_prompt,
            **self.special_tokens,
        )
        return str(rendered[0][0])

    def _agreeing(self, folder: Path) -> Any:
        """`tokie`'s tokenizer, or None where it cannot read this one or reads it differently."""
        import tokie

        try:
            fast = tokie.Tokenizer.from_json(str(folder / "tokenizer.json"))
            same = [fast.count_tokens(text) for text in _PROBES] == [
                len(self._exact.encode(text, add_special_tokens=False)) for text in _PROBES
            ]
        except (ValueError, OSError, RuntimeError, tokie.TokieError) as error:
            log.info("counting tokens with tokenizers: %s", error)
            return None
        return fast if same else None


def load(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`, once per process."""
    return _load(str(folder))


@functools.lru_cache(maxsize=2)
def _load(folder: str) -> Tokenizer:
    return Tokenizer(Path(folder))


def locate(settings: Settings) -> Path:
    """A folder with the base model's `tokenizer.json`, `tokenizer_config.json` and template.

    What is not there in that form (a GGUF file, say) is converted once, in a process of its own so
    that the memory which that takes is given back.

    Raises:
        BadInput: there is no such model, or its tokenizer cannot be read.
    """
    source, file = base_model.tokenizer_source(settings)
    if file is None and (source / "tokenizer.json").is_file():
        return source
    key = files.content_key(str(source), file, settings.base.plain())
    folder = settings.project.state_dir / "models" / f"tokenizer-{key}"
    if not folder.is_dir():
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            process.submit(_convert, source, file, settings, folder).result()
    return folder


def _convert(source: Path, file: str | None, settings: Settings, folder: Path) -> None:
    from transformers import AutoTokenizer

    options = {"gguf_file": file} if file else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=settings.base.trust_remote_code, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"base.model: the tokenizer in {source} cannot be read: {error}") from None
    if not tokenizer.is_fast:
        raise BadInput(f"base.model: the tokenizer in {source} has no tokenizer.json")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_folder(folder) as building:
        tokenizer.save_pretrained(building)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    assert isinstance(values, dict)
    return values


def _template(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    named = config.get("chat_template")
    if isinstance(named, list):
        named = {one["name"]: one["template"] for one in named}.get("default")
    if named:
        return str(named)
    log.warning("%s has no chat template: turns go under plain headings", folder.name)
    return PLAIN_TEMPLATE
