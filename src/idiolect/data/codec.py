"""From examples to token ids, and which of them count.

| example | ids | counted |
|---|---|---|
| text | [bos] text [eos], each where the tokenizer has one (bos only if the model was made with it) | all |
| prompt, completion | the chat template's; with `chat=False`: [bos] prompt completion [eos] | completion and its end |
| chat | the chat template's | what assistants say, and the tokens that end their turns |
| preference | prompt and response, once for every response | the response |
| labelled text | as the model frames a whole input ([CLS] text [SEP]; [bos] text) | none: the label is what is asked |

A model without a chat template gets the packaged plain one (prompts/data/chat.jinja) for chats and preferences, and
prompts and completions go one after the other without it. Prompt and completion are then encoded apart, so that the
prompt's tokens are those that the model will be given when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from idiolect.core.call import Message
from idiolect.core.canonical import canonical, digest
from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.prompts import ROOT
from idiolect.data.examples import Chat, Completion, Example, Labelled, Preference, Text
from idiolect.text.hf import HFTokenizer
from idiolect.text.template import Template

TooLong = Literal["drop", "truncate", "split", "stop"]
Segment = tuple[np.ndarray, np.ndarray]  # ids uint32 [N], counted uint8 [N]
VERSION = 2  # raise it when the ids of an example change


@dataclass(frozen=True, slots=True)
class Row:
    """An example as segments (one; for a preference one per response, the best first)."""

    segments: list[Segment]
    label: str | float | None = None
    cut: int = 0  # tokens that were cut off the end


class Codec:
    """How a model reads examples. `too_long` says what happens to those over `context` tokens: `split` makes several of
    a raw text and leaves other examples out, `drop` leaves all out, `truncate` cuts their end off, `stop` refuses.
    Whatever happens is counted."""

    def __init__(
        self,
        tokenizer: HFTokenizer,
        template: Template | None = None,
        *,
        context: int,
        too_long: TooLong = "split",
        chat: bool = True,
    ) -> None:
        if too_long not in get_args(TooLong):
            raise BadInput(f"too_long is {too_long!r}", hint=did_you_mean(too_long, get_args(TooLong)))
        if context < 2:
            raise BadInput(f"a context of {context} tokens holds no example", hint="give 2 or more")
        self.tokenizer, self.context, self.too_long = tokenizer, context, too_long
        self.chat = chat and template is not None
        self.template = template if template is not None else plain_template(tokenizer)

    @classmethod
    def of(cls, model: Any, *, context: int = 0, too_long: TooLong = "split", chat: bool = True) -> Codec:
        """The codec of a model (its tokenizer, template and, unless given, context)."""
        if model.tokenizer is None:
            raise BadInput("the model has no tokenizer", hint="give it one before reading data for it")
        limit = min(model.context, getattr(model, "max_tokens", model.context))
        if context > limit:
            raise BadInput(f"context is {context}, the model's is {limit}", hint="give a smaller one", param="context")
        return cls(model.tokenizer, model.template, context=context or limit, too_long=too_long, chat=chat)

    @classmethod
    def open(cls, source: str, *, context: int = 0, too_long: TooLong = "split", chat: bool = True) -> Codec:
        """The codec of a model that is not loaded: its weights are not read."""
        from idiolect.models.read import network, open_source
        from idiolect.models.words import template_source, tokenizer_of

        opened = open_source(source)
        bare = network(opened)
        bare.tokenizer = tokenizer_of(opened)
        text = template_source(opened)
        bare.template = None if text is None else Template(text, bare.tokenizer, name=opened.id)
        bare.after_load(opened)
        return cls.of(bare, context=context, too_long=too_long, chat=chat)

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes the ids."""
        return digest(
            f"codec {VERSION}",
            self.tokenizer.fingerprint,
            self.template.fingerprint,
            canonical([self.context, self.too_long, self.chat]),
        )

    def rows(self, example: Example) -> list[Row]:
        """The example as rows; none when it is left out for its length."""
        match example:
            case Text():
                return self._text(example)
            case Completion() if not self.chat:
                return self._fit([self._plain(example)])
            case Completion():
                system = [Message("system", example.system)] if example.system else []
                asked = [Message("user", example.prompt), Message("assistant", example.completion)]
                return self._fit([self._chat([*system, *asked])])
            case Chat(messages, tools, asked) if asked:
                return self._fit([self._response(messages[:asked], messages[asked:], tools)])
            case Chat():
                return self._fit([self._chat(example.messages, example.tools)])
            case Preference():
                return self._fit([self._response(example.prompt, r) for r in example.responses])
            case Labelled():
                return self._labelled(example)

    # ---------------------------------------------------------------------------------------------- kinds

    def _text(self, example: Text) -> list[Row]:
        ids = self.tokenizer.encode(example.text, bos=example.first)
        if example.last:
            ids += self.tokenizer.eos_ids[:1]
        whole = np.array(ids, np.uint32)
        if self.too_long != "split" or len(whole) <= self.context:
            return self._fit([(whole, np.ones(len(whole), np.uint8))])
        alone = int(len(whole) % self.context == 1)  # a last token by itself predicts nothing, and is counted as cut
        pieces = [whole[i : i + self.context] for i in range(0, len(whole) - alone, self.context)]
        rows = [Row([(p, np.ones(len(p), np.uint8))]) for p in pieces]
        return [*rows[:-1], replace(rows[-1], cut=alone)]

    def _labelled(self, example: Labelled) -> list[Row]:
        """What is cut off a text stands before the frame's end: a model is asked with its [SEP] in place."""
        words = self.tokenizer.encode(example.text)
        ids = self.tokenizer.frame(words)
        limit = self.context if self.too_long == "truncate" else None
        kept = np.array(self.tokenizer.frame(words, limit), np.uint32)
        row = self._fit([(kept, np.zeros(len(kept), np.uint8))], example.label)
        return [replace(r, cut=r.cut + len(ids) - len(kept)) for r in row]

    def _plain(self, example: Completion) -> Segment:
        before = f"{example.system}\n\n{example.prompt}" if example.system else example.prompt
        prompt = self.tokenizer.encode(before, bos=True)
        # `encode_span`: a SentencePiece tokenizer must not put its first space in the middle of a text
        answer = self.tokenizer.encode_span(example.completion, first=not before)[0]
        answer = [*answer, *self.tokenizer.eos_ids[:1]]
        counted = np.concatenate([np.zeros(len(prompt), np.uint8), np.ones(len(answer), np.uint8)])
        return np.array([*prompt, *answer], np.uint32), counted

    def _chat(self, messages: Sequence[Message], tools: Any = ()) -> Segment:
        rendered = self.template.render(messages, tools, add_generation=False)
        counted = np.array(rendered.mask, np.uint8)
        lost = next((c.name for m in messages for c in m.tool_calls if c.name not in rendered.text), None)
        if lost is not None:
            raise BadInput(
                f"the chat template leaves the call of the tool {lost!r} out",
                hint="this model's template knows no tools; give another model, or skip such chats",
            )
        if not counted.any():
            raise BadInput(
                "the chat template leaves every assistant's turn out",
                hint="begin with a user's turn, or give another template",
            )
        for number, message in enumerate(messages, 1):
            # Templates strip turns, and take earlier thoughts out of them; how a turn ends is there in each of them.
            said = message.content.strip().rpartition("\n")[2].strip()
            if message.role != "tool" and said not in rendered.text:
                raise BadInput(
                    f"the chat template leaves turn {number}, the {message.role}'s, out",
                    hint="leave that turn out of the record, skip such chats, or give another template",
                )
        return np.array(rendered.ids, np.uint32), counted

    def _response(self, prompt: Sequence[Message], response: Sequence[Message], tools: Any = ()) -> Segment:
        ids, counted = self._chat([*prompt, *response], tools)
        asked = np.array(self.template.render(prompt, tools, add_generation=True).ids, np.uint32)
        shared = min(len(asked), len(ids))
        differs = np.flatnonzero(asked[:shared] != ids[:shared])
        counted[: int(differs[0]) if len(differs) else shared] = 0
        if not counted.any():
            raise BadInput("the chat template leaves the response out", hint="give another template")
        return ids, counted

    # --------------------------------------------------------------------------------------------- length

    def _fit(self, segments: list[Segment], label: str | float | None = None) -> list[Row]:
        longest = max(len(ids) for ids, _ in segments)
        if longest < 2 and label is None:
            return []  # a single token predicts nothing
        if longest <= self.context:
            return [Row(segments, label)]
        if self.too_long == "stop":
            raise BadInput(
                f"the example has {longest} tokens, the context {self.context}",
                hint="too_long=drop leaves such examples out and counts them, too_long=truncate cuts them",
            )
        if self.too_long != "truncate":
            return []
        cut = [(ids[: self.context], counted[: self.context]) for ids, counted in segments]
        if label is None and not all(counted[1:].any() for _, counted in cut):
            return []  # what is left holds nothing to learn
        return [Row(cut, label, cut=sum(max(0, len(ids) - self.context) for ids, _ in segments))]


def plain_template(tokenizer: HFTokenizer) -> Template:
    """The template of a model that has none: "role: what was said", and an end-of-sequence token after answers."""
    source = (ROOT / "data" / "chat.jinja").read_text("utf-8")
    return Template(source, tokenizer, name="plain chat")
