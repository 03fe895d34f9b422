"""Tokenizers from model folders as people have them: read alike by curation and by training, or
refused in a sentence."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import records
from tasks.core.errors import BadInput
from tasks.curate import curate
from tasks.model import base_model, base_source, tokenizer_files, tokens
from tasks.model.decoder import PLAIN_TEMPLATE, Codec
from tasks.model.encoding import encode_all, encode_prompt
from tasks.settings import Settings
from tests.tasks.templates import LLAMA3, STYLES, Style, build

CHAT = {
    "messages": [
        {"role": "user", "content": "What is  the weather?"},
        {"role": "assistant", "content": "Sunny, 21 degrees.\n"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": " See you."},
    ]
}


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings for a folder with the tiny base's weights and a tokenizer of a style."""

    def make(style: Style, config: dict | None = None, **base: object) -> Settings:
        path = tmp_path / "base"
        path.mkdir(exist_ok=True)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(tiny_base / name, path)
        build(style).save_pretrained(path)
        change(path / "tokenizer_config.json", **(config or {}))
        ends = [build(style).convert_tokens_to_ids(token) for token in style.stops]
        change(path / "config.json", eos_token_id=ends or None)
        project = {"name": "tiny", "state_dir": str(tmp_path / "state")}
        model = {"model": str(path), "dtype": "float32"}
        return Settings.model_validate({"project": project, "base": model | base})

    return make


def change(path: Path, **values: object) -> None:
    before = json.loads(path.read_text())
    kept = {name: value for name, value in (before | values).items() if value is not None}
    path.write_text(json.dumps(kept))


def path_of(settings: Settings) -> Path:
    return Path(settings.base.model)


LLAMA = Style(
    STYLES["llama2"].template, kind="first", special=("<s>", "</s>"), bos="<s>", eos="</s>"
)


BARE = Style(None, special=("<s>", "</s>"), bos="<s>", eos="</s>")


@pytest.mark.parametrize(
    ("style", "config", "native"),
    [
        (STYLES["qwen3"], {}, True),
        (STYLES["phi3"], {}, True),
        # Transformers builds this class anew, whatever tokenizer.json says.
        (LLAMA, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}, False),
        # BOS by the configuration only.
        (BARE, {"add_bos_token": True}, False),
        (STYLES["zephyr_first"], {"add_bos_token": False}, False),
        (STYLES["chatml"], {"tokenizer_class": "Qwen2Tokenizer"}, False),
        # A token that the vocabulary has not is added by transformers.
        (STYLES["chatml"], {"bos_token": "<|begin|>"}, False),
    ],
)
def test_curation_reads_a_tokenizer_as_training_does(folder, style, config, native) -> None:
    settings = folder(style, config)
    located = tokens.locate(settings)
    assert (located == path_of(settings)) == native
    light, whole = tokens.load(located), base_model.load_tokenizer(settings)
    assert Codec.of(light).ends == Codec.of(whole).ends
    assert bool(Codec.of(whole).bos) == (style.adds_bos or config.get("add_bos_token", False))
    for row in (CHAT, {"text": " One two.\n\nThree  four"}):
        record = records.parse(row, "a.jsonl", 1)
        assert encode_all(record, light, 512) == encode_all(record, whole, 512)
        assert encode_prompt(record, light) == encode_prompt(record, whole)
    texts = ["Hello. Bye", "", " x", "\n\n", "漢字 🙂"]
    ids = whole(texts, add_special_tokens=False)["input_ids"]
    assert light.count(texts) == list(map(len, ids))


def test_a_changed_tokenizer_is_read_again(folder) -> None:
    settings = folder(BARE, {"add_bos_token": True})
    before = tokens.locate(settings)
    assert tokens.locate(settings) == before
    change(path_of(settings) / "tokenizer_config.json", add_bos_token=False)
    after = tokens.locate(settings)
    assert before != after
    assert Codec.of(tokens.load(before)).bos and not Codec.of(tokens.load(after)).bos


def test_a_template_of_ones_own_takes_the_place_of_the_models(
    folder, tmp_path, write_lines
) -> None:
    file = tmp_path / "mine.jinja"
    plain = folder(STYLES["chatml"])
    mine = folder(STYLES["chatml"], chat_template=str(file))
    turn = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>{% endfor %}"
    file.write_text(turn + "{% if add_generation_prompt %}[assistant] {% endif %}")
    record = records.parse(CHAT, "a.jsonl", 1)
    whole, light = base_model.load_tokenizer(mine), tokens.load(tokens.locate(mine))
    for tokenizer in (whole, light):
        ids = encode_prompt(record, tokenizer)
        assert whole.decode(ids).endswith("<|im_end|>[user] Bye<|im_end|>[assistant] ")
    # Other tokens are another base: nothing kept under the one counts for the other.
    first = base_source.identity(mine)
    assert first != base_source.identity(plain)
    located = tokens.locate(mine)
    file.write_text(file.read_text() + " ")
    assert base_source.identity(mine) != first and tokens.locate(mine) != located
    # Curation counts with it, and drops what only the model's own template could render.
    rows = [{"prompt": f"one {i} two three", "completion": f"four {i} five"} for i in range(30)]
    source = write_lines("a.jsonl", *rows)
    totals = [
        curate([str(source)], [], tmp_path / f"out{i}", settings).tokens.total
        for i, settings in enumerate((plain, mine))
    ]
    assert totals[0] != totals[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"base\.chat_template: .*mine\.jinja: No such file"),
        (b"{% for %}", r"base\.chat_template: .*mine\.jinja: no Jinja template"),
        (b"just words", r"base\.chat_template: .*mine\.jinja: no Jinja template"),
        (b"{{ '\xff' }}", r"base\.chat_template: .*mine\.jinja: not UTF-8"),
    ],
)
def test_a_template_that_is_none_is_refused(folder, tmp_path, content, words) -> None:
    if content is not None:
        (tmp_path / "mine.jinja").write_bytes(content)
    settings = folder(STYLES["chatml"], chat_template=str(tmp_path / "mine.jinja"))
    for use in (base_model.load_tokenizer, tokens.locate, base_source.identity):
        with pytest.raises(BadInput, match=words):
            use(settings)


def test_a_folder_without_a_tokenizer_is_refused_in_a_sentence(folder) -> None:
    settings = folder(STYLES["chatml"])
    (path_of(settings) / "tokenizer.json").unlink()
    for use in (base_model.load_tokenizer, tokens.locate):
        with pytest.raises(BadInput, match=r"holds no tokenizer .*copy the tokenizer's files"):
            use(settings)
    (path_of(settings) / "tokenizer.json").write_text('{"version": "1.0"}')
    for use in (base_model.load_tokenizer, tokens.locate):
        with pytest.raises(BadInput, match=r"the tokenizer in .* cannot be read"):
            use(settings)


def test_a_tokenizer_without_an_end_is_refused(folder) -> None:
    for config in ({"eos_token": None}, {"eos_token": None, "add_bos_token": False}):
        settings = folder(STYLES["chatml"], config)
        change(path_of(settings) / "tokenizer_config.json", eos_token=None)
        for use in (base_model.load_tokenizer, tokens.locate):
            with pytest.raises(BadInput, match=r"no end token.*eos_token"):
                use(settings)
    # The model's own configuration may name it, and comes first in generation_config.json.
    (path_of(settings) / "generation_config.json").write_text('{"eos_token_id": [1]}')
    assert Codec.of(base_model.load_tokenizer(settings)).end == "<|im_end|>"
    assert Codec.of(tokens.load(tokens.locate(settings))).end == "<|im_end|>"


def test_what_a_user_should_know_of_a_template_is_said_once(folder, caplog) -> None:
    tokenizer_files._say.cache_clear()
    with caplog.at_level(logging.WARNING):
        settings = folder(STYLES["none"])
        for _ in range(2):
            base_model.load_tokenizer(settings)
            tokens.locate(settings)
        assert base_model.load_tokenizer(settings).chat_template == PLAIN_TEMPLATE
    assert [r.getMessage() for r in caplog.records if "plain headings" in r.getMessage()] == [
        f"{settings.base.model} has no chat template: turns go under plain headings; "
        "base.chat_template names a template of your own"
    ]
    dated = Style(LLAMA3, special=STYLES["llama3"].special, eos="<|eot_id|>")
    with caplog.at_level(logging.WARNING):
        base_model.load_tokenizer(folder(dated))
    assert "always 26 July 2024" in caplog.text
    with caplog.at_level(logging.WARNING):
        base_model.load_tokenizer(folder(STYLES["deepseek_r1"]))
    assert "opens each answer with '<think>\\n'" in caplog.text


def test_named_templates_are_told_apart_by_tools(folder) -> None:
    from tasks.model.decoder import ChatTemplate

    template = ChatTemplate.of({"default": "a", "tool_use": "b", "rag": "c"}, {})
    assert template.render([]) == "a"
    assert template.render([], [{"type": "function"}]) == "b"
