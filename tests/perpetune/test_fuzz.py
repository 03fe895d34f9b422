"""Whatever a user gives: an exit code of ours, one JSON object, no traceback."""

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perpetune.cli.main import main
from tasks.settings import Settings
from tests.perpetune.test_render import harmless

Run = Callable[..., dict[str, Any]]

FUZZ = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as a user does, in an empty folder; its JSON object with `code`."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> dict[str, Any]:
        environment, terminate = dict(os.environ), signal.getsignal(signal.SIGTERM)
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as end:
                main([*arguments, "--json"])
        finally:
            os.environ.clear()
            os.environ.update(environment)
            signal.signal(signal.SIGTERM, terminate)
            for name in ("flows", "tasks"):
                logging.getLogger(name).handlers.clear()
                logging.getLogger(name).propagate = True
        out, err = capsys.readouterr()
        code = end.value.code
        assert code in (0, 1, 2, 3), err
        assert "Traceback" not in err
        # Bars, which transformers draws where nobody has told it not to before it is imported.
        assert harmless(err.replace("\r", "")), repr(err)
        (line,) = out.splitlines()
        value = json.loads(line, parse_constant=pytest.fail)
        assert "internal error" not in str(value.get("error")), value["error"]
        if code:
            assert value["exit_code"] == code
            assert value["error"].strip()
        return value | {"code": code}

    return call


SECTIONS = Settings().plain()
KEYS = [f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys]
KEYS += [
    "curate.privacy.email",
    "tune.source_weights.x",
    "tune.method.rank.x",
    "x.y",
    "tune",
    "a.b.c.d",
]
KEYS += [".", "="]
ODD_YAML = [
    r"1e999",
    r"-1e999",
    r".nan",
    r".inf",
    r"1e-400",
    r"0x",
    r"0o9",
    r"1_000",
    r"~",
    r"2024-01-01",
    r"2024-99-99",
    r"2024-01-01T99:00:00Z",
    r"12:30:45",
    r"!!int",
    r"!!float",
    r"!!binary",
    r"!!timestamp",
    r"!",
    r"!!",
    r"*a",
    r"&a",
    r"true",
    r"yes",
    r"null",
    r"''",
    r"'\x'",
    r'"\x"',
    r"lora",
    r"[]",
    r"{}",
    r"./gone",
    r"[lora,3]",
    r"1e",
    r"1e5",
    r"0.5",
    r"---",
    r"...",
    r"{a:1,a:2}",
    r"[[[[1]]]]",
    r"[1,[2]]",
    r"a:",
    r"-",
    r"|",
    r">",
    r"@",
    r"`",
    r"%",
    r"?",
    r":",
    r",",
    r"]",
    r"}",
    r"&",
    r"#",
    r"!",
    r"1:2:3",
    r"<<",
]
ODD_YAML += ["!!int x", "!!float x", "!!binary x", "!!timestamp x", "!!set {a}", "!!omap [a: 1]"]
ODD_YAML += ["!!python/x y", "{a: 1, a: 2}", "{? [1]: 2}", "&a [*a]", "{<<: x}", "{<<: [1]}"]
ODD_YAML += ["a: b: c", "- a", "|\n x", "%YAML 9.9\n---\n1", "\x00", "\x1b", "--- 1\n--- 2"]
ODD_YAML += ["data\n", "a\tb", "\ufeff1", "9" * 400, "9" * 5000]
YAML = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(ODD_YAML),
)
NAMED = st.tuples(st.sampled_from(KEYS) | st.text(max_size=9), YAML)


@settings(max_examples=100, **FUZZ)
@given(st.lists(NAMED, min_size=1, max_size=3))
@example([("project.state_dir", '"a\\0b"')])
@example([("project.state_dir", '"a\\e[31m"')])
@example([("project.state_dir", '"a\\ud800"')])
@example([("project.state_dir", "x" * 300)])
@example([("project.state_dir", "params.yaml/x")])
@example([("project.state_dir", "/proc/nothing")])
@example([("project.tracking_uri", "x")])
@example([("project.name", '"a\\n"')])
def test_settings_on_the_command_line(run: Run, values: list[tuple[str, str]]) -> None:
    run("status", *(part for key, value in values for part in ("--set", f"{key}={value}")))


def yaml_file(sections: dict[str, Any]) -> bytes:
    lines = []
    for name, value in sections.items():
        keys = value if isinstance(value, dict) else {}
        lines.append(f"{name}:" if keys else f"{name}: {value}")
        lines += [f"  {key}: {item}" for key, item in keys.items()]
    return "\n".join(lines).encode(errors="surrogatepass")


NAMES = st.sampled_from([key.rpartition(".")[2] for key in KEYS])
DOCUMENTS = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(str.encode),
    st.dictionaries(
        st.sampled_from(list(SECTIONS)), st.dictionaries(NAMES, YAML, max_size=3) | YAML, max_size=3
    ).map(yaml_file),
)


@settings(max_examples=100, **FUZZ)
@given(DOCUMENTS)
@example(b"\xff\xfet\x00")
@example(b"? [a, b]\n: c\n")
@example(b"tune: {rank: &a [*a]}\n")
@example(b"tune: &a\n  <<: *a\n")
@example(b"[" * 2000)
@example(b"tune:\n\trank: 1\n")
@example(b"{[1, 2]: 3}")
@example(b"tune: {1: 2, null: 3, 2024-01-01: 4, 1.5: 6}")
@example(b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n")
def test_settings_files(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    run("status")


ODD_NAMES = ["a\nb", "\x1b[31m", " ", "a b", "ü", "%s", "a?b", "a*b", "[a]", "{x}", "-x", "Q&A"]
ODD_NAMES += ["x" * 240, "a\udc80b", "~", "$HOME", "hub:", "hub:x", "s3://", "http://x", "file://"]
ODD_NAMES += ["..."]


@pytest.mark.parametrize("params", [*ODD_NAMES, ".", "gone", "/dev/null/x", "", "x" * 300])
def test_names_of_settings_files(run: Run, params: str) -> None:
    assert run("status", f"--params={params}")["code"] == 2


@pytest.fixture
def tiny(tiny_base: Path, tmp_path: Path) -> Path:
    """The folder of the run, with settings for the tiny base."""
    curate = "{quality: {min_tokens: 0}, duplicates: {similarity: null}}"
    (tmp_path / "params.yaml").write_text(
        f"base: {{model: {tiny_base}, dtype: float32}}\ncurate: {curate}\n"
    )
    return tmp_path


TEXTS = st.text(max_size=12) | st.sampled_from(["user", "assistant", "system", "tool", "x y z"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
RECORD_KEYS = [
    "prompt",
    "completion",
    "messages",
    "conversations",
    "instruction",
    "input",
    "output",
    "text",
    "chosen",
    "rejected",
    "label",
    "system",
    "tools",
    "history",
    "id",
    "group",
    "meta",
    "timestamp",
    "role",
    "content",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "from",
    "value",
    "weight",
    "question",
    "answer",
    "choices",
    "images",
    "functions",
    "thinking",
    "reasoning_content",
]
SHAPES = st.recursive(
    ANYTHING,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(RECORD_KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(RECORD_KEYS), SHAPES, min_size=1, max_size=4), max_size=4
)
CONTENTS = st.one_of(
    st.binary(max_size=80),
    ROWS.map(lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode()),
    ROWS.map(lambda rows: json.dumps(rows).encode()),
    SHAPES.map(lambda value: json.dumps(value).encode()),
    st.lists(st.text(max_size=10), max_size=4).map(lambda cells: ",".join(cells).encode()),
)
ENDINGS = st.sampled_from(
    [
        "jsonl",
        "json",
        "parquet",
        "csv",
        "tsv",
        "txt",
        "jsonl.gz",
        "json.zst",
        "csv.bz2",
        "arrow",
        "feather",
        "xlsx",
        "sqlite",
    ]
)


@settings(max_examples=40, **FUZZ)
@given(CONTENTS, ENDINGS)
def test_record_files(run: Run, tiny: Path, content: bytes, ending: str) -> None:
    good = {"prompt": "What is it?", "completion": "It is this.", "group": "a"}
    rows = [good | {"completion": f"It is number {n}.", "group": str(n)} for n in range(12)]
    (tiny / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for old in tiny.glob("odd.*"):
        old.unlink()
    (tiny / f"odd.{ending}").write_bytes(content)
    run("curate", "good.jsonl", f"odd.{ending}", "--out", "out")
    run("curate", "good.jsonl", "--against", f"odd.{ending}", "--out", "out")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_record_files(run: Run, tiny: Path, name: str) -> None:
    rows = [
        {"prompt": f"What is {n}?", "completion": f"Number {n}.", "group": n} for n in range(12)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    for file in ("", ".jsonl"):
        path = tiny / f"{name}{file}"
        if "/" not in name:
            path.write_text(content)
        run("curate", "--out", "out", "--", f"{name}{file}")
        run("curate", "--out", f"out {name}{file}", "--", f"{name}{file}")
        run("collect", "--out", "data", "--", f"{name}{file}")
        run("drift", f"--reference={name}{file}", f"--current={name}{file}")
        run("evaluate", "--data=x", "--", f"{name}{file}")


def mutate(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / name
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def cut(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CONFIG_KEYS = [
    "hidden_size",
    "num_attention_heads",
    "num_hidden_layers",
    "model_type",
    "vocab_size",
]
CONFIG_KEYS += ["architectures", "torch_dtype", "rope_scaling", "auto_map", "quantization_config"]
CONFIG_KEYS += ["eos_token_id", "pad_token_id", "head_dim", "rms_norm_eps", "hidden_act"]
DAMAGES: dict[str, Callable[[Path], object]] = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "empty config": lambda folder: (folder / "config.json").write_text(""),
    "list as config": lambda folder: (folder / "config.json").write_text("[1]"),
    "binary config": lambda folder: (folder / "config.json").write_bytes(b"\xff\x00"),
    "empty object": lambda folder: (folder / "config.json").write_text("{}"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "cut weights": lambda folder: cut(folder, "model.safetensors"),
    "empty weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "text as weights": lambda folder: (folder / "model.safetensors").write_text("{}"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "cut tokenizer": lambda folder: cut(folder, "tokenizer.json"),
    "binary tokenizer": lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff"),
    "list as tokenizer config": lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
    "folder as config": lambda folder: (
        (folder / "config.json").unlink(),
        (folder / "config.json").mkdir(),
    ),
    "odd generation config": lambda folder: (folder / "generation_config.json").write_text(
        '{"temperature": "x", "eos_token_id": "y"}'
    ),
    "unknown template": lambda folder: (folder / "chat_template.jinja").write_text("{% if %}"),
    "endless template": lambda folder: (folder / "chat_template.jinja").write_text(
        "{% for a in range(10**9) %}{% endfor %}{{ x.y.z }}"
    ),
    "nothing": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.fixture
def broken(tiny_base: Path, tmp_path: Path) -> Callable[[Callable[[Path], object]], None]:
    """Make the base of the run a damaged copy of the tiny one, beside some data."""
    rows = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(6)]
    for name in ("train", "validation", "test"):
        content = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(content)
    evaluate = "{max_generations: 1, max_new_tokens: 2}"
    (tmp_path / "params.yaml").write_text(
        "base: {model: ./base, dtype: float32}\n"
        f"tune: {{max_steps: 1, evaluations: 1}}\nevaluate: {evaluate}\n"
    )

    def damage(change: Callable[[Path], object]) -> None:
        shutil.rmtree(tmp_path / "base", ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.copytree(tiny_base, tmp_path / "base")
        change(tmp_path / "base")

    return damage


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_model_folders(run: Run, broken: Callable[..., None], name: str) -> None:
    broken(DAMAGES[name])
    for command in (
        ["curate", "train.jsonl", "--out", "out"],
        ["train", "--data", ".", "--out", "out"],
        ["evaluate", "base", "--data", "test.jsonl", "--out", "measured"],
    ):
        run(*command)


@settings(max_examples=6, **FUZZ)
@given(
    st.dictionaries(
        st.sampled_from(CONFIG_KEYS),
        # No large numbers: a model of that size would be built.
        st.none() | st.integers(-3, 9) | st.sampled_from([1.5, "x", [], {}, [1], {"a": 1}]),
        min_size=1,
        max_size=2,
    )
)
def test_model_configurations(
    run: Run, broken: Callable[..., None], values: dict[str, Any]
) -> None:
    broken(lambda folder: mutate(folder, "config.json", lambda config: config.update(values)))
    run("train", "--data", ".", "--out", "out")
