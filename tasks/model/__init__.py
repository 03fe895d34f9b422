"""The base model: found, loaded, its tokenizer, and records encoded for it."""
