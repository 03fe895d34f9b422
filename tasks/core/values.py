"""The base of the values that pass between packages: frozen, checked, and JSON at the edges."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import PerpetuneError


class Value(BaseModel):
    """A result with named fields that never changes.

    Reports, terminal and registry read attributes; JSON is for files and for `--json` only. A field
    whose JSON key is no Python name, such as `in`, has that key as its alias.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def to_json(self) -> dict[str, Any]:
        """The value as JSON-able types; `from_json` is the inverse."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, value: Any, place: str = "") -> Self:
        """Read what `to_json` gave.

        Args:
            value: the parsed JSON.
            place: where it was read from, for the message.

        Raises:
            PerpetuneError: it is something else, such as a file of another version.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            where = f"{place}: " if place else ""
            raise PerpetuneError(
                f"{where}no {cls.__name__} of this version of Perpetune "
                f"({key}: {first['msg']}); remove it, and it is written again"
            ) from None
