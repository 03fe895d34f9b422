"""What is served is what is evaluated: the same prompt, the same stop, the same reading."""

from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from tasks import records
from tasks.evaluate.generation import answer
from tasks.model import base_model
from tasks.model.encoding import encode_prompt
from tasks.registry import Candidate, Registry
from tasks.settings import Settings
from tests.tasks.templates import QWEN3
from tests.tasks.test_answers_end import base


def test_a_template_of_ones_own_is_served_where_its_file_is_gone(
    new_project: Callable[..., Settings], tmp_path: Path
) -> None:
    import mlflow

    folder, file = tmp_path / "base", tmp_path / "mine.jinja"
    base("qwen3", folder)
    file.write_text(QWEN3.replace("{{ m.role }}\n", "{{ m.role }} says\n"))
    named = {"model": str(folder), "dtype": "float32", "chat_template": str(file)}
    settings = new_project(base=named, evaluate={"max_new_tokens": 12})
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(base_model.load_model(settings), config).save_pretrained(tmp_path / "adapter")

    tokenizer = base_model.load_tokenizer(settings)
    tuned = base_model.load_model(settings, tmp_path / "adapter")
    chats = ["Hello there", [{"role": "system", "content": "Go"}, {"role": "user", "content": "?"}]]
    messages = [[{"role": "user", "content": "Hello there"}], chats[1]]
    asked = [records.parse({"messages": turns}, "a", 1, labelled=False) for turns in messages]
    prompts = [encode_prompt(record, tokenizer) for record in asked]
    assert "user says" in tokenizer.decode(prompts[0])
    evaluated = answer(tuned, tokenizer, prompts, max_new_tokens=12, batch_size=1)

    registry = Registry(settings)
    run = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    registry.register(run, "k", Candidate(tmp_path / "adapter", True, {"passed": True}, "card"))
    registry.approve(1, "ann")
    file.unlink()
    mlflow.set_tracking_uri(registry.tracking_uri)
    served = mlflow.pyfunc.load_model("models:/tiny.model@champion").predict(chats)
    assert served == evaluated
