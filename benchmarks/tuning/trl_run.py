"""One run of TRL's SFTTrainer in a process of its own; nothing of ours is imported to train.

A job names the model's folder, the examples (`peer_train`, `peer_validation`), LoRA, its rate, and
`arguments` for `SFTConfig`. Everything else stays as TRL has it, but for what makes the runs
comparable or is to TRL's advantage: examples come in the order given, the learning rate follows our
schedule (TRL's own spends the first step at rate zero), no checkpoint is written, nothing is
reported.
"""

import math
from typing import Any

from benchmarks.tuning.process import Result, answer, rate, watched


def run(job: Result) -> Result:
    """Train, evaluate and save as the job says.

    Returns:
        What `watched` and `rate` tell; `loss`, the mean of all steps; `validation_loss`
        where the job asks to `evaluate`; where it asks to `check`, how TRL reads the examples.
    """
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    class Trainer(SFTTrainer):
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            warmup = math.ceil(job["warmup_share"] * num_training_steps)

            def factor(done: int) -> float:
                if done < warmup:
                    return (done + 1) / warmup
                return 1 - (done + 1 - warmup) / (num_training_steps - warmup + 1)

            optimizer = optimizer or self.optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
            return self.lr_scheduler

    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    tokenizer.chat_template = job["chat_template"]
    files = {"train": job["peer_train"], "validation": job["peer_validation"]}
    data = load_dataset("json", data_files=files, cache_dir=job["scratch"])
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    arguments = {
        "output_dir": job["scratch"],
        "per_device_train_batch_size": job["batch_size"],
        "num_train_epochs": 1,
        "learning_rate": job["learning_rate"],
        "weight_decay": job["weight_decay"],
        "max_grad_norm": job["max_gradient_norm"],
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": job["device"] == "cpu",
        "seed": job["seed"],
    } | job["arguments"]
    trainer = Trainer(
        model=job["base"],
        args=SFTConfig(**arguments),
        train_dataset=data["train"].remove_columns(["ours", "learned"]),
        eval_dataset=data["validation"].remove_columns(["ours", "learned"]),
        processing_class=tokenizer,
        quantization_config=quantised if job["nf4"] else None,
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=job["rank"],
            lora_alpha=job["alpha"],
            target_modules=job["target_modules"],
        ),
    )
    result: Result = _read(trainer.train_dataset, data["train"]) if job.get("check") else {}
    # Before training: what each step will see, no padding counted.
    tokens = [_useful(batch) for batch in trainer.get_train_dataloader()]
    result |= watched(trainer.train, job)
    result |= rate(result["moments"], tokens)
    result["loss"] = next(
        row["train_loss"] for row in trainer.state.log_history if "train_loss" in row
    )
    if job.get("evaluate"):
        result["validation_loss"] = trainer.evaluate()["eval_loss"]
    if job.get("out"):
        trainer.save_model(job["out"])
    return result


def _useful(batch: Any) -> int:
    mask = batch.get("attention_mask")
    return int(batch["input_ids"].numel() if mask is None else mask.sum())


def _read(theirs: Any, ours: Any) -> Result:
    """How many examples have our ids and our targets; the first that differs, in full."""
    result: Result = {"examples": len(ours), "same_ids": 0, "same_targets": 0}
    for their, our in zip(theirs, ours, strict=True):
        learned = [label != -100 for label in their["labels"]]
        same_ids, same_targets = their["input_ids"] == our["ours"], learned == our["learned"]
        result["same_ids"] += same_ids
        result["same_targets"] += same_targets
        if not (same_ids and same_targets) and "differs" not in result:
            result["differs"] = {
                "their_ids": their["input_ids"],
                "our_ids": our["ours"],
                "their_targets": sum(learned),
                "our_targets": sum(our["learned"]),
                "only_they_learn": [
                    token
                    for token, they, we in zip(
                        their["input_ids"], learned, our["learned"], strict=False
                    )
                    if they and not we
                ],
            }
    return result


if __name__ == "__main__":
    answer(run)
