"""Requests to token ids, as lm-evaluation-harness does it: an option's tokens are those of context and option read as
one text, less those of the context alone; spaces at the context's end belong to the option."""

from __future__ import annotations

from typing import Any

from idiolect.core.errors import BadInput
from idiolect.engine.likelihood import Question
from idiolect.evals.types import Choose


def question(model: Any, request: Choose) -> Question:
    """The ids of every option after the context. Of what does not fit the model's context the beginning is left out,
    the same for all options."""
    if not request.options:
        raise BadInput("a question without options", hint="give at least one")
    tokenizer = model.tokenizer
    if isinstance(request.context, str):
        context = request.context
        stripped = context.rstrip()
        tail = context[len(stripped) :] if stripped else ""
        context = stripped or context
        head = tokenizer.encode(context, bos=True) if context else []
        if not head:  # nothing stands before the options: the model's own beginning has to
            first = tokenizer.bos_id if tokenizer.bos_id is not None else next(iter(tokenizer.eos_ids), None)
            if first is None:
                raise BadInput("the context is empty", hint="this model has no token to begin a text with")
            wholes = [[first, *tokenizer.encode(tail + option)] for option in request.options]
            starts = [1] * len(wholes)
        else:
            wholes = [tokenizer.encode(context + tail + option, bos=True) for option in request.options]
            starts = [len(head)] * len(wholes)
    else:
        if model.template is None:
            raise BadInput(f"{model.id} has no chat template", hint="ask in plain text (format: plain)")
        head = list(model.template.render(list(request.context)).ids)
        wholes = [[*head, *tokenizer.encode(option)] for option in request.options]
        starts = [len(head)] * len(wholes)
    for whole, start, option in zip(wholes, starts, request.options, strict=True):
        if len(whole) <= start:
            raise BadInput(f"the option {option[:40]!r} has no tokens of its own", hint="give it some text")
    over = max(0, max(len(whole) for whole in wholes) - 1 - model.room)
    if over >= min(starts):
        raise BadInput("an option alone is longer than the model's context", hint="use a model with a longer context")
    return Question(tuple(tuple(whole[over:]) for whole in wholes), tuple(start - over for start in starts))
