"""How fast a sweep of eight is, beside eight runs of TRL in sequence, to which winner.

    python -m benchmarks.tuning.sweep                       # about 25 minutes on two cores
    python -m benchmarks.tuning.sweep --peers 2             # two runs of each peer, extrapolated

rank {8, 32} × learning rate {3e-4, 1e-3, 3e-3, 1e-2}, alpha 2r, all linear layers, batches of 8, on
all cores. Seconds are those of whole processes, start-up included.

ours            `perpetune sweep`, one process.
TRL, defaults   eight processes, one after the other, each loads, trains, evaluates on the
                validation examples and saves its adapter; what is not the configuration is TRL's
                default. The lowest evaluation wins.
TRL, best       the same with the quickest arguments that `speed.py` finds (`--best`).

All see the same training examples in the same order and validate on the same examples. With
`--peers N` a peer runs N of the configurations, that which won ours first, and its seconds are
multiplied by 8 / N. The winners are then measured by one measure (`vanilla.py`): on the examples
that they were chosen on, and on the whole validation file.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tuning import speed
from benchmarks.tuning.examples import Material, prepare
from benchmarks.tuning.process import Result, call, cores, timed
from tasks.core import files
from tasks.settings import Settings, load_settings
from tasks.tune.settings import axis_name, configured

RANKS = [8, 32]
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
BEST = "TRL, bf16, padding_free"


def overrides_for(steps: int, validation: int, given: Sequence[str] = ()) -> list[str]:
    """What the sweep sets in `params.yaml`; `given` comes last."""
    fixed = {
        "tune.method.name": "lora",
        "tune.method.alpha": "2r",
        "tune.method.target_modules": "all-linear",
        "tune.schedule": "linear",
        "tune.batch_size": 8,
        "tune.epochs": 1,
        "tune.max_steps": steps,
        "tune.source_weights": "{}",
        "tune.validation_examples": validation,
        "sweep.space.tune.method.rank": RANKS,
        "sweep.space.tune.learning_rate": RATES,
        "sweep.sampler": "grid",
        "sweep.trials": len(RANKS) * len(RATES),
    }
    return [*(f"{key}={value}" for key, value in fixed.items()), *given]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A sweep of eight beside eight runs of TRL.")
    parser.add_argument("--data", type=Path, default=Path("artifacts/curated"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--validation", type=int, default=40, help="examples to choose on")
    parser.add_argument("--peers", type=int, default=len(RANKS) * len(RATES), metavar="N")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--best", choices=speed.PEERS, default=BEST)
    parser.add_argument("--without", choices=["defaults", "best"], help="leave this peer out")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    names = {"defaults": speed.DEFAULTS, "best": given.best}
    names.pop(given.without, None)
    overrides = overrides_for(given.steps, given.validation, given.set)
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        result = race(
            given.data,
            Path(scratch),
            overrides,
            {name: speed.PEERS[name] for name in names.values()},
            peers=given.peers,
            rounds=given.rounds,
        )
    result["machine"] = speed.machine(cores())
    print(json.dumps(result, indent=2) if given.json else shown(result))
    return 0


def race(
    data: Path,
    scratch: Path,
    overrides: Sequence[str],
    variants: Mapping[str, Mapping[str, Any]],
    *,
    peers: int,
    rounds: int = 1,
    device: str = "cpu",
) -> Result:
    """Sweep by ours and by each of `variants` (name → arguments of `SFTConfig`), compare winners.

    Args:
        data: holds `train.jsonl` and `validation.jsonl`.
        scratch: an empty folder.
        overrides: of `params.yaml`, as after `--set`.
        variants: the peers.
        peers: how many of the configurations a peer runs.
        rounds: how often everything is done.
        device: where peers train.
    """
    settings = load_settings(Path("params.yaml"), overrides)
    material = prepare(data, scratch / "data", settings)
    lines: dict[str, list[Result]] = {}
    for number in range(rounds):
        folder = scratch / str(number)
        ours = sweep_ours(material, folder / "ours", overrides)
        lines.setdefault(speed.OURS, []).append(ours)
        for name, arguments in variants.items():
            done = sweep_peer(
                material, settings, folder / name, arguments, ours["winner"], peers, device
            )
            lines.setdefault(name, []).append(done)
    adapters = {name: runs[-1]["adapter"] for name, runs in lines.items()}
    measured = call(
        "vanilla",
        {
            "base": material.base,
            "adapters": adapters,
            "files": {"chosen_on": material.peer_validation, "whole": material.peer_whole},
            "device": device,
        },
    )
    seconds = {
        name: statistics.median(run["seconds"] for run in runs) for name, runs in lines.items()
    }
    return {
        "steps": settings.tune.max_steps,
        "rounds": rounds,
        "table": [
            runs[-1]
            | {"name": name, "seconds": seconds[name], "measured": measured[name]}
            | {"ratio": seconds[name] / seconds[speed.OURS]}
            | {"ours_is_equal_or_better": _no_worse(measured[speed.OURS], measured[name])}
            for name, runs in lines.items()
        ],
    }


def sweep_ours(material: Material, out: Path, overrides: Sequence[str]) -> Result:
    """`perpetune sweep`, from start to exit."""
    command = [
        sys.executable,
        "-m",
        "perpetune",
        "sweep",
        "--data",
        str(material.folder),
    ]
    command += ["--out", str(out), "--json"]
    command += [word for each in overrides for word in ("--set", each)]
    seconds, said = timed(command)
    found = json.loads(said.splitlines()[-1])
    best = found["best"]
    params = best["params"] if isinstance(best, dict) else found["trials"][best]["params"]
    return {
        "seconds": seconds,
        "runs": len(found["trials"]),
        "tokens": found.get("tokens_trained"),
        "winner": {key: params[key] for key in ("rank", "learning_rate")},
        "adapter": str(out / "best"),
        # How many trials shared a pass, as measured at its beginning.
        "lanes": files.read_json(notes) if (notes := out / "lanes.json").is_file() else {},
    }


def sweep_peer(
    material: Material,
    settings: Settings,
    out: Path,
    arguments: Mapping[str, Any],
    first: Mapping[str, Any],
    count: int,
    device: str,
) -> Result:
    """`count` runs of TRL one after another, `first` before the others; seconds for all eight."""
    every = [
        {"tune.method.rank": rank, "tune.learning_rate": rate}
        for rank, rate in itertools.product(RANKS, RATES)
    ]
    chosen = sorted(
        every, key=lambda each: [*each.values()] != [first["rank"], first["learning_rate"]]
    )[:count]
    runs = []
    for number, each in enumerate(chosen):
        print(f"{out.name}, {number + 1} of {count}: {each}", file=sys.stderr, flush=True)
        tune = configured(settings.tune, each)
        run = speed.train_peer(
            material,
            settings.replace(tune=tune),
            None,
            arguments,
            evaluate=True,
            out=str(out / str(number)),
            device=device,
        )
        winner = {axis_name(key): value for key, value in each.items()}
        runs.append(run | {"winner": winner, "adapter": str(out / str(number))})
    best = min(runs, key=lambda run: float(run["validation_loss"]))
    spent = sum(run["wall_seconds"] for run in runs)
    return {
        "seconds": spent * len(every) / len(chosen),
        "runs": len(chosen),
        "extrapolated": len(chosen) < len(every),
        "tokens": sum(run["all_tokens"] for run in runs),
        "start_up_seconds": statistics.median(run["start_up_seconds"] for run in runs),
        "winner": best["winner"],
        "adapter": best["adapter"],
    }


def shown(result: Result) -> str:
    """The result as Markdown."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in result["machine"].items()),
        f"{result['steps']} steps a configuration; {result['rounds']} round(s)",
        "",
    ]
    return "\n".join([*lines, *shown_table(result)])


def shown_table(result: Result) -> list[str]:
    """`table` as lines of Markdown."""
    lines = [
        "| | seconds | × ours | runs | winner | loss, chosen on | loss, whole | ours no worse |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in result["table"]:
        measured, winner = line["measured"], line["winner"]
        lines.append(
            f"| {line['name']} | {line['seconds']:.1f}"
            f"{' (extrapolated)' if line.get('extrapolated') else ''} | {line['ratio']:.3g} "
            f"| {line['runs']} | r {winner['rank']}, {winner['learning_rate']:g} "
            f"| {measured['chosen_on']:.4f} | {measured['whole']:.4f} "
            f"| {'yes' if line['ours_is_equal_or_better'] else 'no'} |"
        )
    return lines


def _no_worse(ours: Mapping[str, float], peer: Mapping[str, float]) -> bool:
    return ours["chosen_on"] <= peer["chosen_on"]


if __name__ == "__main__":
    sys.exit(main())
