"""Any system of ours as a model of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness, 0.4).

    from lm_eval import simple_evaluate
    simple_evaluate(model=harness_model(LocalSystem(LocalConfig("embedded"))), tasks=["arc_easy"])

Requests that share a context go to the system as one question, so the context is computed once. Without code of ours
lm-eval reaches our server by its own `local-completions` (see docs/evaluation.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from idiolect.core.call import Sampling
from idiolect.core.errors import BadInput, Unavailable
from idiolect.evals.types import Choose, Chosen, Failed, Generate, Generated, Reply, Request, Roll, Rolled, System

SAID = {"until", "max_gen_toks", "max_tokens", "max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "min_p"}


def harness_model(system: System) -> Any:
    """A `lm_eval.api.model.LM` around `system`. `Unavailable` without lm-eval."""
    try:
        from lm_eval.api.model import LM
    except ImportError:
        raise Unavailable("this needs lm-evaluation-harness", hint="pip install lm-eval") from None

    class Idiolect(LM):
        """lm-eval's three kinds of requests, answered by one of our systems."""

        def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            pairs = [request.args for request in requests]
            places: dict[str, list[int]] = {}
            for place, (context, _) in enumerate(pairs):
                places.setdefault(context, []).append(place)
            asked = [Choose(context, tuple(pairs[i][1] for i in own)) for context, own in places.items()]
            found: dict[int, tuple[float, bool]] = {}
            for own, reply in zip(places.values(), answers(system, asked), strict=True):
                assert isinstance(reply, Chosen)
                found.update(zip(own, zip(reply.logprobs, reply.greedy, strict=True), strict=True))
            return [found[i] for i in range(len(pairs))]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            replies = answers(system, [Roll(request.args[0], bos=True) for request in requests])
            return [reply.logprob for reply in replies if isinstance(reply, Rolled)]

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            asked = [Generate(prompt=r.args[0], sampling=sampling(r.args[1])) for r in requests]
            return [reply.text for reply in answers(system, asked) if isinstance(reply, Generated)]

    return Idiolect()


def answers(system: System, requests: Sequence[Request]) -> list[Reply]:
    """All replies, in the order of the requests. `Unavailable` when one of them failed: lm-eval has no word for it."""

    async def collect() -> dict[int, Reply]:
        return {index: reply async for index, reply in system.answer(requests)}

    found = asyncio.run(collect())
    for reply in found.values():
        if isinstance(reply, Failed):
            raise Unavailable(f"{system.name} could not answer: {reply.error}", hint="lm-eval cannot leave items out")
    return [found[i] for i in range(len(requests))]


def sampling(said: Mapping[str, Any]) -> Sampling:
    """lm-eval's generation arguments; greedy unless they say `do_sample`. `BadInput` names what is not understood."""
    for name in said:
        if name not in SAID:
            raise BadInput(f"generation argument {name!r} is not understood", hint=f"known: {', '.join(sorted(SAID))}")
    until = said.get("until") or ()
    stops = (until,) if isinstance(until, str) else tuple(until)
    most = next((said[n] for n in ("max_gen_toks", "max_tokens", "max_new_tokens") if said.get(n)), 256)
    heat = float(said.get("temperature") or 0.0) if said.get("do_sample") else 0.0
    return Sampling(
        max_tokens=int(most),
        temperature=heat,
        top_p=float(said.get("top_p") or 1.0),
        top_k=int(said.get("top_k") or 0),
        min_p=float(said.get("min_p") or 0.0),
        stop=tuple(stop for stop in stops if stop),
    )
