"""The sandbox in which foreign chat templates run.

A template is a program written by a stranger and given text written by another. Three rules hold here: it reaches
nothing but the values it is given (jinja2's immutable sandbox); it ends (steps, seconds and characters are counted);
and the origin of every character survives (`marked`): an operation that does not keep origins has its whole result
noted as data, so that text can lose the right to be a control token but never win it.

Options, filters and globals are those with which transformers renders chat templates.
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.utils import Namespace

from idiolect.text import marked
from idiolect.text.marked import Marked, generated, source_in, taint

MAX_STEPS = 1_000_000  # loop turns and macro calls of one rendering
MAX_SECONDS = 2.0  # processor time of one rendering
MAX_NUMBER = 100_000  # the largest number a filter or string method may be given: widths, counts
_WIDE = re.compile(r"\d{6,}")
_PLAIN_ARGUMENT = (bool, int, float, str, type(None))


class TooMuch(jinja2.TemplateRuntimeError):
    """The template asked for more time or room than a chat needs."""


class Refused(jinja2.TemplateRuntimeError):
    """The template called `raise_exception`."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`: what the model is trained to write."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Macro) -> str:
        return generated(caller())


class _Generator(CodeGenerator):
    """Compiles `a ~ b` to a join that keeps origins, and the statement that `compile_template` puts into loops."""

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Frame) -> None:
        self.writeline("environment.tick()", node)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat_values((")
        for argument in node.nodes:
            self.visit(argument, frame)
            self.write(", ")
        self.write("))")


class _Namespace(Namespace):
    """`namespace()` without names that begin with an underscore."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace cannot hold {name!r}")
        super().__setitem__(name, value)


def _namespace(*args: Any, **kwargs: Any) -> _Namespace:
    made = _Namespace()
    for name, value in dict(*args, **kwargs).items():
        made[name] = value
    return made


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """`dict()`, but not the class: its attributes are nobody's business."""
    return dict(*args, **kwargs)


def _raise_exception(message: Any) -> None:
    raise Refused(str(message))


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment. `run` bounds one rendering; renderings in several threads do not disturb each other."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})
    code_generator_class = _Generator

    def __init__(self, clock: Callable[[], datetime] = datetime.now) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols], finalize=self._text
        )
        self._run = threading.local()
        self.filters = {name: self._guard(function) for name, function in self.filters.items()}
        self.filters |= {"tojson": self._tojson, "join": self._join, "safe": _unchanged, "string": self._text}
        del self.globals["lipsum"]
        self.globals |= {
            "raise_exception": _raise_exception,
            "strftime_now": lambda format: clock().strftime(str.__str__(format)),
            "namespace": _namespace,
            "dict": _dict,
        }
        self.concat = self._concat  # type: ignore[method-assign]

    # ------------------------------------------------------------------------------------------------- bounds

    @contextmanager
    def run(self, characters: int) -> Iterator[None]:
        """Bound what is rendered inside to `characters`, `MAX_STEPS` and `MAX_SECONDS`."""
        self._run.limit, self._run.steps, self._run.end = characters, 0, time.thread_time() + MAX_SECONDS
        try:
            yield
        finally:
            del self._run.limit, self._run.steps, self._run.end

    def tick(self) -> None:
        """Called at each loop turn and macro call (see `compile_template`)."""
        self._run.steps += 1
        if self._run.steps > MAX_STEPS or time.thread_time() > self._run.end:
            raise TooMuch("it does not come to an end")

    def check(self, size: int) -> None:
        if size > getattr(self._run, "limit", 1 << 20):
            raise TooMuch("its text grows beyond bounds")

    # ------------------------------------------------------------------------------------------------ origins

    def _text(self, value: Any) -> str:
        """How `{{ value }}` prints: the string of anything but strings and numbers may show data."""
        if isinstance(value, Marked) or type(value) is str:
            return value
        text = str(value)
        if isinstance(value, (bool, int, float, Undefined, type(None))):
            return text
        code = source_in(value)
        self.check(len(text))
        return text if code is None else taint(text, code)

    def _concat(self, parts: Iterable[str]) -> str:
        parts = list(parts)
        self.check(sum(map(len, parts)))
        return marked.join(parts)

    def concat_values(self, values: Iterable[Any]) -> str:
        return self._concat(map(self._text, values))

    def _kept(self, result: Any, *inputs: Any) -> Any:
        """`result`, as data when it is a plain string made from data."""
        if isinstance(result, str) and not isinstance(result, Marked):
            self.check(len(result))
            code = source_in(inputs)
            text = str(result)
            return text if code is None else taint(text, code)
        return result

    def _guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter that keeps the rules. Filters that want the context get it first; it is no data."""
        skip = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            inputs = args[skip:]
            self._check_call(function.__name__, inputs, kwargs)
            return self._kept(function(*args, **kwargs), *inputs, *kwargs.values())

        return guarded

    def _check_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse the calls with which a few characters ask for gigabytes."""
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, int) and abs(value) > MAX_NUMBER:
                raise TooMuch(f"it asks {name} for {value}")
        text = args[0] if args else ""
        if not isinstance(text, str):
            return
        if name in ("replace", "do_replace") and len(args) > 2 and isinstance(args[2], str):
            self.check(len(text) + text.count(str(args[1])) * len(args[2]))
        elif name in ("format", "do_format", "format_map") and (_WIDE.search(text) or "*" in text):
            raise TooMuch("its format is too wide")
        elif name == "do_indent":
            width = max((w if isinstance(w, int) else len(w) for w in (*args[1:2], *kwargs.values())), default=4)
            self.check(len(text) + (text.count("\n") + 1) * width)
        elif name == "join" and len(args) > 1 and isinstance(args[1], (list, tuple, str)):
            self.check(sum(map(len, args[1])) + len(text) * len(args[1]))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Every call that a template makes."""
        if isinstance(__obj, (Macro, LoopContext)) or getattr(__obj, "__self__", None) is __self:
            return super().call(__context, __obj, *args, **kwargs)  # they build their text with `concat`
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            __self._check_call(__obj.__name__, (owner, *args), kwargs)
            if type(owner) is str and source_in(args) is not None and isinstance(__obj, types.BuiltinMethodType):
                __obj = getattr(Marked(owner, marked.LITERAL * len(owner)), __obj.__name__)
        result = super().call(__context, __obj, *args, **kwargs)
        return __self._kept(result, owner if isinstance(owner, str) else None, *args, *kwargs.values())

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        raise SecurityError(f"it reaches for {attribute!r} of a {type(obj).__name__}")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        owner = value.__self__

        def checked(*args: Any, **kwargs: Any) -> str:
            self._check_call("format", (owner, *args), kwargs)
            return self._kept(str.__str__(wrapped(*args, **kwargs)), owner, *args, *kwargs.values())

        return checked

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            self._check_product(left, right)
        elif operator == "**":
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > 4096:
                raise TooMuch("it asks for too large a power")
        elif operator == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else (right,)
            self._check_call("format", (left, *values), {})
        elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            self.check(len(left) + len(right))
        result = super().call_binop(context, operator, left, right)
        return self._kept(result, left, right) if operator == "%" else result

    def _check_product(self, left: Any, right: Any) -> None:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, int):
                if hasattr(other, "__len__"):
                    self.check(abs(one) * len(other))
                elif isinstance(other, int) and one.bit_length() + other.bit_length() > 4096:
                    raise TooMuch("it asks for too large a number")

    # ------------------------------------------------------------------------------------------------ filters

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        """JSON without HTML escapes; all of it is data when any of it is."""
        if isinstance(indent, int) and indent > 64:
            raise TooMuch("its JSON is indented too far")
        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
        return self._kept(text, value)

    def _join(self, values: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            values = [self.getitem(value, attribute) for value in values]
        parts = [self._text(value) for value in values]
        self.check(sum(map(len, parts)) + len(d) * len(parts))
        return marked.join(parts, d)

    # ---------------------------------------------------------------------------------------------- compiling

    def compile_template(self, source: str) -> tuple[jinja2.Template, bool]:
        """The template with a `tick` in each loop and macro, and whether it has generation blocks. Raises jinja2's
        TemplateSyntaxError."""
        tree = self.parse(source)
        if any(True for _ in tree.find_all((nodes.EvalContextModifier, nodes.ScopedEvalContextModifier))):
            raise jinja2.TemplateSyntaxError("autoescape has no place in a chat template", 1)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            tick = nodes.ExprStmt(nodes.EnvironmentAttribute("tick")).set_lineno(node.lineno)
            node.body = [tick, *node.body]  # type: ignore[attr-defined]
        marks = any(
            isinstance(node.call.node, nodes.ExtensionAttribute)
            for node in tree.find_all(nodes.CallBlock)
            if isinstance(node.call, nodes.Call)
        )
        tree.set_environment(self)
        code = self.compile(tree, filename="<chat template>")
        return jinja2.Template.from_code(self, code, self.make_globals(None), None), marks


def _unchanged(value: Any) -> Any:
    return value
