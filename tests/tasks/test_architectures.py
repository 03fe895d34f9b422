"""Each architecture is trained, measured, asked and loaded back, or refused at once.

Tiny random models: what a model says does not matter here, but that we and the plain libraries say
the same of it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from tasks import records
from tasks.core.errors import BadInput
from tasks.evaluate import generation, scoring
from tasks.model import base_model, encoding
from tasks.settings import Settings
from tasks.tune.train import TrialRun, trainer
from tasks.tune.train.finishing import finish

TEXT = (
    "say a name of the river that runs by this old town and count its many bridges one two three "
    "four five six seven stone wood iron north south east west bank water mill rain snow"
)
WORDS = TEXT.split()
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 400
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = EXPERTS | {
    "n_routed_experts": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
STATES = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
}
LINEAR = {
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}


@dataclass(frozen=True)
class Case:
    """An architecture, what its configuration needs, and in which form its sequences are read."""

    kind: str
    form: str
    config: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.kind


CASES = [
    # Attention alone looks beyond its token.
    *(
        Case(kind, "packed")
        for kind in (
            *("llama", "qwen2", "qwen3", "mistral", "ministral", "ministral3", "gemma", "phi"),
            *("gpt_neox", "opt", "olmo", "olmo2", "cohere", "smollm3", "granite", "glm", "glm4"),
            *("apertus", "arcee", "ernie4_5", "helium", "hunyuan_v1_dense", "nanochat"),
            *("persimmon", "seed_oss", "starcoder2", "diffllama", "bitnet", "jais2"),
        )
    ),
    Case("phi3", "packed", {"num_key_value_heads": 4}),
    Case("gpt2", "packed", GPT2),
    Case("gpt2", "packed", GPT2 | {"pad_token_id": None}, "gpt2 without a pad token"),
    Case("gpt_bigcode", "packed", GPT2),
    # Windows, bounds and sinks.
    Case("mistral", "packed", {"sliding_window": 16}, "mistral with a window"),
    Case("gemma2", "packed", {"sliding_window": 16, "query_pre_attn_scalar": 8}),
    Case("gemma3_text", "packed", {"sliding_window": 16, "query_pre_attn_scalar": 8}),
    Case("cohere2", "packed", {"sliding_window": 16}),
    Case("olmo3", "packed", {"sliding_window": 16}),
    Case("exaone4", "packed", {"sliding_window": 16, "sliding_window_pattern": 2}),
    Case("gpt_oss", "packed", {"num_local_experts": 4, "sliding_window": 16}),
    Case("llama4_text", "packed", EXPERTS | {"num_local_experts": 4}),
    Case(
        "llama4_text",
        "padded",
        EXPERTS | {"num_local_experts": 4, "attention_chunk_size": 16, "no_rope_layers": [1, 0]},
        "llama4 in chunks",
    ),
    # Mixtures of experts.
    Case("mixtral", "packed", {"num_local_experts": 4}),
    *(Case(kind, "packed", EXPERTS) for kind in ("qwen2_moe", "qwen3_moe", "olmoe", "flex_olmo")),
    Case("granitemoe", "packed", {"num_local_experts": 4}),
    Case("ernie4_5_moe", "packed", EXPERTS | {"moe_num_experts": 4, "moe_k": 2}),
    Case("deepseek_v2", "packed", LATENT),
    Case("deepseek_v3", "packed", LATENT),
    Case("glm4_moe", "packed", LATENT | {"num_key_value_heads": 2}),
    Case("minimax_m2", "packed", EXPERTS | {"num_local_experts": 4, "rotary_dim": 8}),
    # Convolutions, recurrences, state spaces.
    Case("lfm2", "padded", {"layer_types": ["conv", "full_attention"]}),
    Case("lfm2_moe", "padded", EXPERTS | {"layer_types": ["conv", "full_attention"]}),
    Case("recurrent_gemma", "padded", {"num_hidden_layers": 3, "lru_width": 32}),
    Case("granitemoehybrid", "padded", STATES | {"layer_types": ["mamba", "attention"]}),
    Case("minimax", "padded", {"num_local_experts": 4, "block_size": 8}),
    Case("mamba", "padded", {"state_size": 8}),
    Case(
        "mamba2",
        "padded",
        {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 8},
    ),
    Case("falcon_mamba", "padded", {"state_size": 8}),
    Case("bamba", "padded", STATES | {"attn_layer_indices": [1]}),
    Case("jamba", "padded", EXPERTS | {"attn_layer_period": 2, "attn_layer_offset": 1}),
    Case("qwen3_next", "padded", EXPERTS | LINEAR),
    Case("rwkv", "padded", {"attention_hidden_size": 32}),
    # Attention that does not go through the interface.
    Case("bloom", "padded", {"n_layer": 2, "n_head": 4}),
    Case("mpt", "padded", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256}),
    Case("falcon", "padded", {"head_dim": None, "num_kv_heads": 2}),
    Case("falcon", "padded", {"head_dim": None, "alibi": True}, "falcon with alibi"),
    Case("gptj", "padded", GPT2 | {"rotary_dim": 4}),
    Case("codegen", "padded", GPT2 | {"rotary_dim": 4}),
    Case("stablelm", "padded"),
    Case("nemotron", "padded"),
    Case("biogpt", "padded"),
    Case("doge", "padded"),
]

REFUSED = [
    *((kind, "in both directions") for kind in ("bert", "roberta", "electra", "xlm-roberta")),
    *((kind, "encoder-decoder") for kind in ("bart", "t5", "pegasus")),
    ("vit", "no causal language model"),
]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level tokenizer of some hundred tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "<|im_end|>", "<|im_start|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator([TEXT], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<|im_end|>", bos_token="<s>"
    )
    fast.chat_template = TEMPLATE
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six chats to train on and three to validate, of unequal length; two prompts begin alike."""
    folder = tmp_path_factory.mktemp("data")

    def chats(*lengths: int) -> str:
        rows = []
        for i, length in enumerate(lengths):
            prompt = " ".join(WORDS[:6] + WORDS[i : i + length])
            turns = [("user", prompt), ("assistant", " ".join(WORDS[length : length + 2 + i]))]
            messages = [{"role": role, "content": content} for role, content in turns]
            rows.append(json.dumps({"id": f"{length}-{i}", "messages": messages}))
        return "\n".join(rows) + "\n"

    (folder / "train.jsonl").write_text(chats(3, 9, 1, 14, 5, 7))
    (folder / "validation.jsonl").write_text(chats(4, 8, 17))
    return folder


@pytest.fixture
def save(tokenizer: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a random model of this architecture with the tokenizer beside it."""

    def make(kind: str, config: dict[str, Any]) -> Path:
        torch.manual_seed(0)
        sizes = {name: value for name, value in (SIZES | config).items() if value is not None}
        found = AutoConfig.for_model(kind, **sizes)
        model = AutoModelForCausalLM.from_config(found, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4)  # so that the loss depends on the context
        folder = tmp_path / "base"
        model.save_pretrained(folder)
        for file in tokenizer.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(base: Path, **tune: Any) -> Settings:
        return Settings.model_validate(
            {
                "project": {"name": "tiny", "state_dir": str(tmp_path / "state")},
                "base": {"model": str(base), "dtype": "float32"},
                "tune": {"max_steps": 2, "batch_size": 4, "evaluations": 1, "learning_rate": 1e-2}
                | {"max_length": 128, "validation_examples": 3, "micro_batch_tokens": 128}
                | tune,
            }
        )

    return make


def validation(data: Path, settings: Settings) -> list[encoding.Example]:
    tokenizer = base_model.load_tokenizer(settings)
    return [
        encoding.encode(record, tokenizer) for record in records.load([data / "validation.jsonl"])
    ]


@torch.no_grad()
def plain_loss(model: Any, examples: list[encoding.Example]) -> float:
    """Nats a target, each sequence alone, by nothing but the model's own forward."""
    total, targets = 0.0, 0
    for example in examples:
        ids = torch.tensor([example.input_ids])
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        learned = torch.tensor(example.learned[1:])
        losses = functional.cross_entropy(logits, ids[0, 1:], reduction="none")[learned]
        total, targets = total + float(losses.sum()), targets + len(losses)
    return total / targets


@torch.no_grad()
def plain_answers(model: Any, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    """The likeliest next tokens, each prompt alone, without a cache."""
    answers = []
    for prompt in prompts:
        ids = list(prompt)
        for _ in range(tokens):
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
            if ids[-1] == 2:
                break
        answers.append(ids[len(prompt) :])
    return answers


@pytest.mark.parametrize("case", CASES, ids=str)
def test_base(
    case: Case,
    save: Callable[..., Path],
    settings: Callable[..., Settings],
    data: Path,
    tmp_path: Path,
) -> None:
    folder = save(case.kind, case.config)
    chosen = settings(folder)
    prepared = trainer.prepare(data, chosen)
    assert prepared.execution.form == case.form, prepared.execution.reason

    vanilla = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    held_out = validation(data, chosen)
    ours = base_model.load_model(chosen)
    evaluated = sum(scoring.negative_log_likelihoods(ours, held_out))
    evaluated /= sum(example.targets for example in held_out)
    assert prepared.base_loss == pytest.approx(plain_loss(vanilla, held_out), abs=1e-5)
    assert evaluated == pytest.approx(prepared.base_loss, abs=1e-5)

    run = TrialRun(tmp_path / "out", chosen)
    trainer.train_runs(prepared, [run])
    metrics = finish(run).to_json()
    assert metrics["steps"] == 2
    assert metrics["memory"]["predicted_bytes"]
    best = tmp_path / "out" / "best"
    tuned = PeftModel.from_pretrained(vanilla, str(best)).eval()
    assert metrics["validation_loss"] == pytest.approx(plain_loss(tuned, held_out), abs=1e-4)
    assert metrics["validation_loss"] != pytest.approx(prepared.base_loss, abs=1e-4)

    adapted = base_model.load_model(chosen, best)
    tokenizer = base_model.load_tokenizer(chosen)
    prompts = [list(example.input_ids[: example.learned.index(True)]) for example in held_out]
    answers = generation.answer(adapted, tokenizer, prompts, max_new_tokens=4, batch_size=3)
    plain = plain_answers(tuned, prompts, 4)
    texts = [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in plain]
    assert [answer.text for answer in answers] == texts


@pytest.mark.parametrize(("kind", "reason"), REFUSED, ids=[kind for kind, _ in REFUSED])
def test_what_cannot_be_tuned_is_refused_before_the_data_is_read(
    kind: str,
    reason: str,
    save: Callable[..., Path],
    settings: Callable[..., Settings],
    data: Path,
    tokenizer: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    AutoConfig.for_model(kind).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"never read")
    for file in tokenizer.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(BadInput, match=reason) as refused:
        base_model.load_tokenizer(settings(folder))
    assert "\n" not in str(refused.value)
    with pytest.raises(BadInput, match=reason):
        trainer.prepare(data, settings(folder))


def test_rounding_of_four_bits_is_no_reason_against_packs(
    save: Callable[..., Path], settings: Callable[..., Settings], data: Path
) -> None:
    chosen = settings(save("llama", {"hidden_size": 64, "intermediate_size": 128}))
    values = chosen.model_dump()
    values["base"] |= {"quantisation": "nf4", "dtype": "bfloat16"}
    prepared = trainer.prepare(data, Settings.model_validate(values))
    assert prepared.execution.form == "packed", prepared.execution.reason
