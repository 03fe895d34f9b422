"""Tokens of the base model without the model: counting and rendering, light enough for workers.

PyTorch and transformers' models stay out of the process: a tokenizer takes 20 MB here instead of
several hundred.
"""

import functools
import logging
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_source, tokenizer_files
from tasks.model.chat_template import read_template
from tasks.model.decoder import PLAIN_TEMPLATE, ChatTemplate, read_object, stop_ids
from tasks.model.settings import Base
from tasks.settings import Settings

log = logging.getLogger(__name__)

_PROBES = (
    "The quick brown fox, 1234 jumps!",
    "def f(x):\n\treturn  x ** 2  # ok\n\n\n",
    "Ünïcödé — 漢字 🙂 \u200b 'don't' …",
    " leading and trailing \n",
)

_FORMAT = 2  # of converted tokenizers
_NATIVE = ("TokenizersBackend", "PreTrainedTokenizerFast")
_CHANGING = {"added_tokens_decoder", "add_bos_token", "add_eos_token", "auto_map"}
_PATCHED = 100_000  # transformers changes some tokenizers with a larger vocabulary


class Tokenizer:
    """A `tokenizer.json` with its chat template; callable as far as `tasks.model.encoding` asks.

    Counting goes through `tokie` where it agrees with Hugging Face's `tokenizers` on probes (some
    fifteen times as fast), else through `tokenizers` itself.
    """

    def __init__(self, folder: Path) -> None:
        import tokenizers

        config = read_object(folder / "tokenizer_config.json")
        self.chat_template = _template(folder, config)
        self.special_tokens_map = _named(config)
        self.eos_token: str | None = self.special_tokens_map.get("eos_token")
        self._exact = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._exact.no_truncation()
        self._exact.no_padding()
        self._fast = self._agreeing(folder)
        vocabulary = self._exact.get_vocab()
        self.stop_ids = tuple(i for i in stop_ids(folder) if i < len(vocabulary))
        self.max_token_chars = max(map(len, vocabulary), default=1)

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end token."""
        return None if self.eos_token is None else self._exact.token_to_id(self.eos_token)

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The tokens that are cut out of a text before anything else, by id."""
        return dict(self._exact.get_added_tokens_decoder())

    def convert_ids_to_tokens(self, number: int) -> str | None:
        """The token with this id."""
        return self._exact.id_to_token(number)

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
        if len(texts) == 1:  # spares the threads
            one = self._exact.encode(texts[0], add_special_tokens=add_special_tokens)
            return {"input_ids": [one.ids]}
        found = self._exact.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [encoding.ids for encoding in found]}

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

    What is not there in the form that transformers reads as it is (a GGUF file, a tokenizer that
    transformers builds anew, another template by `base.chat_template`) is converted once, in a
    process of its own so that the memory which that takes is given back.

    Raises:
        BadInput: there is no such model, its tokenizer cannot be read, or nothing ends an answer.
    """
    base = settings.base
    source, file = base_source.tokenizer_source(settings)
    folder = source
    if file is not None or base.chat_template is not None or not _is_native(source):
        key = files.content_key(_FORMAT, version("transformers"), _hashes(source, file, base))
        folder = settings.project.state_dir / "models" / f"tokenizer-{key}"
        if not folder.is_dir():
            _convert_apart(source, file, base, folder)
    tokenizer = load(folder)
    tokenizer_files.check_ends(tokenizer, source)
    tokenizer_files.announce(
        ChatTemplate.of(tokenizer.chat_template, tokenizer.special_tokens_map), base
    )
    return folder


def _hashes(source: Path, file: str | None, base: Base) -> list[Any]:
    """What a converted tokenizer depends on."""
    names = (*tokenizer_files.VOCABULARIES, *tokenizer_files.SETTINGS, "config.json")
    paths = [source / name for name in ([file] if file else names)]
    template = base.chat_template and read_template(base.chat_template)
    hashes = {path.name: files.md5(path) for path in paths if path.is_file()}
    return [hashes, template, base.trust_remote_code and str(source)]


def _is_native(folder: Path) -> bool:
    """Whether transformers reads `tokenizer.json` as it is, and nothing besides it."""
    import tokenizers

    config = read_object(folder / "tokenizer_config.json")
    more = ("special_tokens_map.json", "added_tokens.json")
    if config.get("tokenizer_class") not in _NATIVE or config.keys() & _CHANGING:
        return False
    if any((folder / name).is_file() for name in more):
        return False
    try:
        exact = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # noqa: BLE001 (whatever is wrong, transformers will say so)
        return False
    added = {token.content for token in exact.get_added_tokens_decoder().values()}
    return added.issuperset(_named(config).values()) and exact.get_vocab_size() <= _PATCHED


def _convert_apart(source: Path, file: str | None, base: Base, folder: Path) -> None:
    if "transformers" in sys.modules:  # the memory is taken already
        _convert(source, file, base, folder)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        process.submit(_convert, source, file, base, folder).result()


def _convert(source: Path, file: str | None, base: Base, folder: Path) -> None:
    tokenizer = tokenizer_files.read(source, file, base)
    if not tokenizer.is_fast:
        raise BadInput(f"base.model: the tokenizer in {source} has no tokenizer.json")
    stops = list(getattr(tokenizer, "stop_ids", ()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_folder(folder) as building:
        tokenizer.save_pretrained(building)
        files.write_json(building / "generation_config.json", {"eos_token_id": stops})


def _named(config: dict[str, Any]) -> dict[str, str]:
    """The special tokens that a tokenizer's configuration names."""
    found = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = config.get(name)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text:
            found[name] = text
    return found


def _template(folder: Path, config: dict[str, Any]) -> str | dict[str, str]:
    """The template, or several by name."""
    path = folder / "chat_template.jinja"
    named = config.get("chat_template")
    if isinstance(named, list):
        named = {entry["name"]: entry["template"] for entry in named}
    if path.is_file():
        named = path.read_text(encoding="utf-8")
        more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        if more:
            texts = {path.stem: path.read_text(encoding="utf-8") for path in more}
            named = {"default": named} | texts
    return named or PLAIN_TEMPLATE
