"""A base model from a GGUF file, in the layout of `save_pretrained`.

The file stands alone, like `tasks.model.decoder`: a copy goes with every registered version, so
that the weights under a served adapter are those that it was trained on.
"""

from pathlib import Path


def convert(file: Path, folder: Path) -> None:
    """Write the model and the tokenizer in a GGUF file into a folder, in bfloat16.

    Raises:
        OSError, ValueError: transformers cannot read the file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # Said here, since the library would keep weights packed wherever it finds kernels for that.
    read = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # The model read from GGUF counts as quantised and refuses to be saved: move its weights over.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
