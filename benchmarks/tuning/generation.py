"""How fast evaluation answers: batches with a key-value cache beside one prompt after another.

    python -m benchmarks.tuning.generation                 # 48 prompts, 3 rounds
    python -m benchmarks.tuning.generation --prompts 12 --rounds 1 --batch-size 8 12

Prompts of the benchmark in `--data`, answered greedily by the base model (or `--adapter`) of
`params.yaml`. One after another is `model.generate` of transformers with its cache, a prompt a
call; ours is what `perpetune evaluate` calls, `tasks.evaluate.generation.answer`. Both in one
process, in turn, loading not counted. Ends with how many texts are equal: all of them in float32
(`--set base.dtype=float32`), fewer in bfloat16, where logits tie often and a sum in another order
tips the choice.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.tuning.process import take_cores


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of generation in batches.")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks/heldout.jsonl"))
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch-size", type=int, nargs="+", help="default: evaluate.batch_size")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.threads:
        take_cores(given.threads)
    import torch

    from tasks import records
    from tasks.evaluate.generation import answer
    from tasks.model import base_model
    from tasks.model.encoding import encode_prompt
    from tasks.settings import load_settings

    if given.threads:
        torch.set_num_threads(given.threads)
    settings = load_settings(Path("params.yaml"), given.set)
    tokenizer = base_model.load_tokenizer(settings)
    model = base_model.load_model(settings, given.adapter)
    read = sorted(records.load([given.data]), key=lambda record: record.id)
    spread = read[:: max(len(read) // given.prompts, 1)][: given.prompts]
    prompts = [encode_prompt(record, tokenizer) for record in spread]
    longest = settings.evaluate.max_new_tokens
    sizes = given.batch_size or [settings.evaluate.batch_size]
    ways: dict[str, Callable[[], list[str]]] = {
        "one by one": partial(one_by_one, model, tokenizer, prompts, longest)
    }
    for size in sizes:
        ways[f"batches of {size}"] = partial(
            answer, model, tokenizer, prompts, max_new_tokens=longest, batch_size=size
        )
    one_by_one(model, tokenizer, prompts[:1], longest)  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    texts: dict[str, list[str]] = {}
    for number in range(given.rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            began = time.perf_counter()
            texts[name] = ways[name]()
            seconds[name].append(time.perf_counter() - began)
    single = statistics.median(seconds["one by one"])
    result: dict[str, Any] = {
        "model": settings.base.model,
        "dtype": str(model.dtype),
        "threads": torch.get_num_threads(),
        "prompts": len(prompts),
        "prompt_tokens": sum(map(len, prompts)) / len(prompts),
        "max_new_tokens": longest,
        "rounds": given.rounds,
        "ways": [
            {
                "name": name,
                "answers_per_second": len(prompts) / statistics.median(taken),
                "ratio": single / statistics.median(taken),
                "equal_texts": sum(map(str.__eq__, texts[name], texts["one by one"])),
            }
            for name, taken in seconds.items()
        ],
    }
    print(json.dumps(result, indent=2) if given.json else _shown(result))
    return 0


def one_by_one(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], longest: int
) -> list[str]:
    """Greedy answers as transformers gives them, one prompt a call."""
    import torch

    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        said = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
            max_new_tokens=longest,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        )
        answers.append(tokenizer.decode(said[0, len(prompt) :], skip_special_tokens=True).strip())
    return answers


def _shown(result: dict[str, Any]) -> str:
    lines = [
        f"{result['model']}, {result['dtype']}, {result['threads']} threads; {result['prompts']} "
        f"prompts of {result['prompt_tokens']:.0f} tokens, at most {result['max_new_tokens']} new "
        f"ones; medians of {result['rounds']} alternating rounds",
        "",
        "| | answers/s | × one by one | equal texts |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {way['name']} | {way['answers_per_second']:.2f} | {way['ratio']:.3g} "
        f"| {way['equal_texts']} of {result['prompts']} |"
        for way in result["ways"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
