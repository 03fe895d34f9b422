"""What cannot work is refused before training, and no figure is worse than said."""

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from perpetune.cli.main import main
from perpetune.render.evaluate import show_evaluation
from perpetune.render.tune import show_sweep, show_training
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.evaluate import BenchmarkResult, Evaluation, Score, Verdict, comparison_table, evaluation
from tasks.model import base_model
from tasks.rendering import plots
from tasks.settings import Settings, load_settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.batching import batches
from tasks.tune.data.groups import Group, examples_of
from tasks.tune.methods import recommended_ranges as ranges
from tasks.tune.plan import plan
from tasks.tune.settings import Tune
from tasks.tune.sweep import Trial, sweep
from tasks.tune.sweep.plots import draw_curves, draw_heatmap
from tasks.tune.sweep.proposals import configurations
from tasks.tune.train import checkpoint, train, trainer
from tasks.tune.train.run import lr_multiplier
from tasks.tune.train.trials import TrialRun
from tests.tasks.test_tune import padded_losses, write_data

QUICK = {"rank": 4, "learning_rate": 1e-2, "batch_size": 4, "max_steps": 2, "evaluations": 2}
SEARCH = {"rank": [4], "learning_rate": [1e-3, 1e-2], "prune": False, "packed": 1}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "curated")


@pytest.fixture
def call(tiny_base: Path, tmp_path: Path) -> Callable[..., tuple[int, dict]]:
    """Run a command with `--json`: `call("train", "--data", ..., "tune.epochs=4", base=FOLDER)`."""

    def run(*arguments: str, base: Path = tiny_base) -> tuple[int, dict]:
        plain = [each for each in arguments if not re.match(r"\w+(\.\w+)+=", each)]
        chosen = [each for each in arguments if each not in plain]
        chosen = ["base.dtype=float32", *chosen]
        chosen += [f"base.model={base}", f"project.state_dir={tmp_path / 'state'}"]
        given = [part for each in chosen for part in ("--set", each)]
        result = CliRunner().invoke(main, [*plain, "--json", *given])
        return result.exit_code, json.loads(result.stdout)

    return run


def broken(tiny_base: Path, folder: Path, value: float) -> Path:
    """A copy of the tiny base in which one weight of a layer is this."""
    shutil.copytree(tiny_base, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0].fill_(value)
    model.save_pretrained(folder)
    return folder


# Settings


def test_copies_of_settings_are_validated():
    assert Tune().replace(max_steps=3).max_steps == 3
    with pytest.raises(BadInput, match="tune: shard spreads"):
        Tune(processes=2).replace(shard=True, method="full")
    with pytest.raises(BadInput, match=r"tune\.method\.rank: given 0; allowed: a number"):
        Tune().method.replace(rank=0)
    with pytest.raises(BadInput, match=r"tune\.method\.rank: given 0; allowed"):
        Tune().replace(method={"rank": 0})
    with pytest.raises(BadInput, match=r"tune\.rnak: unknown key; did you mean tune\.method\.rank"):
        Tune().replace(rnak=2)
    with pytest.raises(BadInput, match=r"tune\.method\.rnak: unknown key; did you mean rank"):
        Tune().method.replace(rnak=2)
    settings = Settings()
    assert settings.replace(tune=settings.tune.replace(max_steps=2)).tune.max_steps == 2


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"tune": {"shard": True, "processes": 2}, "sweep": {"method": ["lora", "full"]}},
            r"sweep\.space\.tune\.method: tune: shard spreads",
        ),
        (
            {"tune": {"trained_modules": []}, "sweep": {"method": ["feature_extraction"]}},
            r"sweep\.space\.tune\.method: tune\.method\.trained_modules: given \[\]; .*at least 1",
        ),
        (
            {"base": {"quantisation": "nf4"}, "sweep": {"method": ["lora", "full"]}},
            r"sweep\.space\.tune\.method: full .*base\.quantisation",
        ),
        (
            {"base": {"quantisation": "nf4"}, "tune": {"method": "full"}},
            r"tune\.method: full .*base\.quantisation",
        ),
    ],
)
def test_what_a_sweep_would_make_by_copying_is_refused(tmp_path, sections, message):
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(sections))
    with pytest.raises(BadInput, match=message):
        load_settings(params)


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("tune.learning_rate=2", "given 2; allowed: a number of at most 1, or 'auto'"),
        ("tune.learning_rate=.nan", "given nan; allowed: a finite number, or 'auto'"),
        ("tune.epochs=.inf", "given inf; allowed: a finite number"),
        ("tune.method.alpha=x", "given 'x'; allowed: a number, or 'r' or '2r'"),
        (
            "tune.method.target_modules=3",
            "given 3; allowed: 'all-linear', 'qv' or 'qkvo', or a list",
        ),
        ("tune.method.rank=1.5", "given 1.5; allowed: a whole number"),
        ("tune.shard=maybe", "given 'maybe'; allowed: true or false"),
        (
            "tune.source_weights={a: 2}",
            "tune.source_weights.a: given 2; allowed: a number of at most 1",
        ),
        ("tune.validation_examples=0", "given 0; allowed: 'auto', or a number of at least 1"),
        (
            "sweep.rank=8",
            "sweep.space.tune.method.rank: given 8; allowed: a list of values, or",
        ),
        ("sweep.rank=[4, a]", "sweep.space.tune.method.rank: given 'a'; allowed: a whole number"),
        ("sweep.adapters_per_pass=0", "given 0; allowed: 'auto', or a number of at least 1"),
        ("evaluate.batch_size=null", "given None; allowed: a whole number"),
        ("plan.memory_gb=-1", "given -1; allowed: a number above 0"),
        ("curate.quality.mean_word_length=[1]", "given [1]; allowed: two values"),
        ("project.name=a/b", "given 'a/b'; allowed: letters, digits"),
    ],
)
def test_messages_of_settings_are_words(override, allowed):
    with pytest.raises(BadInput) as raised:
        load_settings(overrides=[override])
    assert allowed in str(raised.value)
    assert not re.search(
        r"constrained|literal\[|list\[|function-|valid \w+|tuple", str(raised.value)
    )


# With this base


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"rank": 65}, r"tune\.method\.rank: 65 is above the width .* 64; choose 64 or less"),
        ({"method": "adalora", "rank": 100}, r"tune\.method\.rank: 100"),
        (
            {"target_modules": ["q_proj", "v_prj"]},
            r"tune\.method\.target_modules: 'v_prj' .*did you mean v_proj\? it has .*q_proj",
        ),
        ({"target_modules": ["nowhere"]}, r"'nowhere' is the name of no module.*down_proj"),
        ({"target_modules": ["mlp"]}, r"'mlp' is no layer with weights of its own"),
        ({"target_modules": ["all-linear"]}, r"write target_modules: all-linear, without"),
        ({"target_modules": []}, r"tune\.method\.target_modules: names nothing"),
        ({"method": "ia3", "target_modules": ["k_proj", "downproj"]}, r"did you mean down_proj"),
        (
            {"method": "feature_extraction", "trained_modules": ["lm_head", "layers.9"]},
            r"tune\.method\.trained_modules: .*'layers\.9'.*it has",
        ),
        (
            {"method": "prompt", "virtual_tokens": 1000, "max_length": 1100},
            r"tune\.method\.virtual_tokens: 1000 .*2048 positions",
        ),
    ],
)
def test_settings_that_cannot_work_with_this_base_are_refused_before_it_is_loaded(
    data, tmp_path, make_settings, monkeypatch, tune, message
):
    monkeypatch.delattr(base_model, "load_model")
    with pytest.raises(BadInput, match=message):
        train(data, tmp_path / "out", make_settings(tune=QUICK | tune))
    settings = make_settings(tune=QUICK | tune, sweep=SEARCH | {"rank": [4, tune.get("rank", 4)]})
    with pytest.raises(BadInput, match=message):
        sweep(data, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_each_configuration_of_a_sweep_is_checked_before_the_first_is_trained(
    data, tmp_path, make_settings, monkeypatch, sampler
):
    monkeypatch.delattr(base_model, "load_model")
    search = SEARCH | {"sampler": sampler, "trials": 99}
    for more, message in (
        ({"target_modules": ["qv", ["q_proj", "kproj"]]}, "did you mean k_proj"),
        ({"method": ["lora", "prefix"]}, r"tune\.method\.virtual_tokens"),
        ({"rank": [4, 128]}, r"tune\.method\.rank: 128"),
    ):
        settings = make_settings(tune=QUICK | {"max_length": 2040}, sweep=search | more)
        with pytest.raises(BadInput, match=message):
            sweep(data, tmp_path / "out", settings)


def test_a_sweep_over_methods_is_warned_of_rates_that_do_not_suit_them(make_settings):
    settings = make_settings(
        tune=QUICK | {"batch_size": 8},
        sweep={"method": ["lora", "full"], "rank": [8], "learning_rate": [3e-4, 3e-3]},
    )
    tunes = configurations(settings)
    told = "\n".join(each for each in ranges.sweep_warnings(tunes, 64) if "rate" in each)
    assert len(told.splitlines()) == 2
    assert re.search(r"0\.0003: outside 0\.0026 to .* lora .*a sweep with rates of its own", told)
    assert re.search(r"0\.003: outside 0\.00026 to .* full ", told)
    # A search of one method goes beyond the usual on purpose.
    one = [tune for tune in tunes if tune.method.name == "lora"]
    assert not [each for each in ranges.sweep_warnings(one, 64) if "learning_rate" in each]
    low = [tune.replace(learning_rate=1e-6) for tune in one]
    assert [each for each in ranges.sweep_warnings(low, 64) if "learning_rate: 1e-06" in each]


# With these data


def long_answers(folder: Path, long: int, short: int, words: int = 60) -> Path:
    """Curated records, so many of which have an answer of about `words` tokens."""
    write_data(folder)
    rows = []
    for number in range(long + short):
        answer = " ".join(["red"] * (words if number < long else 2))
        turns = [
            {"role": "user", "content": f"Box {number}?"},
            {"role": "assistant", "content": answer},
        ]
        rows.append({"id": str(number), "messages": turns, "source": "a.jsonl", "line": number + 1})
    files.write_jsonl(folder / "train.jsonl", rows)
    return folder


def test_answers_are_never_cut(tmp_path, make_settings):
    settings = make_settings(tune=QUICK | {"max_length": 50})
    few = long_answers(tmp_path / "few", 2, 40)
    read = tuning_data.read(few, settings)
    assert (read.train.counts.examples, read.train.counts.too_long) == (40, 2)
    assert all("red red" in str(each.id) or each.targets < 10 for each in read.train.groups)
    (warning,) = [each for each in tuning_data.warnings(read, settings.tune) if "answers" in each]
    assert re.search(r"2 examples of train\.jsonl are left out.* \d+ would keep", warning)
    metrics = train(few, tmp_path / "out", settings).to_json()
    assert metrics["data"]["train"]["too_long"] == 2
    assert warning in metrics["warnings"]
    many = long_answers(tmp_path / "many", 5, 40)
    with pytest.raises(
        BadInput, match=r"tune\.max_length: 50 tokens cut the answers of 5 of the 45"
    ):
        tuning_data.read(many, settings)


def test_prompts_that_are_cut_are_counted(data, make_settings):
    settings = make_settings(tune=QUICK | {"max_length": 40})
    read = tuning_data.read(data, settings)
    counts = read.train.counts
    assert (counts.examples, counts.too_long, counts.longest) == (24, 0, 47)
    assert counts.cut == 8  # the question asked three times
    assert counts.tokens_cut == 3 * 4 + 5 * 7
    (warning,) = [each for each in tuning_data.warnings(read, settings.tune) if "train" in each]
    assert "8 of 24 examples" in warning
    assert "47 tokens" in warning
    whole = tuning_data.read(data, make_settings(tune=QUICK))
    assert tuning_data.warnings(whole, Tune(batch_size=4)) == []
    assert "tune.batch_size: 100" in tuning_data.warnings(whole, Tune(batch_size=100))[0]


@pytest.mark.parametrize("length", [16, 24])
def test_a_length_that_no_example_has_is_refused(data, tmp_path, call, length):
    for command in ("train", "sweep"):
        given = ("--data", str(data), "--out", str(tmp_path / "out"), f"tune.max_length={length}")
        code, out = call(command, *given, "sweep.rank=[4]")
        assert code == 2
        assert re.search(
            rf"tune\.max_length: {length} tokens cut .*24 examples.* 47 ", out["error"]
        )


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"text": "a", "label": "good"}, "labelled"),
    ],
)
def test_other_kinds_of_records_are_refused_before_anything_is_computed(
    data, tmp_path, make_settings, monkeypatch, row, kind
):
    with (data / "train.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    for name in ("load_tokenizer", "load_model"):
        monkeypatch.delattr(base_model, name)
    for work in (train, sweep):
        with pytest.raises(BadInput, match=rf"train\.jsonl:25: 1 of kind {kind} among 25"):
            work(data, tmp_path / "out", make_settings())
    with pytest.raises(BadInput, match=r"supervised tuning learns from chats and texts"):
        plan(data, make_settings())


def test_what_the_steps_see_is_said(data, tmp_path, make_settings, capsys):
    metrics = train(data, tmp_path / "out", make_settings(tune=QUICK))
    assert (metrics.examples_seen, metrics.train_examples) == (8, 24)
    assert metrics.epochs == pytest.approx(1 / 3)
    show_training(metrics)
    assert "8 of 24 examples seen, 0.33 epochs" in capsys.readouterr().out
    result = sweep(data, tmp_path / "sweep", make_settings(tune=QUICK, sweep=SEARCH))
    assert (result.examples_seen, result.train_examples) == (8, 24)
    show_sweep(result)
    assert "8 of 24 examples seen, 0.33 epochs" in capsys.readouterr().out
    seen = tuning_data.seen(trainer.prepare(data, make_settings()).train, Tune(), 0)
    assert str(seen) == "9 steps see 24 of 24 examples, 3 epochs"


# Losses that are no numbers


def strict(path: Path) -> dict:
    def refuse(name: str) -> None:
        raise AssertionError(f"{path} holds {name}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "dtype", "remedy"),
    [(math.nan, "float32", "weights may be damaged"), (6e4, "float16", "base.dtype to bfloat16")],
)
def test_a_base_without_a_finite_loss_ends_the_work_with_a_sentence(
    data, tmp_path, call, tiny_base, value, dtype, remedy
):
    base, out = broken(tiny_base, tmp_path / "base", value), str(tmp_path / "out")
    given = ("--data", str(data), "--out", out, f"base.dtype={dtype}", "tune.max_steps=1")
    for command in ("train", "sweep"):
        code, said = call(command, *given, "sweep.rank=[4]", base=base)
        assert code == 1
        assert "no finite loss" in said["error"]
    code, said = call(
        "evaluate", "base", "--data", str(data / "validation.jsonl"), f"base.dtype={dtype}",
        base=base,
    )  # fmt: skip
    assert code == 1
    assert "the base model gives no finite loss" in said["error"]
    assert "adapter" not in said["error"]
    # The same command works once the cause is gone.
    code, said = call("train", *given, "base.dtype=float32")
    assert code == 0
    assert math.isfinite(said["validation_loss"])


def test_a_poisoned_checkpoint_is_started_over_with_a_word(
    data, tmp_path, make_settings, monkeypatch, caplog
):
    settings, out = make_settings(tune=QUICK | {"checkpoint_minutes": 1e-6}), tmp_path / "out"
    run = TrialRun(out, settings)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train_runs(trainer.prepare(data, settings), [run], on_step=stop)
    with pytest.raises(KeyboardInterrupt):  # after a step, so that there is a checkpoint
        trainer.train_runs(
            trainer.prepare(data, settings), [run],
            on_step=lambda _, run: stop() if run.step == 2 else None,
        )  # fmt: skip
    progress = out / "checkpoint" / "progress.json"
    assert checkpoint.read_progress(out)["initial_validation_loss"] > 0
    poisoned = files.read_json(progress) | {"initial_validation_loss": math.nan}
    progress.write_text(json.dumps(poisoned))  # as earlier versions wrote it
    assert "NaN" in progress.read_text()
    assert checkpoint.read_progress(out) is None
    metrics = train(data, out, settings).to_json()
    assert "starting over" in caplog.text
    alone = train(data, tmp_path / "alone", settings).to_json()
    assert metrics["validation_loss"] == alone["validation_loss"]


def test_a_trial_that_leaves_the_finite_numbers_says_why(
    data, tmp_path, make_settings, monkeypatch, capsys
):
    backward = trainer.backward

    def broken_backward(runs, *given):
        losses, gradients = backward(runs, *given)
        if runs[0].tune.learning_rate == 1e-2 and runs[0].step == 1:
            gradients[0][0] = gradients[0][0] * math.nan
        return losses, gradients

    monkeypatch.setattr(trainer, "backward", broken_backward)
    out = tmp_path / "out"
    result = sweep(data, out, make_settings(tune=QUICK, sweep=SEARCH))
    (failed,) = [trial for trial in result.trials if trial.state == "failed"]
    assert failed.params["learning_rate"] == 1e-2
    assert failed.reason == "the gradient is nan at step 2"
    assert strict(out / "sweep.json") == result.to_json()
    show_sweep(result)
    shown = " ".join(capsys.readouterr().out.split())
    assert "failed" in shown
    assert "gradient" in shown
    with pytest.raises(PerpetuneError, match="the gradient is nan at step 2"):
        train(data, tmp_path / "alone", make_settings(tune=QUICK))
    assert not (tmp_path / "alone" / "best").exists()


# Few examples


@pytest.mark.parametrize(("examples", "known"), [(1, False), (2, False), (10, True)])
def test_few_validation_examples_are_enough(tmp_path, make_settings, capsys, examples, known):
    data = write_data(tmp_path / "curated", validation_count=examples)
    out = tmp_path / "out"
    result = sweep(data, out, make_settings(tune=QUICK, sweep=SEARCH))
    assert strict(out / "sweep.json") == result.to_json()
    assert (result.selection.optimism is not None) == known
    assert (result.selection.reason is None) == known
    show_sweep(result)
    shown = capsys.readouterr().out
    assert "nan" not in shown
    assert ("too few" in shown) == (not known)


@pytest.mark.parametrize("examples", [1, 2, 5])
def test_few_training_examples_are_enough(tmp_path, make_settings, examples):
    data = write_data(tmp_path / "curated", train_count=examples, validation_count=1)
    metrics = train(data, tmp_path / "out", make_settings(tune=QUICK | {"max_steps": 1})).to_json()
    assert metrics["examples_seen"] == min(4, examples)
    small = any("is more than the" in each for each in metrics["warnings"])
    assert small == (examples < 4)


def test_as_many_validation_examples_as_are_cheap():
    from tasks.model.encoding import Example

    def some(count: int) -> list[Group]:
        return [Group.of(Example(str(n), "x", (5,) * 10, (True,) * 10)) for n in range(count)]

    def count(steps: int) -> int:
        tune = Tune(max_steps=steps, batch_size=8, evaluations=4, epochs=100)
        return trainer.validation_count(some(1000), some(1000), tune, 0)

    assert count(20) == 40
    # A tenth of 1,000 steps of 8 examples, forward and backward, is 2,400 forward passes.
    assert count(1000) == 600
    assert trainer.validation_count(some(9), some(9), Tune(validation_examples=7), 0) == 7


# Worse than the base


def test_a_result_that_is_no_better_than_the_base_is_said_loudly(
    data, tmp_path, make_settings, capsys, caplog
):
    worse = QUICK | {"learning_rate": 1.0, "warmup_share": 0.0}
    trained = train(data, tmp_path / "out", make_settings(tune=worse))
    assert trained.validation_loss > trained.initial_validation_loss
    assert trained.worse_than_base
    assert "no better than the base" in caplog.text
    assert (tmp_path / "out" / "best").is_dir()
    show_training(trained)
    assert "No better than the base model" in capsys.readouterr().out
    settings = make_settings(tune=worse, sweep=SEARCH | {"learning_rate": [1.0]})
    result = sweep(data, tmp_path / "sweep", settings)
    assert result.worse_than_base
    assert result.best.worse_than_base
    show_sweep(result)
    assert "No better than the base model" in capsys.readouterr().out
    good = train(data, tmp_path / "good", make_settings(tune=QUICK))
    assert not good.worse_than_base


# Plans


def test_a_plan_needs_no_weights(data, tmp_path, tiny_base, call):
    base = Path(shutil.copytree(tiny_base, tmp_path / "bare"))
    (base / "model.safetensors").unlink()
    code, found = call("plan", "--data", str(data), base=base)
    assert code == 0
    assert found["model"]["loss"] is None
    assert "holds no weights" in found["model"]["loss_unknown"]
    assert all(each["memory_bytes"] and each["seconds"] is None for each in found["methods"])
    assert (found["data"]["examples_seen"], found["data"]["examples"]) == (24, 24)
    code, said = call("train", "--data", str(data), "--out", str(tmp_path / "out"), base=base)
    assert code == 2
    assert "without weights there is only `perpetune plan`" in said["error"]


def test_a_plan_refuses_a_method_that_training_would_refuse(data, call):
    code, found = call("plan", "--data", str(data), "tune.method.rank=100")
    assert code == 0
    refused = {each["method"] for each in found["methods"] if each["memory_bytes"] is None}
    assert refused == {"lora", "qlora", "dora", "adalora"}
    lora = next(each for each in found["methods"] if each["method"] == "lora")
    assert "tune.method.rank: 100 is above the width" in lora["notes"][0]


# Pictures and the live table


@pytest.fixture
def figures(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, _: drawn.append(figure))
    return drawn


def trials_of(count: int) -> list[Trial]:
    return [
        Trial(
            number=number,
            state="pruned" if number else "complete",
            steps=5,
            params={"rank": 4, "learning_rate": 10.0**-number, "alpha": 8},
            validation_loss=2 + number / 100,
        )
        for number in range(count)
    ]


def test_curves_show_the_base_and_where_evaluations_were(figures, tmp_path):
    trials = trials_of(12)
    curve = [{"step": n} | ({"validation_loss": 2.0} if n in (3, 5) else {}) for n in range(1, 6)]
    draw_curves(trials, dict.fromkeys(range(12), curve), 0, 3.0, tmp_path / "curves.png")
    (axes,) = figures[0].axes
    assert [*axes.get_xticks()] == [0, 3, 5]
    labelled = [line for line in axes.lines if line.get_label()[0] != "_"]
    assert labelled[-1].get_label() == "base, 3.000"
    lines = labelled[:-1]
    assert all(line.get_ydata()[0] == 3.0 for line in lines)
    looks = [(line.get_color(), str(line.get_linestyle())) for line in lines]
    assert len(set(looks)) == 12
    assert all(a[0] != b[0] for a, b in itertools.pairwise(looks))


def test_a_stopped_cell_says_after_how_many_steps(figures, tmp_path):
    draw_heatmap(trials_of(3), 0, 3.0, tmp_path / "heatmap.png")
    axes = figures[0].axes[0]
    assert [text.get_text() for text in axes.texts] == [
        "2.000", "2.010\nstopped after 5 steps", "2.020\nstopped after 5 steps"
    ]  # fmt: skip
    assert "base: 3.000" in figures[0].get_suptitle()


def test_the_live_table_shows_a_rung_when_a_trial_reaches_it(data, tmp_path, make_settings):
    settings = make_settings(tune=QUICK, sweep=SEARCH | {"prune": True, "reduction_factor": 2})
    seen = []
    sweep(
        data,
        tmp_path / "out",
        settings,
        on_progress=lambda trials: seen.append([trial.rung for trial in trials]),
    )
    assert [0, 0] in seen
    assert [1, 0] in seen or [0, 1] in seen  # the second has not taken a step yet


# What was right already


def test_three_steps_are_those_of_a_padded_loop_with_peft(data, tmp_path, make_settings, tiny_base):
    """A loop written by hand: PEFT's own forward, padded batches, AdamW, clipping, warm-up."""
    tune = QUICK | {"max_steps": 3, "evaluations": 1, "rank": 4}
    settings = make_settings(tune=tune)
    train(data, tmp_path / "out", settings)
    mine = [row["train_loss"] for row in files.read_jsonl(tmp_path / "out" / "curve.jsonl")]
    groups = tuning_data.read(data, settings).train.groups
    torch.manual_seed(settings.project.seed)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config).train()
    trained = [each for each in model.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(trained, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches(groups, settings.tune, 0), start=1):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * lr_multiplier(step, 3, settings.tune)
        loss = padded_losses(model, examples_of(batch)).sum() / sum(each.targets for each in batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        losses.append(loss.item())
    assert mine == pytest.approx(losses, abs=2e-5)


def test_a_base_in_shards_is_the_same_base(data, tmp_path, make_settings, tiny_base):
    folder = tmp_path / "shards"
    shutil.copytree(tiny_base, folder)
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(folder, max_shard_size="5MB")
    assert len([*folder.glob("*.safetensors")]) > 1
    found = [
        train(data, tmp_path / name, make_settings(tune=QUICK, base={"model": str(base)}))
        for name, base in (("whole", tiny_base), ("sharded", folder))
    ]
    assert found[0].validation_loss == found[1].validation_loss


def test_lanes_leave_embeddings_alone(data, tmp_path, make_settings):
    """PEFT adds all active adapters' updates to each token's embedding, lanes or not."""
    results = []
    for packed in (1, 2):
        search = SEARCH | {"target_modules": [["embed_tokens", "q_proj"]], "packed": packed}
        result = sweep(data, tmp_path / str(packed), make_settings(tune=QUICK, sweep=search))
        results.append([trial.validation_loss for trial in result.trials])
    assert results[0] == results[1]


# Measured


def test_an_adapter_that_names_another_base_is_measured_with_a_word(
    tmp_path, settings, tiny_base, caplog
):
    adapter = tmp_path / "adapter"
    for base in (str(tiny_base), "owner/other"):
        caplog.clear()
        files.write_json(adapter / "adapter_config.json", {"base_model_name_or_path": base})
        evaluation._warn_of_another_base(adapter, settings)
        assert ("was made for owner/other" in caplog.text) == (base == "owner/other")


def test_a_metric_that_one_system_has_no_score_in_is_not_compared(capsys):
    def result(perplexity):
        figure = Score(value=7.4, low=2.7, high=20.1, n=20)
        scores = {"loss": figure, "perplexity": perplexity, "rouge_l": None}
        return Evaluation(
            model="base",
            benchmarks={"b": BenchmarkResult(examples=20, generated=0, scores=scores)},
            seconds=1,
        )

    wide = result(Score(value=1e200, low=1e199, high=1e201, n=20))
    verdict = Verdict(
        reference="base",
        gates=(),
        models={"base": result(None), "candidate": wide},
        review="review.html",
        seconds=1,
    )
    assert [row.metric for row in comparison_table(verdict)] == ["loss"]
    show_evaluation(wide)
    assert "1e+200 [1e+199, 1e+201]" in capsys.readouterr().out
