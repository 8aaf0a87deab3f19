"""A model with a head, as transformers keeps it: a directory of `...ForSequenceClassification`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.core.bundle import Bundle, Parent, writing
from idiolect.core.errors import BadInput, CorruptFile
from idiolect.core.progress import progress
from idiolect.models.base import Encoder, Model
from idiolect.models.read import describe, fill, network, open_source, resolve_dtype
from idiolect.models.words import template_source, tokenizer_of
from idiolect.models.write import save_file, tensors, write_json
from idiolect.nn import Batch
from idiolect.train.head import Head, HeadConfig, Kind

CLASSES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "gpt2": "GPT2",
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
SUFFIX = "ForSequenceClassification"
TYPES = {"classify": "single_label_classification", "regress": "regression", "reward": "regression"}
LM_HEAD = "lm_head.weight"


class HeadedModel(nn.Module):
    """A body and its head: packed batches -> [S, C] float32."""

    def __init__(self, model: Model, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, batch: Batch) -> Tensor:
        scores: Tensor = self.head(self.model.hidden(batch), batch)
        return scores

    @torch.no_grad()
    def scores(self, texts: Sequence[str], room: int = 4096) -> Tensor:
        """[len(texts), C] on the host: the texts as the model frames them, cut to its context, packed `room` tokens at
        a time."""
        from idiolect.data.packing import best_fit

        tokenizer = self.model.tokenizer
        limit = min(self.model.context, getattr(self.model, "max_tokens", self.model.context))
        framed = [tokenizer.frame(tokenizer.encode(text), limit) for text in texts]
        out = torch.empty(len(texts), self.head.config.outputs)
        for places in best_fit([len(ids) for ids in framed], room):
            found = self(Batch.pack([framed[i] for i in places], device=self.model.device))
            out[places] = found.cpu()
        return out

    def classify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """The likeliest class of each text and its probability."""
        classes = self.head.config.classes
        best = self.scores(texts).softmax(-1).max(-1)
        return [(classes[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def save(self, directory: str | Path, *, replace: bool = False) -> Bundle:
        """Write a directory that `AutoModelForSequenceClassification` and `load` open. It appears whole or not at all.

        Raises `BadInput` for a head that transformers has no place for (keep it beside the body with `Head.save`).
        """
        model, options = self.model, self.head.config
        names = layout(model, options)
        source = getattr(model, "source", None)
        parents = [Parent(source.asked, next(iter(source.sha256.values()), ""))] if source is not None else []
        weights = {prefixed(model, k): v for k, v in tensors(model).items() if k != LM_HEAD}
        weights |= {names[k]: v.detach().cpu().contiguous() for k, v in self.head.state_dict().items()}
        with writing(directory, made={"by": "train.headed"}, parents=parents, replace=replace) as folder:
            write_json(folder / "config.json", self.config())
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
            if model.tokenizer is not None:
                model.tokenizer.save(folder)
            if model.template is not None:
                (folder / "chat_template.jinja").write_text(model.template.source, encoding="utf-8")
        return Bundle.open(directory)

    def config(self) -> dict[str, Any]:
        """The config.json."""
        model, options = self.model, self.head.config
        kind = str(model.raw.get("model_type"))
        names = options.classes or tuple(f"LABEL_{i}" for i in range(options.outputs))
        found = {
            **model.raw,
            "architectures": [CLASSES[kind] + SUFFIX],
            "dtype": str(model.dtype).removeprefix("torch."),
            "id2label": {str(i): name for i, name in enumerate(names)},
            "label2id": {name: i for i, name in enumerate(names)},
            "num_labels": options.outputs,
            "problem_type": TYPES[options.kind],
        }
        found.pop("torch_dtype", None)
        if found.get("pad_token_id") is None and not isinstance(model, Encoder):
            ends = model.tokenizer.eos_ids if model.tokenizer is not None else ()
            eos = found.get("eos_token_id")
            end = ends[0] if ends else eos[0] if isinstance(eos, list) else eos
            found["pad_token_id"] = end  # transformers finds the last token by it
        return found


def load(
    source: str | Path, *, dtype: str | torch.dtype = "float32", device: str | torch.device = "cpu"
) -> HeadedModel:
    """Open a directory of `...ForSequenceClassification`. Raises `NotFound`, `CorruptFile` or `BadInput`."""
    opened = open_source(source)
    raw = dict(opened.config)
    architecture = next(iter(raw.get("architectures") or ()), "")
    if not architecture.endswith(SUFFIX):
        raise BadInput(f"{source} has no head (its architecture is {architecture or 'not named'})",
                       hint=f"give a directory of a ...{SUFFIX}")  # fmt: skip
    if LM_HEAD not in opened.weights.shapes and not str(raw.get("model_type")).endswith("bert"):
        raw["tie_word_embeddings"] = True  # the next-token matrix is not there and not needed
    opened.config = raw
    model = network(opened)
    labels = {int(k): v for k, v in (raw.get("id2label") or {}).items()}
    outputs = len(labels) or int(raw.get("num_labels", 2))
    encoder = isinstance(model, Encoder)
    kind: Kind = "classify" if outputs > 1 else "regress"
    classes = tuple(labels[i] for i in range(outputs)) if kind == "classify" and labels else ()
    head = Head(
        HeadConfig(
            kind,
            int(model.config.dim),
            outputs,
            "first" if encoder else "last",
            dense=encoder,
            bias=encoder,
            classes=classes,
        )
    )
    names = layout(model, head.config)
    own = [*names.values(), *(n for n in opened.weights.shapes if of_pooler(n))]
    model.ignored = (*model.ignored, *(name.replace(".", r"\.") for name in own))  # type: ignore[misc]
    number = resolve_dtype(dtype, torch.device(device))
    with progress("loading", total=len(model.rules()), unit="tensors", sink=lambda _: None) as bar:
        fill(model, opened.weights, number, bar)
    try:
        head.load_state_dict({ours: opened.weights.tensor(theirs) for ours, theirs in names.items()})
    except (KeyError, RuntimeError) as error:
        raise CorruptFile(f"{source} has no whole head: {str(error)[:120]}", hint="get the directory again") from None
    model.source = describe(str(source), opened, model)
    model.id, model.tokenizer = model.source.id, tokenizer_of(opened)
    text = template_source(opened)
    if text is not None:
        from idiolect.text.template import Template

        model.template = Template(text, model.tokenizer, name=model.id)
    model.after_load(opened)
    return HeadedModel(model, head.to(number)).requires_grad_(False).eval().to(device)


def of_pooler(name: str) -> bool:
    """Whether a tensor is of BERT's pooler, which some heads use and some leave out."""
    return ".pooler." in f".{name}"


def layout(model: Model, options: HeadConfig) -> Mapping[str, str]:
    """The names that transformers has for a head's tensors. `BadInput` where it has no such head."""
    kind = str(model.raw.get("model_type"))
    encoder = isinstance(model, Encoder)
    wanted = ("first", True, True) if encoder else ("last", False, False)
    if kind not in CLASSES or (options.pool, options.dense, options.bias) != wanted:
        raise BadInput(
            f"transformers has no {kind} with a head on the {options.pool} row",
            hint="keep the head beside its body: Head.save",
        )
    if not encoder:
        return {"out.weight": "score.weight"}
    first, last = ("bert.pooler.dense", "classifier") if kind == "bert" else ("classifier.dense", "classifier.out_proj")
    pairs = (("dense", first), ("out", last))
    return {f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in pairs for leaf in ("weight", "bias")}


def storable(model: Model, options: HeadConfig) -> bool:
    """Whether body and head can be written as one directory: no adapter is mounted, and transformers has the head."""
    if model.front is not None or any(getattr(m, "delta", None) is not None for m in model.modules()):
        return False
    try:
        return bool(layout(model, options))
    except BadInput:
        return False


def prefixed(model: Model, name: str) -> str:
    """A tensor's name in a directory of a model with a head: below the bare model's prefix."""
    return name if name.startswith(model.hf_prefix) else model.hf_prefix + name
