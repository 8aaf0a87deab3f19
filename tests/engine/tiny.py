"""A random llama small enough to run thousands of times, in float64 so that ties and rounding cannot decide a token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from idiolect.models.llama import Llama

VOCABULARY = 96
CONFIG = {
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}


class Letters:
    """A tokenizer of printable ASCII: id 0 ends a turn, id i is the character 31 + i, and ids 94 and 95 are the two
    bytes of "é", so that a character can be split."""

    bos_id = None
    eos_ids = (0,)
    specials = {"<end>": 0}  # noqa: RUF012
    fingerprint = "letters"

    def __len__(self) -> int:
        return VOCABULARY

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        return [i for c in text for i in ([94, 95] if c == "é" else [ord(c) - 31])]

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        if token == 0:
            return b""
        return "é".encode()[token - 94 : token - 93] if token >= 94 else bytes([31 + token])

    def piece(self, token: int) -> str:
        return "<end>" if token == 0 else self.token_bytes(token).decode("utf-8", "replace")

    def stream(self) -> LetterStream:
        return LetterStream()


class LetterStream:
    def __init__(self) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(Letters().token_bytes(token))

    def flush(self) -> str:
        return self._decoder.decode(b"", True)


NATIVE = {"hidden_size": 64, "intermediate_size": 80, "head_dim": 16}  # the smallest heads that the kernels know


def tiny_native_model(seed: int = 0, **changes: object) -> Llama:
    """The same for the native runner: float32, and as wide as its kernels need."""
    return tiny_model(seed, scale=0.2, **{**NATIVE, **changes}).float()  # type: ignore[arg-type]


def tiny_model(seed: int = 0, scale: float = 0.4, **changes: object) -> Llama:
    """Random weights, large enough to make a token depend on everything before it."""
    model = Llama({**CONFIG, **changes})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 or name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    model = model.double()
    model.tokenizer = Letters()
    return model.requires_grad_(False).eval()
