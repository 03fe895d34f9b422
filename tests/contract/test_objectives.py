"""The contract of objectives, for each member of `OBJECTIVES`."""

import pytest
import torch

from tasks.core.errors import BadInput
from tasks.model.encoding import Example
from tasks.records import Chat, Labelled, Preference, Record, Text, Turn
from tasks.settings import Settings
from tasks.tune.data.groups import Group, examples_of
from tasks.tune.data.scores import Scores
from tasks.tune.objectives import OBJECTIVES, Encoder, Objective, ObjectiveSettings

ASKED, ANSWER, OTHER = Turn("user", "How many?"), Turn("assistant", "Two."), Turn("assistant", "No")
PLACE = {"source": "a.jsonl", "line": 3}
RECORDS: list[Record] = [
    Chat(id="chat", turns=(ASKED, ANSWER), **PLACE),
    Text(id="text", text="Some words.", **PLACE),
    Preference(id="preference", context=(ASKED,), chosen=(ANSWER,), rejected=(OTHER,), **PLACE),
    Labelled(id="labelled", turns=(ASKED, ANSWER), label=True, **PLACE),
]
every_objective = pytest.mark.parametrize("name", list(OBJECTIVES.members()))


@pytest.fixture
def encoder(settings: Settings) -> Encoder:
    from tasks.model import base_model

    return Encoder(base_model.load_tokenizer(settings), 64)


@pytest.fixture
def objective(name: str) -> Objective:
    member = OBJECTIVES.get(name)
    return member.configured(member.settings(name=name))


def scores_of(objective: Objective, groups: list[Group], adapters: int) -> Scores:
    examples = examples_of(groups)
    generator = torch.Generator().manual_seed(0)
    targets = tuple(example.targets for example in examples)
    losses = torch.rand(adapters, sum(targets), generator=generator).requires_grad_()
    reference = torch.zeros(len(examples)) if objective.needs_reference else None
    return Scores(losses, targets, tuple(len(group.examples) for group in groups), reference)


@every_objective
def test_a_member_says_what_it_is(name: str, objective: Objective) -> None:
    assert objective.name == name
    assert objective.learns_from
    assert issubclass(objective.settings, ObjectiveSettings)
    assert objective.options.name == name
    assert type(objective).__doc__


@every_objective
def test_records_are_encoded_or_refused_with_a_reason(
    objective: Objective, encoder: Encoder
) -> None:
    used = [record for record in RECORDS if objective.refusal(record) is None]
    assert used
    for record in RECORDS:
        if record not in used:
            assert objective.refusal(record)
            continue
        groups = objective.encode(record, encoder)
        assert groups
        assert all(isinstance(example, Example) for example in examples_of(groups))
        assert all(objective.weight(group) > 0 for group in groups)
        ids = [example.id for example in examples_of(groups)]
        assert len(set(ids)) == len(ids)
        assert groups == objective.encode(record, encoder)


@every_objective
@pytest.mark.parametrize("adapters", [1, 3])
def test_losses_are_of_groups_and_add_up(
    objective: Objective, encoder: Encoder, adapters: int
) -> None:
    used = [record for record in RECORDS if objective.refusal(record) is None]
    groups = [group for record in used for group in objective.encode(record, encoder)] * 2
    scores = scores_of(objective, groups, adapters)
    losses = objective.losses(scores)
    assert losses.shape == (adapters, len(groups))
    torch.testing.assert_close(objective.total_loss(scores), losses.sum(dim=1))
    (gradient,) = torch.autograd.grad(objective.total_loss(scores).sum(), scores.token_losses)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    metrics = objective.metrics(scores)
    assert list(metrics) == [*objective.metric_names]
    assert all(values.shape == losses.shape for values in metrics.values())


def test_an_objective_that_nobody_has_is_named(settings: Settings) -> None:
    with pytest.raises(BadInput, match="supervised"):
        OBJECTIVES.get("supervise")
