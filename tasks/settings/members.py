"""Settings that depend on what is registered: a member chosen by name, or the keys of all members.

Plugins register members when they are loaded, after the classes of the settings exist. So both
kinds of section are resolved when a value is validated, not when its class is defined.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from tasks.core.errors import BadInput
from tasks.core.plugins import PluginRegistry


class HasSettings(Protocol):
    """A registered member with settings of its own."""

    @property
    def name(self) -> str:
        """By which the member is chosen."""
        ...

    @property
    def settings(self) -> type[BaseModel]:
        """The class of its settings."""
        ...


T = TypeVar("T", bound=HasSettings)


class Chosen(Generic[T]):
    """Marks a field whose section has `name`, and beside it the keys of that member only.

        method: Annotated[MethodSettings, Chosen(METHODS)] = LowRank(name="lora")

    A text is the name alone. The member's settings class validates the mapping, `name` included.

    Args:
        registry: of the members.
        default: the member that a mapping without `name` means.
    """

    def __init__(self, registry: PluginRegistry[T], default: str) -> None:
        self.registry = registry
        self.default = default

    def names(self) -> list[str]:
        """The names of all members."""
        return list(self.registry.members())

    def model(self, value: Any) -> type[BaseModel] | None:
        """The settings class that `value`, as a file gives it, has to be; None: no such member."""
        if isinstance(value, BaseModel):
            return type(value)
        member = self.registry.members().get(self.name_in(value))
        return member.settings if member else None

    def name_in(self, value: Any) -> str:
        """The name of the member that `value` chooses; no text at all where it is malformed."""
        if isinstance(value, BaseModel):
            return str(getattr(value, "name", ""))
        name = value.get("name", self.default) if isinstance(value, Mapping) else value
        return name if isinstance(name, str) else ""

    def validate(self, value: Any) -> BaseModel:
        """The member's settings."""
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping | str):
            raise PydanticCustomError("model_type", "keys with values")
        model = self.model(value)
        if model is None:
            wrong = PydanticCustomError("no_member", "{names}", {"names": self._allowed()})
            given = value.get("name") if isinstance(value, Mapping) else value
            details = InitErrorDetails(type=wrong, loc=("name",), input=given)
            raise ValidationError.from_exception_data(self.registry.kind, [details])
        given = value if isinstance(value, Mapping) else {}
        return model.model_validate({**given, "name": self.name_in(value)})

    def _allowed(self) -> str:
        *others, last = map(repr, self.names())
        return f"{', '.join(others)} or {last}" if others else last

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        return _validated_by(self.validate)


class Composed:
    """Marks a field whose section has the keys of all members of a registry, flat.

    It is in the owner's module under the name that it is given, so that values find it again
    in another process:

        Quality = Composed(__name__, "Quality", "curate.quality", lambda: FILTERS)

        class Curate(Section):
            quality: Annotated[Section, Quality] = Field(default_factory=Quality)

    A value is an instance of every member's settings class at once, so that a member is given the
    whole section and reads its own keys.

    Args:
        module: of the owner.
        name: of this mark in that module, and of the section's class.
        key: of the section in params.yaml.
        members: gives the members that are registered.
        doc: what the section is for.
    """

    def __init__(
        self,
        module: str,
        name: str,
        key: str,
        members: Callable[[], Iterable[HasSettings]],
        doc: str = "",
    ) -> None:
        self._module, self._name, self._key = module, name, key
        self._members, self._doc = members, doc
        self._models: dict[tuple[type[BaseModel], ...], type[BaseModel]] = {}

    def __call__(self) -> Any:
        """The section with the default of every key."""
        return self.model()()

    def model(self) -> type[BaseModel]:
        """The class of the section, of those members that are registered now.

        Raises:
            BadInput: two members have the same key.
        """
        owners: dict[str, HasSettings] = {}
        for member in self._members():
            for key in member.settings.model_fields:
                other = owners.setdefault(key, member)
                if other.settings is not member.settings:
                    raise BadInput(
                        f"{self._key}.{key}: a setting of {other.name} as of {member.name}; "
                        "rename one of them"
                    )
        classes = tuple(dict.fromkeys(member.settings for member in owners.values()))
        if classes not in self._models:
            # The first class's keys come first; Python's order of bases is the reverse.
            model: type[BaseModel] = create_model(
                self._name, __base__=classes[::-1], __module__=self._module, __doc__=self._doc
            )
            model.KEY = self._key  # type: ignore[attr-defined]
            self._models[classes] = model
        return self._models[classes]

    def model_validate(self, value: Any, context: Any = None) -> BaseModel:  # noqa: ARG002
        """`value`, as a file gives it, as the section."""
        return value if isinstance(value, BaseModel) else self.model().model_validate(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        return _validated_by(lambda value: self.model_validate(value))


def _validated_by(validate: Callable[[Any], BaseModel]) -> CoreSchema:
    def serialise(value: BaseModel, info: core_schema.SerializationInfo) -> dict[str, Any]:
        return value.model_dump(mode=info.mode)

    return core_schema.no_info_plain_validator_function(
        validate,
        serialization=core_schema.plain_serializer_function_ser_schema(serialise, info_arg=True),
    )


def chosen_by(model: type[BaseModel], key: str) -> Chosen[Any] | None:
    """The mark of a field whose section is chosen by name; None: it has none."""
    field = model.model_fields.get(key)
    marks = [mark for mark in field.metadata if isinstance(mark, Chosen)] if field else []
    return marks[0] if marks else None


def section_of(model: type[BaseModel], key: str, value: Any = None) -> type[BaseModel] | None:
    """The class of the section that a field holds; None where it holds a plain value.

    Args:
        model: the class with the field.
        key: the field's name; None is returned where there is no such field.
        value: what is given for it: it decides which member's keys a chosen section has.
    """
    field = model.model_fields.get(key)
    if field is None:
        return None
    for mark in field.metadata:
        if isinstance(mark, Chosen):
            return mark.model(mark.default if value is None else value)
        if isinstance(mark, Composed):
            return mark.model()
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
