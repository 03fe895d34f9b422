"""Texts that nobody in particular says, and texts with a class."""

from typing import ClassVar

from tasks.records.formats import FORMATS, Format
from tasks.records.line import Content, Line
from tasks.records.turns import Rejected


@FORMATS.register
class PlainText(Format):
    """`{"text"}`."""

    name = "text"
    kind = "text"
    precedence = 52
    required = (("text",),)
    keys: ClassVar = {"text": "the text, all of which is learned"}
    source = "TRL's language modelling"
    examples = ({"text": "Water boils at 100 °C."},)

    def parse(self, line: Line) -> Content | None:
        """The text."""
        return None if line.value["text"] is None else Content(text=line.text("text"))


@FORMATS.register
class LabelledText(Format):
    """`{"text", "label"}`."""

    name = "labelled_text"
    kind = "labelled"
    precedence = 51
    required = (("text",), ("label",))
    keys: ClassVar = {"text": "the text", "label": "its class: a text or a number"}
    source = "data sets for text classification"
    examples = ({"text": "The film is wonderful.", "label": "good"},)

    def parse(self, line: Line) -> Content | None:
        """The text and its label."""
        if line.value["text"] is None or line.value["label"] in (None, ""):
            return None
        text, label = line.text("text"), line.take("label")
        if not isinstance(label, str | int | float):
            raise Rejected(
                "wrong_type", f"label: expected one text or number, found {type(label).__name__}"
            )
        return Content(text=text, label=label)
