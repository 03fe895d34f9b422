"""A chat template in a file of the user's own."""

import re
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.model.decoder import compiled

HELP = "take another base model, or a template of your own (base.chat_template: FILE)"


def read_template(path: str) -> str:
    """The template in a user's file.

    Raises:
        BadInput: there is no such file, or it is no Jinja template in UTF-8.
    """
    from jinja2 import TemplateError

    try:
        source = Path(path).expanduser().read_text(encoding="utf-8")
        compiled(source)
    except OSError as error:
        raise BadInput(f"base.chat_template: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"base.chat_template: {path}: not UTF-8; save the file as UTF-8") from None
    except TemplateError as error:
        raise BadInput(f"base.chat_template: {path}: no Jinja template: {error}") from None
    if not re.search(r"\{[{%]", source):
        raise BadInput(f"base.chat_template: {path}: no Jinja template: it renders no messages")
    return source
