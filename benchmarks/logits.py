"""float32 logits of the embedded language model, ours against transformers', on real prompts up to 2,000 tokens.

Both sides hold the same dequantised weights: ours are loaded from the GGUF file, written as a Hugging Face directory by
`models.save`, and opened there by transformers. Two figures of ours: with plain weights (the same matrix kernels as
transformers, so the difference is what our code adds) and with weights packed for serving (oneDNN's kernels, which add
up in another order). The figure is the largest absolute difference over all positions and all vocabulary entries; the
largest logits are about 40. For prompts up to --exact tokens a float64 run says how far each side is from the truth.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Result

SUMMARY = "Largest difference of float32 logits between our llama and transformers'."
LENGTHS = [8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 700, 900, 1200, 1600, 2000]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=len(LENGTHS), help="how many of the 20 (shortest first)")
    parser.add_argument("--exact", type=int, default=256, help="longest prompt that is also run in float64")


def real_text(data: str) -> str:
    """WikiText-2's test part, else the repository's own documents."""
    corpus = Path(data) / "corpora" / "wikitext2" / "test.raw.gz"
    if corpus.exists():
        with gzip.open(corpus, "rt", encoding="utf-8") as file:
            return file.read()
    root = Path(__file__).parent.parent
    files = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/*.py")])
    return "\n\n".join(path.read_text("utf-8") for path in files)


def run(args: argparse.Namespace) -> Result:
    import torch
    from transformers import AutoModelForCausalLM

    from idiolect import models
    from idiolect.nn import Batch

    torch.set_num_threads(args.threads)
    plain = models.load(models.EMBEDDED_LM, dtype="float32", packed=False)
    served = models.load(models.EMBEDDED_LM, dtype="float32")
    text = real_text(args.data)
    step = len(text) // len(LENGTHS)
    with tempfile.TemporaryDirectory() as folder:
        models.save(plain, Path(folder) / "hf")
        theirs: Any = AutoModelForCausalLM.from_pretrained(Path(folder) / "hf", dtype=torch.float32).eval()
    exact = AutoModelForCausalLM.from_config(theirs.config).double().eval() if args.exact else None
    if exact is not None:
        exact.load_state_dict({k: v.double() for k, v in theirs.state_dict().items()})
    worst, worst_served, same, total = 0.0, 0.0, 0, 0
    print("        from transformers  |  from float64")
    print("tokens   plain    packed   |   plain    packed  transformers")
    with torch.inference_mode():
        for i, length in enumerate(LENGTHS[: args.prompts]):
            ids = torch.tensor(plain.tokenizer.encode(text[i * step : i * step + 12 * length])[:length])
            batch = Batch.pack([ids])
            other = theirs(ids[None]).logits[0]
            mine = {"plain": plain(batch), "packed": served(batch)}
            first, second = ((logits - other).abs().max().item() for logits in mine.values())
            far = ""
            if exact is not None and length <= args.exact:
                truth = exact(ids[None]).logits[0]
                far = "  ".join(f"{(x - truth).abs().max():.1e}" for x in (*mine.values(), other))
            print(f"{len(ids):6d}  {first:.2e} {second:.2e}  |  {far}", flush=True)
            worst, worst_served = max(worst, first), max(worst_served, second)
            same += int((mine["packed"].argmax(-1) == other.argmax(-1)).sum())
            total += len(ids)
    return Result(
        bench="logits",
        ours=worst,
        rival=None,
        ratio=None,
        unit="max |d logit|",
        n=min(args.prompts, len(LENGTHS)),
        goal="<= 1e-4",
        met=worst <= 1e-4,
        notes=[f"packed for serving: {worst_served:.2e}, top-1 equal at {same} of {total} positions"],
    )
