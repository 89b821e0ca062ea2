"""Forms of values in a file: each reads a plain value, says what is wrong with it, and describes itself as JSON Schema.

One description serves both, so that an editor accepts a file exactly if we do.

>>> Object(dict, {"count": Field(Number(), "How many.", needed=True)}).read({"count": "two"}, ())
Traceback (most recent call last):
proxy_addon.core.scenarios.forms.Misfit: count is the string 'two'; expected a number
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, override

from proxy_addon.core.wording import alternatives, shown, suggestion

_VERY_FEW, _FEW = 3, 12
"""Of how many names all are told rather than the one that is most like a wrong one; and if none is like it."""

Path = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""


class Misfit(Exception):  # where it is in a file is added by whoever has read the file
    """A value does not have its form.

    Attributes:
        path: Leads to the value.
        of_key: Whether its key is wrong, not the value.
    """

    def __init__(self, path: Path, problem: str, *, of_key: bool = False) -> None:
        super().__init__(problem)
        self.path = path
        self.of_key = of_key


class Form[T](ABC):
    """A form of values."""

    @abstractmethod
    def read(self, value: Any, path: Path) -> T:
        """Return what a plain value means.

        Raises:
            Misfit: It does not have this form.
        """

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return a JSON Schema that a plain value conforms to if, as far as JSON Schema can say, it has this form."""


def expected(value: object, path: Path, what: str) -> Misfit:
    """Return the misfit of a value in whose place something else is expected."""
    name = path[-1] if path and isinstance(path[-1], str) else f"item {path[-1] + 1}" if path else "the file"  # type: ignore[operator]
    seen = "has no value" if value is None else f"is {shown(value)}"
    return Misfit(path, f"{name} {seen}; expected {what}")


@dataclass(frozen=True)
class Text(Form[str]):
    """A text that is not empty."""

    @override
    def read(self, value: Any, path: Path) -> str:
        if not isinstance(value, str) or not value.strip():
            quoted = "; put one with a colon in it in quotation marks" if isinstance(value, dict) else ""
            raise expected(value, path, f"a text{quoted}")
        return value.strip()

    @override
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\S"}


@dataclass(frozen=True)
class Pattern(Form[re.Pattern[str]]):
    """A regular expression, as Python writes them; JSON Schema knows others alone."""

    @override
    def read(self, value: Any, path: Path) -> re.Pattern[str]:
        try:
            return re.compile(Text().read(value, path))
        except re.error as e:
            raise Misfit(path, f"not a regular expression: {e}") from e

    @override
    def schema(self) -> dict[str, Any]:
        return Text().schema()


@dataclass(frozen=True)
class Number(Form[float]):
    """A number, or a whole one that is not negative."""

    is_count: bool = False

    @override
    def read(self, value: Any, path: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int if self.is_count else (int, float)):
            raise expected(value, path, "a whole number" if self.is_count else "a number")
        if self.is_count and value < 0:
            raise expected(value, path, "a number that is not negative")
        return value

    @override
    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0} if self.is_count else {"type": "number"}


@dataclass(frozen=True)
class Truth(Form[bool]):
    """``true`` or ``false``."""

    @override
    def read(self, value: Any, path: Path) -> bool:
        if not isinstance(value, bool):
            raise expected(value, path, "true or false")
        return value

    @override
    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Name(Form[str]):
    """One of the names that there are.

    Attributes:
        what: What it names, such as ``event type``.
        like: Also allows names that match this.
    """

    what: str
    names: Collection[str]
    like: str = ""

    @override
    def read(self, value: Any, path: Path) -> str:
        check_name(self, value, path)
        return str(value)

    @override
    def schema(self) -> dict[str, Any]:
        known: dict[str, Any] = {"enum": [*self.names]}
        return {"anyOf": [known, {"type": "string", "pattern": f"^(?:{self.like})$"}]} if self.like else known


def check_name(form: Name, value: Any, path: Path, *, of_key: bool = False) -> None:
    """Check that a value, or a key, is one of the names of a form.

    Raises:
        Misfit: It is not.
    """
    if not isinstance(value, str):
        raise expected(value, path, f"the name of {_with_article(form.what)}")
    if value not in form.names and not (form.like and re.fullmatch(form.like, value)):
        known = "" if len(form.names) > _FEW else f"; expected {alternatives(form.names)}"
        meant = "" if len(form.names) <= _VERY_FEW else suggestion(value, form.names)
        raise Misfit(path, f"unknown {form.what} {value!r}{meant or known}", of_key=of_key)


@dataclass(frozen=True)
class Many[T](Form[tuple[T, ...]]):
    """A list, which is not empty.

    Attributes:
        or_one: Whether one item may stand without a list around it.
    """

    item: Form[T]
    or_one: bool = False

    @override
    def read(self, value: Any, path: Path) -> tuple[T, ...]:
        if not isinstance(value, list):
            if self.or_one:
                return (self.item.read(value, path),)
            raise expected(value, path, "a list, as in [a, b]")
        if not value:
            raise Misfit(path, "the list is empty")
        return tuple(self.item.read(each, (*path, index)) for index, each in enumerate(value))

    @override
    def schema(self) -> dict[str, Any]:
        item = self.item.schema()
        many = {"type": "array", "items": item, "minItems": 1}
        return {"anyOf": [item, many]} if self.or_one else many


@dataclass(frozen=True)
class Table[T](Form[Mapping[str, T]]):
    """An object with keys of the user's choice, at least one.

    Attributes:
        keys: The names that they may be; None for any.
    """

    item: Form[T]
    keys: Name | None = None

    @override
    def read(self, value: Any, path: Path) -> Mapping[str, T]:
        if not isinstance(value, dict) or not value:
            raise expected(value, path, "names with values")
        for key in value:
            if self.keys is not None:
                check_name(self.keys, key, (*path, key), of_key=True)
        return {key: self.item.read(each, (*path, key)) for key, each in value.items()}

    @override
    def schema(self) -> dict[str, Any]:
        names = {} if self.keys is None else {"propertyNames": self.keys.schema()}
        return {"type": "object", "additionalProperties": self.item.schema(), "minProperties": 1, **names}


@dataclass(frozen=True)
class Field:
    """A member of an object.

    Attributes:
        about: What it means, for editors.
        needed: Whether it may not be left out.
    """

    form: Form[Any]
    about: str
    needed: bool = False


@dataclass(frozen=True)
class Object[T](Form[T]):
    """An object with known members, which become the arguments of ``make``.

    Attributes:
        one_of: Members of which exactly one is there.
        any_of: Members of which at least one is there.
    """

    make: Callable[..., T]
    fields: Mapping[str, Field]
    one_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()

    @override
    def read(self, value: Any, path: Path) -> T:
        if not isinstance(value, dict):
            raise expected(value, path, f"an object with {alternatives(self.fields)}")
        for key in value:
            check_name(Name("key", self.fields), key, (*path, key), of_key=True)
        for key, field in self.fields.items():
            if field.needed and key not in value:
                raise Misfit(path, f"{key} is missing")
        kinds = [key for key in value if key in self.one_of]
        if self.one_of and len(kinds) != 1:
            if kinds:
                raise Misfit(
                    (*path, kinds[1]),
                    f"{kinds[1]} cannot stand beside {kinds[0]}: give it a sentence of its own",
                    of_key=True,
                )
            raise Misfit(path, f"one of {alternatives(self.one_of)} is missing")
        if self.any_of and not any(key in value for key in self.any_of):
            raise Misfit(path, f"{alternatives(self.any_of)} is missing")
        return self.make(**{key: self.fields[key].form.read(each, (*path, key)) for key, each in value.items()})

    @override
    def schema(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "type": "object",
            "properties": {
                key: {"description": field.about, **field.form.schema()} for key, field in self.fields.items()
            },
            "additionalProperties": False,
        }
        needed = [key for key, field in self.fields.items() if field.needed]
        if needed:
            made["required"] = needed
        if self.one_of:
            made["oneOf"] = [{"required": [key]} for key in self.one_of]
        if self.any_of:
            made["anyOf"] = [{"required": [key]} for key in self.any_of]
        return made


@dataclass(frozen=True)
class Either[T](Form[T]):
    """An object, or else another form that is not one."""

    object: Form[T]
    other: Form[T]

    @override
    def read(self, value: Any, path: Path) -> T:
        return (self.object if isinstance(value, dict) else self.other).read(value, path)

    @override
    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.other.schema(), self.object.schema()]}


@dataclass(frozen=True)
class Shared[T](Form[T]):
    """A form that occurs in several places, and is described once: by its name in ``$defs`` of the schema."""

    name: str
    form: Form[T]

    @override
    def read(self, value: Any, path: Path) -> T:
        return self.form.read(value, path)

    @override
    def schema(self) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self.name}"}


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"
