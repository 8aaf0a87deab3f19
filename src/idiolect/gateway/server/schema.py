"""The requests that are understood, field by field, and what becomes of them.

Unknown top-level fields are refused with the nearest known name, since an ignored `temprature` costs more than an
error. Fields that OpenAI documents and that change nothing about the words of an answer are accepted and not used
(`Ignored`). Documented fields that would change the answer in a way that we cannot (audio, images, web search) are
refused by value. `top_k`, `min_p`, `repetition_penalty`, `ignore_eos` and `stop_token_ids` are accepted beside OpenAI's
own, under the names that other open servers use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from idiolect.core.call import Message, Sampling, ToolCall
from idiolect.core.errors import BadInput


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Ignored(Strict):
    """Documented by OpenAI, about billing, routing and storage on their side: accepted, not used."""

    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None
    prediction: Any = None
    parallel_tool_calls: Any = None


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False  # accepted, not used: nothing here crosses a network that we do not own


class Sampled(Ignored):
    """The sampling fields that chat and raw completions share."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    seed: int | None = None

    def sampling(self, defaults: Sampling, *, logprobs: int | None, max_tokens: int | None) -> Sampling:
        """The request's values, the model's defaults where it gives none."""

        def given(name: str) -> Any:
            value = getattr(self, name)
            return getattr(defaults, name) if value is None else value

        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or defaults.stop)
        if len(stop) > 16 or "" in stop:
            raise BadInput("stop takes 1 to 16 non-empty texts", param="stop")
        return Sampling(
            max_tokens=defaults.max_tokens if max_tokens is None else max_tokens,
            temperature=given("temperature"),
            top_k=given("top_k"),
            top_p=given("top_p"),
            min_p=given("min_p"),
            repetition_penalty=given("repetition_penalty"),
            presence_penalty=given("presence_penalty"),
            frequency_penalty=given("frequency_penalty"),
            logit_bias=_bias(self.logit_bias) or defaults.logit_bias,
            stop=stop,
            stop_ids=tuple(self.stop_token_ids or defaults.stop_ids),
            ignore_eos=given("ignore_eos"),
            seed=self.seed,
            logprobs=logprobs,
        )

    def choices(self, most: int) -> int:
        if (self.n or 1) > most:
            raise BadInput(f"n is {self.n}", hint=f"give at most {most}", param="n")
        return self.n or 1


def _bias(given: Mapping[str, float] | None) -> dict[int, float]:
    try:
        return {int(token): float(bias) for token, bias in (given or {}).items()}
    except ValueError:
        raise BadInput("logit_bias has a key that is no token id", param="logit_bias") from None


class Part(Strict):
    """A piece of a message's content. Only text: there are no models here that see or hear."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Any = None
    input_audio: Any = None
    file: Any = None


class Function(Strict):
    name: str
    arguments: str = ""


class Called(Strict):
    id: str
    type: Literal["function"] = "function"
    function: Function
    index: Any = None


class ChatMessage(Strict):
    """One turn. The last five fields come back when a client sends an answer of ours or of OpenAI's again."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None
    refusal: Any = None
    annotations: Any = None
    audio: None = None
    function_call: None = None
    reasoning_content: Any = None

    def message(self) -> Message:
        calls = tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in self.tool_calls or ())
        role = "system" if self.role == "developer" else self.role
        return Message(role, text(self.content, "messages"), self.name, calls, self.tool_call_id)


def text(content: str | list[Part] | None, param: str) -> str:
    """The text of a content; other kinds of parts are refused."""
    if isinstance(content, str) or content is None:
        return content or ""
    for part in content:
        if part.text is None and part.refusal is None:
            raise BadInput(f"a content part of type {part.type!r} has no text", hint="send text only", param=param)
    return "\n".join(part.text if part.text is not None else str(part.refusal) for part in content)


class Wishes(Strict):
    """Our own field of a chat request: how to answer over documents, and where the answer belongs."""

    mode: Literal["auto", "quote", "generate"] = "auto"
    length: Annotated[int, Field(ge=1, le=5)] | None = None
    expertise: Annotated[int, Field(ge=1, le=5)] | None = None
    conversation: str | None = None
    parent: str | None = None
    regenerate: bool = False
    overflow: Literal["error", "trim"] | None = None


class ChatRequest(Sampled):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    functions: None = None
    function_call: None = None
    web_search_options: None = None
    idiolect: Wishes | None = None

    def tokens(self) -> int | None:
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise BadInput("max_tokens and max_completion_tokens differ", hint="give one", param="max_tokens")
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def wanted_logprobs(self) -> int | None:
        if self.top_logprobs and not self.logprobs:
            raise BadInput("top_logprobs needs logprobs to be true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Sampled):
    prompt: str | list[str] | list[int] | list[list[int]]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: int | None = None
    suffix: None = None

    def prompts(self) -> list[str | tuple[int, ...]]:
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if not given:
            raise BadInput("prompt is empty", param="prompt")
        if isinstance(given[0], int):
            return [tuple(given)]
        return [p if isinstance(p, str) else tuple(p) for p in given]


class EmbeddingRequest(Strict):
    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: Any = None
