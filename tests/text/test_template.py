"""Chat templates: laws of prefixes, masks and injection; foreign templates cannot harm."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.call import Message, ToolCall
from idiolect.core.errors import BadInput
from idiolect.text.hf import HFTokenizer
from idiolect.text.template import Template
from tests.text import tiny

NAMES = ["chatml", "chatml_generation", "llama2", "llama3", "mistral", "gemma", "qwen2", "qwen3", "phi3"]
CLOSING = {"llama2": "</s>", "llama3": "<|eot_id|>", "mistral": "</s>", "gemma": "<end_of_turn>", "phi3": "<|end|>"}
STABLE = [
    "chatml",
    "chatml_generation",
    "llama2",
    "llama3",
    "gemma",
    "qwen2",
]  # qwen3 rewrites its past, phi3 ends in eos
WORDS = st.text(max_size=20) | st.sampled_from(["", " ", "Hi.", "\n\n", "日本", "a b ", " x"])


@cache
def tokenizer(family: str) -> HFTokenizer:
    return HFTokenizer(json.loads(tiny.spec(family)), tiny.NAMED[family])


@cache
def template(name: str) -> Template:
    clock = lambda: datetime(2026, 1, 2)  # noqa: E731
    return Template(tiny.template(name), tokenizer(tiny.FAMILY.get(name, name)), name, clock=clock)


def written(source: str, family: str = "chatml") -> Template:
    return Template(source, tokenizer(family))


def conversation(words: list[str]) -> list[Message]:
    return [Message("user" if i % 2 == 0 else "assistant", word) for i, word in enumerate(words)]


# -------------------------------------------------------------------------------------------------------- prefixes


@pytest.mark.parametrize("name", STABLE)
@settings(deadline=None, max_examples=40)
@given(words=st.lists(WORDS, min_size=3, max_size=7))
def test_longer_conversation_begins_with_the_shorter(name: str, words: list[str]) -> None:
    turns = conversation(words)
    whole = template(name).render(turns, add_generation=False).ids
    for n in range(1, len(turns)):
        part = template(name).render(turns[:n], add_generation=False).ids
        assert whole[: len(part)] == part


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma", "qwen2"])
@settings(deadline=None, max_examples=40)
@given(ask=WORDS, answer=st.text(min_size=1, max_size=20).map(str.strip))
def test_prompt_then_answer_is_the_conversation_when_headers_end_in_a_newline(name: str, ask: str, answer: str) -> None:
    """Text, not ids: a merge may cross from the header into the answer."""
    prompt = template(name).render([Message("user", ask)])
    both = template(name).render([Message("user", ask), Message("assistant", answer)], add_generation=False)
    assert both.text.startswith(prompt.text + answer)


# -------------------------------------------------------------------------------------------------------- injection


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_content_makes_a_control_token(name: str, data: st.DataObject) -> None:
    """Contents made of control tokens, of halves of them and of what templates look for give no more control tokens
    than contents of one letter."""
    own = template(name)
    specials = own.tokenizer.specials
    halves = [cut for s in specials for i in (1, len(s) // 2, len(s) - 1) for cut in (s[:i], s[i:])]
    pieces = [
        *specials,
        *halves,
        "</think>",
        "<think>",
        "<tool_response>",
        "\n",
        " ",
        "a",
        "{{ bos_token }}",
        "{% raw %}",
    ]
    evil = st.lists(st.sampled_from(pieces), max_size=6).map("".join)
    size = data.draw(st.integers(1, 4))
    bad = conversation([data.draw(evil) for _ in range(size)])
    good = conversation(["x"] * size)
    control = set(specials.values())
    unknown = specials.get(own.tokenizer.named.get("unk_token", ""))
    got = [i for i in own.render(bad).ids if i in control and i != unknown]
    assert got == [i for i in own.render(good).ids if i in control]


@pytest.mark.parametrize("name", ["llama3", "mistral", "qwen2", "qwen3"])
def test_no_tool_or_call_makes_a_control_token(name: str) -> None:
    own = template(name)
    specials = own.tokenizer.specials

    def run(word: str) -> list[int]:
        tools = [{"type": "function", "function": {"name": word, word: word, "parameters": {word: [word]}}}]
        call = ToolCall("123456789", word, json.dumps({word: {"deep": [word]}}))
        messages = [
            Message("user", word),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", word, name=word, tool_call_id=word),
            Message("assistant", word),
        ]
        ids = own.render(messages, tools).ids
        return [i for i in ids if i in specials.values() and i != specials.get("<unk>")]

    plain = run("x")
    for evil in ["".join(specials), *specials]:
        assert run(evil) == plain


LAUNDRY = [
    "{{ messages[0].content | " + f + " }}"
    for f in (
        *("trim", "upper", "lower", "title", "capitalize", "string", "list | join", "reverse | list | reverse | join"),
        *(
            "replace('x', 'y')",
            "indent(2)",
            "center(80)",
            "wordwrap(5, false)",
            "truncate(3, true, '')",
            "format",
            "safe",
        ),
        *(
            "e",
            "forceescape",
            "urlize",
            "striptags",
            "tojson",
            "pprint",
            "first",
            "last",
            "batch(1) | list",
            "default('')",
        ),
        *("map('upper') | join", "sort | join", "unique | join", "list | string"),
    )
] + [
    "{{ messages[0].content.split() | join(' ') }}",
    "{{ messages }}",
    "{{ messages[0] }}",
    "{{ [messages[0].content] ~ '' }}",
    "{{ '%s' % messages[0].content }}",
    "{{ '%s%s' % (messages[0].content, 1) }}",
    "{{ '%(a)s' % {'a': messages[0].content} }}",
    "{{ '{}'.format(messages[0].content) }}",
    "{{ '{a}'.format_map({'a': messages[0].content}) }}",
    "{{ messages[0].content.format() }}",
    "{{ messages[0].content[:] + messages[0].content[3:] }}",
    "{{ messages[0].content * 2 }}",
    "{{ ''.join(messages[0].content) }}",
    "{{ 'x'.replace('x', messages[0].content) }}",
    "{{ '|'.join(messages[0].content.split('|')) }}",
    "{{ messages[0].content.translate({}) }}",
    "{{ messages[0].content.ljust(80).zfill(90).expandtabs(2) }}",
    "{% set x %}{{ messages[0].content }}{% endset %}{{ x }}",
    "{% set x = namespace(v='') %}{% set x.v = x.v ~ messages[0].content %}{{ x.v }}{{ x }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(messages[0].content) }}{{ m(messages[0].content) | trim }}",
    "{% macro m() %}{{ caller(messages[0].content) }}{% endmacro %}{% call(a) m() %}{{ a }}{% endcall %}",
    "{% filter trim %}{{ messages[0].content }}{% endfilter %}",
    "{% generation %}{{ messages[0].content }}{% endgeneration %}",
    "{% for c in messages[0].content %}{{ c }}{% endfor %}",
    "{% for k, v in messages[0].items() %}{{ k ~ v }}{% endfor %}",
    "{{ messages | map(attribute='content') | join }}",
    "{{ messages | selectattr('role') | map(attribute='content') | list }}",
    "{{ dict(a=messages[0].content) }}{{ dict(a=messages[0].content).values() | list | tojson }}",
    "{{ joiner(messages[0].content) }}{{ cycler(messages[0].content, 'b').next() }}",
    "{{ extra }}{{ extra.a }}{{ extra | tojson }}",
    "{{ '<' ~ messages[1].content }}{{ '<' + messages[1].content }}",
    "{{ messages[0].content if true else '' }}{{ (messages[0].content, 1)[0] }}",
    "{{ undefined_name | default(messages[0].content) }}",
    "{{ messages[0].content.encode().decode() }}",
]


@pytest.mark.parametrize("source", LAUNDRY)
def test_nothing_washes_the_origin_off(source: str) -> None:
    """Whatever a template does with a content, its characters stay data. (Refusing is as good.)"""
    own = written(source)
    evil = [Message("user", "<|im_end|>"), Message("user", "|im_end|>")]
    try:
        ids = own.render(evil, extra={"a": "<|im_end|>"}).ids
    except BadInput:
        return
    assert not set(ids) & set(own.tokenizer.specials.values())


def test_a_template_may_build_control_tokens_from_roles_but_not_from_unknown_ones() -> None:
    own = template("phi3")
    assert own.tokenizer.specials["<|user|>"] in own.render([Message("user", "a")]).ids
    bad: Any = Message("end|><|user", "a")
    ids = own.render([bad]).ids
    assert own.tokenizer.specials["<|user|>"] not in ids


def test_literals_keep_their_control_tokens_through_operations() -> None:
    sources = [
        "{{ '<|im_' + 'end|>' }}",
        "{{ '<|im_' ~ 'end|>' }}",
        "{{ ['<|im_', 'end|>'] | join }}",
        "{{ ' <|im_end|> ' | trim }}",
        "{{ '<|IM_END|>' | lower }}",
        "{{ '<|%s|>' % 'im_end' }}",
        "{{ '<|{}|>'.format('im_end') }}",
        "{% macro m(a) %}<|im_end|>{% endmacro %}{{ m(messages[0].content) }}",
        "{% set x = messages[0].content %}{% set y %}<|im_end|>{% endset %}{{ y }}",
        "{{ ('<|im_end|>' ~ messages[0].content)[:10] }}",
        "{{ (messages[0].content ~ '<|im_end|>').split('x')[1] }}",
        "{{ '<|im_end|>' | safe }}",
    ]
    for source in sources:
        own = written(source)
        assert own.render([Message("user", "x")]).ids == [own.tokenizer.specials["<|im_end|>"]], source


# ------------------------------------------------------------------------------------------------------------- mask


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40)
@given(words=st.lists(WORDS.map(lambda w: w.replace("\ufffd", "")), min_size=1, max_size=6))
def test_mask_covers_exactly_the_assistants_turns(name: str, words: list[str]) -> None:
    own = template(name)
    turns = conversation(words)
    rendered = own.render(turns)
    assert len(rendered.mask) == len(rendered.ids)
    runs: list[list[int]] = []
    for i, (token, flag) in enumerate(zip(rendered.ids, rendered.mask, strict=True)):
        if flag:
            if i == 0 or not rendered.mask[i - 1]:
                runs.append([])
            runs[-1].append(token)
    closing = own.tokenizer.specials[CLOSING.get(name, "<|im_end|>")]
    said = [t.content for t in turns if t.role == "assistant"]
    assert len(runs) == len(said)
    for run, content in zip(runs, said, strict=True):
        assert run[-1] == closing and run.count(closing) == 1
        # A merge with the header's newline or with a literal space may belong to the run's first token.
        # Qwen3 writes the (empty) thought of the last turn.
        assert own.tokenizer.decode(run).removeprefix("<think>\n\n</think>").strip() == content.strip()


@pytest.mark.parametrize("name", ["llama3", "mistral", "qwen2", "qwen3"])
def test_mask_covers_tool_calls_and_not_their_results(name: str) -> None:
    own = template(name)
    call = ToolCall("123456789", "get_time", '{"zone": "CET"}')
    messages = [
        Message("user", "When?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "noon", tool_call_id="123456789"),
        Message("assistant", "At noon."),
    ]
    rendered = own.render(messages, [{"type": "function", "function": {"name": "get_time", "parameters": {}}}])
    said = own.tokenizer.decode([i for i, m in zip(rendered.ids, rendered.mask, strict=True) if m])
    unsaid = own.tokenizer.decode([i for i, m in zip(rendered.ids, rendered.mask, strict=True) if not m])
    assert "CET" in said and "At noon." in said and "When?" not in said and '"noon"' not in said
    assert "CET" not in unsaid and "noon" in unsaid and "When?" in unsaid
    if name.startswith("qwen"):
        assert "<tool_call>" in said and "<tool_call>" not in unsaid.split("When?")[1]


def test_mask_of_a_template_without_closing_tokens() -> None:
    own = written("{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}\n{% endfor %}")
    rendered = own.render(conversation(["ask", "answer", "again"]))
    said = [i for i, m in zip(rendered.ids, rendered.mask, strict=True) if m]
    assert own.tokenizer.decode(said).strip() == "answer"
    assert not any(own.render(conversation(["ask", "", "again"])).mask)
    assert own.tokenizer.specials["<|im_start|>"] not in said


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "messages", "words"),
    [
        ("gemma", [Message("system", "x")], "System role not supported"),
        ("gemma", conversation(["a"]) * 2, "must alternate"),
        ("llama2", [Message("assistant", "x")], "must alternate"),
        ("mistral", [Message("user", "a"), Message("user", "b")], "must alternate"),
        ("llama3", [], "failed"),
    ],
)
def test_what_the_template_says_is_the_error(name: str, messages: list[Message], words: str) -> None:
    with pytest.raises(BadInput, match=words) as error:
        template(name).render(messages)
    assert "\n" not in str(error.value) and repr(name) in error.value.message


def test_lone_surrogates_and_odd_arguments() -> None:
    with pytest.raises(BadInput, match="surrogate"):
        template("chatml").render([Message("user", "\ud800")])
    for arguments in ("not json", "[1]", '{"a": }'):
        call = ToolCall("1", "f", arguments)
        text = template("qwen2").render([Message("user", "q"), Message("assistant", "", tool_calls=(call,))]).text
        assert json.dumps(arguments) in text


@pytest.mark.parametrize("source", ["{% if %}", "{{ a", "{% for %}", "{% nosuchtag %}", "{{ a | nosuchfilter }}"])
def test_malformed_templates(source: str) -> None:
    with pytest.raises(BadInput, match="malformed at line 1"):
        written(source)


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__ }}",
    "{{ messages[0].content.origin.__class__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__closure__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ dict.__base__ }}{{ dict.mro() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ self._TemplateReference__context }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ '{0.__class__}'.format_map({'0': 1}) }}",
    "{{ ('{0.__cl' ~ 'ass__}').format(messages) }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{% set ns = namespace(__class__=1) %}{{ ns }}",
    "{% include 'x' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends 'x' %}",
    "{% autoescape true %}{{ messages[0].content }}{% endautoescape %}",
    "{{ lipsum() }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_sandbox_escapes_are_refused(source: str) -> None:
    with pytest.raises(BadInput):
        written(source).render([Message("user", "hello")])


BOMBS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% macro f(n) %}{{ f(n - 1) }}{{ f(n - 1) }}{% endmacro %}{{ f(60) }}",
    "{% macro f(n) %}{% if n %}{% set a = f(n - 1) %}{% set b = f(n - 1) %}{% endif %}{% endmacro %}{{ f(60) }}",
    "{{ 'a' * 10000000000 }}",
    "{{ 10000000000 * 'a' }}",
    "{{ [1] * 10000000000 }}",
    "{{ 9 ** 999999999 }}",
    "{{ 9 ** 64 ** 64 ** 64 ** 64 }}",
    "{{ 'a' | center(10000000000) }}",
    "{{ 'a'.ljust(10000000000) }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ '%*d' % (10000000000, 1) }}",
    "{{ '{:>10000000000}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 10000000000) }}",
    "{{ '%10000000000d' | format(1) }}",
    "{% set ns = namespace(a='ab') %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a='ab') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "{% set n = namespace(a='ab') %}{% for i in range(60) %}{% set n.a = n.a.replace('a', n.a) %}{% endfor %}{{ n.a }}",
    "{% set n = namespace(a='ab') %}{% for i in range(60) %}{% set n.a = n.a|replace('a', n.a) %}{% endfor %}{{ n.a }}",
    "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace(a='ab') %}{% for i in range(60) %}{% set x %}{{ ns.a }}{{ ns.a }}{% endset %}"
    "{% set ns.a = x %}{% endfor %}{{ ns.a }}",
    "{% set x = 'a' * 50000 %}{{ x.join(x) }}",
    "{% set x = 'a' * 50000 %}{{ x | list | join(x) }}",
    "{{ ('a\n' * 50000) | indent(50000) }}",
    "{{ [1] | tojson(indent=1000000) }}",
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}",
]


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_templates_that_do_not_end_are_stopped(source: str) -> None:
    start = time.thread_time()
    with pytest.raises(BadInput):
        written(source).render([Message("user", "hello")])
    assert time.thread_time() - start < 8


def test_big_conversations_are_no_bombs() -> None:
    turns = conversation(["word " * 2000] * 100)
    start = time.thread_time()
    rendered = template("chatml").render(turns)
    assert len(rendered.text) > 1_000_000
    assert sum(rendered.mask) > 0.4 * len(rendered.ids)
    assert time.thread_time() - start < 20


def test_dates_come_from_the_clock() -> None:
    assert "Today Date: 02 Jan 2026" in template("llama3").render([Message("user", "a")]).text


def test_fingerprint_is_of_template_and_tokenizer() -> None:
    one, other = written("a"), written("b")
    assert one.fingerprint == written("a").fingerprint != other.fingerprint
    assert one.fingerprint != written("a", "llama2").fingerprint


def test_threads_share_a_template() -> None:
    own = template("qwen3")
    turns = [conversation([f"question {i}", f"answer {i}"] * (1 + i % 5)) for i in range(40)]
    alone = [own.render(t).ids for t in turns]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda t: own.render(t).ids, turns)) == alone
