"""Each sequence of a pack gets its own prompt, exactly as PEFT gives it to a sequence alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from tasks.core.errors import BadInput
from tasks.evaluate.generation import answer
from tasks.evaluate.scoring import negative_log_likelihoods
from tasks.model.encoding import Example
from tasks.settings import Settings
from tasks.tune.data.attention import packed_attention
from tasks.tune.data.packing import pack, sequence_losses
from tasks.tune.methods import METHODS
from tasks.tune.methods.adapters import PeftAdapter
from tasks.tune.settings import Tune
from tests.sections import tune_from

KINDS = ["prompt", "ptuning-v1", "ptuning-v2", "prefix"]
every_kind = pytest.mark.parametrize("kind", KINDS)
LENGTHS = [7, 19, 2, 7, 30, 3]
WORDS = 200


def llama() -> PreTrainedModel:
    """Two key-value heads for four heads, of a size that is not width / heads."""
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    return LlamaForCausalLM(config)


def gpt2() -> PreTrainedModel:
    """Learned positions, which tell where each token stands."""
    config = GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    model = GPT2LMHeadModel(config)
    torch.nn.init.normal_(model.transformer.wpe.weight)
    return model


@pytest.fixture(params=[llama, gpt2], ids=["llama", "gpt2"])
def base(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    return request.param().eval()


def tune_of(kind: str, **more: object) -> Tune:
    method, _, version = kind.partition("-")
    given = {"method": method, "virtual_tokens": 10, "max_length": 54} | more
    return tune_from(**given, **({"ptuning_version": version} if version else {}))


def attach(base: PreTrainedModel, kind: str, **more: object):
    tune = tune_of(kind, **more)
    return METHODS.get(tune.method.name).attach(base, tune, 1)


def some_examples(lengths: list[int]) -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    return [
        Example(
            str(number),
            "x",
            tuple(torch.randint(WORDS, (length,), generator=generator).tolist()),
            tuple(at > length // 3 or at == 1 for at in range(length)),
        )
        for number, length in enumerate(lengths)
    ]


def alone(model: torch.nn.Module, example: Example) -> torch.Tensor:
    """The loss of one sequence by vanilla PEFT's forward."""
    ids = torch.tensor([example.input_ids])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :]
    chosen = torch.tensor(example.learned[1:])
    return torch.nn.functional.cross_entropy(
        logits[:-1][chosen], ids[0, 1:][chosen], reduction="sum"
    )


def in_pack(adapted: PeftAdapter, base: PreTrainedModel, examples: list[Example]) -> torch.Tensor:
    packed = pack(examples, base.device)
    with packed_attention(base):
        return sequence_losses(adapted.network, packed, adapted.inputs(packed))[0]


@torch.no_grad()
def stir(adapted: PeftAdapter) -> None:
    """Change every parameter, so that nothing is at its beginning."""
    generator = torch.Generator().manual_seed(2)
    for each in adapted.parameters().values():
        each.add_(0.3 * torch.randn(each.shape, generator=generator))


@every_kind
def test_a_pack_gives_each_sequence_the_loss_and_gradients_of_vanilla_peft(kind, base):
    examples = some_examples(LENGTHS)
    with attach(base, kind) as adapted:
        stir(adapted)
        parameters = list(adapted.parameters().values())
        expected = torch.stack([alone(adapted.model, each) for each in examples])
        losses = in_pack(adapted, base, examples)
        torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
        weights = torch.arange(1.0, len(examples) + 1)
        wanted = torch.autograd.grad((expected * weights).sum(), parameters)
        given = torch.autograd.grad((losses * weights).sum(), parameters)
        for one, other in zip(given, wanted, strict=True):
            assert one.abs().max() > 0
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@every_kind
def test_a_sequence_sees_nothing_of_its_neighbours(kind, base):
    examples = some_examples(LENGTHS)
    changed = [
        each if number == 2 else Example(each.id, "x", each.input_ids[::-1], each.learned)
        for number, each in enumerate(examples)
    ]
    with torch.no_grad(), attach(base, kind) as adapted:
        stir(adapted)
        one, other = (in_pack(adapted, base, each) for each in (examples, changed))
    assert one[2] == other[2]
    assert not torch.allclose(one, other)


@every_kind
def test_checkpointing_changes_nothing(kind, base):
    examples = some_examples(LENGTHS)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            base.train()
            for module in base.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        torch.manual_seed(5)
        with attach(base, kind) as adapted:
            assert base.is_activation_checkpointing == checkpointing
            packed = pack(examples, base.device)
            with packed_attention(base):
                loss = sequence_losses(adapted.network, packed, adapted.inputs(packed)).sum()
                gradients = torch.autograd.grad(loss, list(adapted.parameters().values()))
            found.append((loss, *gradients))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["ptuning-v2", "prefix"])
def test_a_prefix_begins_as_keys_and_values_of_words(kind, base):
    """The base's own logits after those words are what the prefix gives at first."""
    with torch.no_grad():
        torch.manual_seed(3)
        with attach(base, kind) as adapted:
            keys, values = adapted.inputs(pack(some_examples([3]), base.device))["prefix"][0]
            known = [
                base(input_ids=torch.tensor([[word]]), use_cache=True).past_key_values.layers[0]
                for word in range(WORDS)
            ]
            first = torch.stack([layer.values[0, :, 0] for layer in known])
        assert keys.shape == values.shape
        # The first layer's value at the first position depends on nothing but its word.
        assert (first - values[:, 0]).abs().amax(dim=(1, 2)).min() < 1e-4


@pytest.mark.parametrize("kind", ["prompt", "ptuning-v1"])
def test_a_prompt_begins_as_words(kind, base):
    with torch.no_grad(), attach(base, kind) as adapted:
        begun = adapted.model.get_prompt(1)[0]
    words = base.get_input_embeddings().weight
    assert torch.cdist(begun, words).amin(dim=1).max() < 1e-3


def test_layers_of_unequal_shapes_are_refused_by_the_name_of_the_setting(base):
    if not isinstance(base, LlamaForCausalLM):
        pytest.skip("one architecture says it all")
    attention = base.model.layers[1].self_attn
    attention.k_proj = torch.nn.Linear(32, 16, bias=False)
    attention.v_proj = torch.nn.Linear(32, 16, bias=False)
    attention.num_key_value_groups = 4
    with pytest.raises(BadInput, match=r"tune\.method"), attach(base, "prefix"):
        pass


@every_kind
def test_virtual_tokens_and_the_longest_sequence_fit_into_the_context(kind, base):
    context = base.config.max_position_embeddings
    longest = some_examples([context - 10])
    with attach(base, kind, max_length=context - 10) as adapted, torch.no_grad():
        assert in_pack(adapted, base, longest).isfinite()
    with (
        pytest.raises(BadInput, match=r"tune\.method\.virtual_tokens.*tune\.max_length"),
        attach(base, kind, max_length=context - 9),
    ):
        pass


@pytest.fixture
def written(tiny_base: Path, make_settings: Callable[..., Settings], tmp_path: Path):
    """A folder of a kind, and the losses that it had in training."""

    def write(kind: str) -> tuple[Path, list[float]]:
        base = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
        torch.manual_seed(0)
        with torch.no_grad(), attach(base, kind) as adapted:
            stir(adapted)
            adapted.write(tmp_path / kind, adapted.export(), make_settings())
            return tmp_path / kind, in_pack(adapted, base, some_examples(LENGTHS)).tolist()

    return write


@every_kind
def test_evaluation_measures_what_training_did(kind, written, tiny_base):
    folder, expected = written(kind)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base)
    model = PeftModel.from_pretrained(plain, folder).eval()
    found = negative_log_likelihoods(model, some_examples(LENGTHS))
    assert found == pytest.approx(expected, rel=1e-4)


@every_kind
def test_answers_together_are_those_of_one_after_another(kind, written, tiny_base, make_settings):
    from tasks.model.base_model import load_tokenizer

    folder, _ = written(kind)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base)
    model = PeftModel.from_pretrained(plain, folder).eval()
    tokenizer = load_tokenizer(make_settings())
    prompts = [list(each.input_ids) for each in some_examples([4, 9, 6])]
    together = answer(model, tokenizer, prompts, max_new_tokens=8, batch_size=3)
    for prompt, said in zip(prompts, together, strict=True):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            for _ in range(8):
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
                ids = torch.cat([ids, logits[:, -1:].argmax(dim=-1)], dim=1)
                if ids[0, -1] == tokenizer.eos_token_id:
                    break
        assert (
            said.text == tokenizer.decode(ids[0, len(prompt) :], skip_special_tokens=True).strip()
        )
