"""The model that MLflow serves: the base model of this machine under one registered adapter, or a
registered whole model.

MLflow stores this file beside the weights and runs it to load the model, so it stands alone here
and is not imported. It needs Perpetune to be installed, which finds and reads the base model.
"""

import logging
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

# MLflow warns on each load that it does not look inside a union; the records' parser does.
logging.getLogger("mlflow.types.type_hints").setLevel(logging.ERROR)


class ServedAdapter(PythonModel):
    """Answers prompts greedily, as in the evaluation."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the base model named in `model_config` and put the adapter on it, or a whole model.

        Raises:
            BadInput: the base model is not there, or is not the one that the adapter was made for.
        """
        from tasks.core.errors import BadInput
        from tasks.model import base_model, base_source
        from tasks.settings import Settings

        config = dict(context.model_config)
        tuned = Path(context.artifacts["adapter"])
        whole = (tuned / "config.json").is_file()
        base = config["base"] | ({"model": str(tuned)} if whole else {})
        project = {"state_dir": config["state_dir"]}
        settings = Settings.model_validate({"base": base, "project": project})
        found = None if whole else base_source.identity(settings)
        if not whole and found != config["base_identity"]:
            raise BadInput(
                f"base.model: this is {found}, the adapter was trained on "
                f"{config['base_identity']}; provide that one"
            )
        self._max_new_tokens = config["max_new_tokens"]
        self._tokenizer = base_model.load_tokenizer(settings)
        if config.get("chat_template"):
            self._tokenizer.chat_template = config["chat_template"]
        self._model = base_model.load_model(settings, None if whole else tuned)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: list[str | list[dict[str, str]]],
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[str]:
        """Answer each prompt, or each chat (`[{"role", "content"}, ...]`), one after another."""
        return [self._answer(prompt) for prompt in model_input]

    def _answer(self, prompt: str | list[dict[str, str]]) -> str:
        import torch

        from tasks.core.errors import BadInput
        from tasks.model.decoder import Codec
        from tasks.model.encoding import encode_prompt
        from tasks.records import BadLine, parse

        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        record = parse({"messages": messages}, "prompt", 1, labelled=False)
        if isinstance(record, BadLine):
            raise BadInput(f"prompt: {record.detail}")
        asked = torch.tensor([encode_prompt(record, self._tokenizer)], device=self._model.device)
        ends = sorted(Codec.of(self._tokenizer).ends)
        padding = self._tokenizer.pad_token_id
        with torch.inference_mode():
            said = self._model.generate(  # type: ignore[operator]
                input_ids=asked,
                attention_mask=torch.ones_like(asked),
                max_new_tokens=self._max_new_tokens,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=ends[0] if padding is None else padding,
            )
        return Codec.of(self._tokenizer).read(said[0, asked.shape[1] :].tolist())


set_model(ServedAdapter())
