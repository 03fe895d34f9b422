"""One training run of ours through `tasks.tune.train`, in a process of its own."""

from pathlib import Path

from benchmarks.tuning.process import Result, answer, rate, watched


def run(job: Result) -> Result:
    """Train as the job's `settings` say, from its `data` into its folder `out`.

    Where the job says `shared: false`, what examples begin with alike is computed for each of them.
    """
    import sys

    from tasks.core import files
    from tasks.settings import Settings
    from tasks.tune.data import prefix_tree
    from tasks.tune.train import train

    if not job.get("shared", True):
        prefix_tree._WORTH = sys.maxsize
    data, out, settings = Path(job["data"]), Path(job["out"]), job["settings"]
    result = watched(lambda: train(data, out, Settings.model_validate(settings)), job)
    metrics, rows = files.read_json(out / "metrics.json"), files.read_jsonl(out / "curve.jsonl")
    result["loss"] = sum(row["train_loss"] for row in rows) / len(rows)
    result["validation_loss"] = metrics["validation_loss"]
    return result | rate(result["moments"], [row["tokens"] for row in rows])


if __name__ == "__main__":
    answer(run)
