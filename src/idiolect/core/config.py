"""Configurations are dataclasses; YAML and the command line are two ways to write one.

`from_dict` checks every key and type, and a wrong one is named by its whole path and its nearest right name: a
misspelt option that is silently ignored costs a training run.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from idiolect.core.errors import BadInput, IdiolectError, NotFound
from idiolect.core.names import did_you_mean

T = TypeVar("T")
Plain = None | bool | int | float | str | list[Any] | dict[Any, Any]


def from_dict(cls: type[T], data: Any, where: str = "") -> T:
    """Build a dataclass from plain values. `where` is the path that errors show ("engine.sampling").

    Raises `BadInput`: an unknown key (nearest match in the hint), a missing one, a value of the wrong type, or one
    that the dataclass itself refuses.
    """
    if not isinstance(data, Mapping):
        raise BadInput(
            f"{where or cls.__name__} is {_say(data)}", hint="give a mapping of names to values", param=where
        )
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            path = _join(where, str(key))
            raise BadInput(f"unknown option {path!r}", hint=did_you_mean(str(key), known), param=path)
    hints = _hints(cls)
    values = {name: convert(hints[name], data[name], _join(where, name)) for name in known if name in data}
    for name, f in known.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            path = _join(where, name)
            raise BadInput(f"option {path!r} is missing", hint="it has no default", param=path)
    return _build(lambda: cls(**values), where)


def to_dict(obj: Any) -> Any:
    """Plain values (what YAML and JSON can hold) of a dataclass; tuples become lists, paths and enums their values."""
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: to_dict(getattr(obj, f.name)) for f in dataclasses.fields(obj) if f.init}
    if isinstance(obj, Mapping):
        return {to_dict(k): to_dict(v) for k, v in obj.items()}
    if isinstance(obj, enum.Enum):
        return to_dict(obj.value)
    if isinstance(obj, (list, tuple)):
        return [to_dict(v) for v in obj]
    if isinstance(obj, (set, frozenset)):
        return sorted(to_dict(v) for v in obj)
    if isinstance(obj, Path):
        return str(obj)
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    raise BadInput(f"a {type(obj).__name__} has no place in a configuration", hint="use numbers, text, lists, mappings")


def load(cls: type[T], path: Path | str) -> T:
    """Read a YAML file into a dataclass; an empty file is all defaults."""
    from idiolect.core import yamls

    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    try:
        return from_dict(cls, yamls.parse(text, str(path)) or {})
    except IdiolectError as error:
        if not error.message.startswith(str(path)):
            error.message = f"{path}: {error.message}"
        raise


def dump(obj: Any) -> str:
    """YAML text such that loading it gives an equal object."""
    from idiolect.core import yamls

    return yamls.emit(to_dict(obj))


def override(obj: T, changes: Iterable[str]) -> T:
    """A copy with `a.b=value` changes applied in order; values are YAML (`x=1e-3`, `x=[1, 2]`, `x=null`)."""
    from idiolect.core import yamls

    for change in changes:
        path, sign, text = change.partition("=")
        if not sign or not path.strip():
            raise BadInput(f"{change!r} is not an override", hint="write name=value or part.name=value")
        obj = _set(obj, path.strip().split("."), yamls.parse(text, change), text, "")
    return obj


def _set(obj: Any, path: Sequence[str], value: Any, text: str, where: str, hint: Any = Any) -> Any:
    if not path:
        try:
            return convert(hint, value, where)
        except BadInput as error:
            try:
                return convert(hint, text.strip(), where)  # a text field may be given as name=3
            except BadInput:
                raise error from None
    name, here = path[0], _join(where, path[0])
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        known = [f.name for f in dataclasses.fields(obj) if f.init]
        if name not in known:
            raise BadInput(f"unknown option {here!r}", hint=did_you_mean(name, known), param=here)
        new = _set(getattr(obj, name), path[1:], value, text, here, _hints(type(obj))[name])
        return _build(lambda: dataclasses.replace(obj, **{name: new}), where)
    if isinstance(obj, Mapping):
        args = get_args(hint)
        key = convert(args[0], name, where) if args else name
        if len(path) > 1 and key not in obj:
            raise BadInput(f"unknown option {here!r}", hint=did_you_mean(name, map(str, obj)), param=here)
        return {**obj, key: _set(obj.get(key), path[1:], value, text, here, args[1] if args else Any)}
    if isinstance(obj, (list, tuple)):
        if not name.isdigit() or int(name) >= len(obj):
            raise BadInput(f"{here!r} is not a place in a list of {len(obj)}", hint="count from 0", param=here)
        kinds = [a for a in get_args(hint) if a is not Ellipsis]
        inner = kinds[min(int(name), len(kinds) - 1)] if kinds else Any
        items = list(obj)
        items[int(name)] = _set(items[int(name)], path[1:], value, text, here, inner)
        return type(obj)(items)
    raise BadInput(f"{where!r} has no parts", hint=f"write {where}=value", param=here)


# ---------------------------------------------------------------------------------------------------- conversion


def convert(hint: Any, value: Any, where: str = "") -> Any:
    """`value` as the type `hint` says, or `BadInput`. Nothing is guessed: "3" is not 3, 1 is not True."""
    origin = get_origin(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return value
    if origin is typing.Annotated:
        return convert(get_args(hint)[0], value, where)
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), value, where)
    if origin is Literal:
        if not any(value == a and type(value) is type(a) for a in get_args(hint)):
            choices = [str(a) for a in get_args(hint)]
            wish = did_you_mean(value, choices) if isinstance(value, str) else f"choose from {', '.join(choices)}"
            raise BadInput(f"{where or 'value'} is {_say(value)}", hint=wish, param=where)
        return value
    if origin is not None and isinstance(origin, type):
        return _container(origin, get_args(hint), value, where)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where)  # type: ignore[arg-type]
    if isinstance(hint, type):
        return _scalar(hint, value, where)
    return value if hint is not None or value is None else _wrong("nothing", value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is type(None):
        return None if value is None else _wrong("nothing (null)", value, where)
    if hint in (list, tuple, dict, set, frozenset):
        return _container(hint, (), value, where)
    if issubclass(hint, enum.Enum):
        if isinstance(value, hint):
            return value
        try:
            return hint(value)
        except ValueError:
            options = [str(member.value) for member in hint]
            raise BadInput(f"{where} is {_say(value)}", hint=did_you_mean(str(value), options), param=where) from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is int):
        return value
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return _wrong(words.get(hint, f"a {hint.__name__}"), value, where)


def _union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    options = tuple(o for o in options if o is not type(None))
    for option in options:  # an exact type first, so that `float | int` keeps 3 whole
        if option is type(value):
            return value
    errors = []
    for option in options:
        try:
            return convert(option, value, where)
        except BadInput as error:
            errors.append(error)
    # The error that got deepest (longest path) is the one about the option that was meant.
    raise max(errors, key=lambda e: len(e.param or ""))


def _container(origin: type, args: tuple[Any, ...], value: Any, where: str) -> Any:
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return _wrong("a mapping", value, where)
        key, item = args if args else (Any, Any)
        return {convert(key, k, _join(where, str(k))): convert(item, v, _join(where, str(k))) for k, v in value.items()}
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, (list, tuple, set, frozenset)):
        return _wrong("a list", value, where)
    if origin is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise BadInput(f"{where} has {len(value)} values", hint=f"give exactly {len(args)}", param=where)
        return tuple(convert(a, v, f"{where}.{i}") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    inner = args[0] if args else Any
    items = [convert(inner, v, f"{where}.{i}") for i, v in enumerate(value)]
    kind = origin if origin in (list, tuple, set, frozenset) else tuple
    return kind(items)


def _wrong(wanted: str, value: Any, where: str) -> Any:
    raise BadInput(f"{where or 'value'} is {_say(value)}", hint=f"give {wanted}", param=where)


def _build(make: Any, where: str) -> Any:
    """Run a constructor; what its own checks refuse becomes `BadInput` with the path."""
    try:
        return make()
    except IdiolectError as error:
        if where and not (error.param or "").startswith(where):
            error.param = _join(where, error.param or "")
            error.message = f"{where}: {error.message}"
        raise
    except (ValueError, TypeError) as error:
        raise BadInput(f"{where + ': ' if where else ''}{error}", param=where) from error


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where and name else where or name


def _say(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
