"""NF4: four bits whose sixteen levels suit normally distributed weights (Dettmers et al. 2023, arXiv:2305.14314).

The matrix is flattened row by row into blocks of 64; a block keeps its largest absolute value and sixteen-level codes
of what is left. Double quantisation (same paper, section 3) stores those constants in 8 bits as well: their mean apart,
the rest in blocks of 256 by the dynamic map of 8-bit optimisers (Dettmers et al. 2021, arXiv:2110.02861). That makes
4 + 8/64 + 32/(64*256) = 4.127 bits a weight. Codes and constants are those of bitsandbytes.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.weights.quant import FORMATS, QuantTensor, scratch

LEVELS = (  # appendix E of the paper
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
BLOCK, OUTER = 64, 256


@FORMATS.register("nf4")
class NF4(QuantTensor):
    """4-bit NormalFloat. `codes` [ceil(Out*In/block)*block/2] uint8, the first of two weights in the high half;
    `absmax` [blocks] float32, or uint8 with `outer` [ceil(blocks/256)] float32 and `offset` [] when doubly quantised.
    """

    fmt = "nf4"
    codes: Tensor
    absmax: Tensor
    outer: Tensor | None
    offset: Tensor | None

    @classmethod
    def pack(cls, weight: Tensor, block: int = BLOCK, double: bool = True) -> Self:
        """`block` weights share a constant; `double` stores the constants in 8 bits."""
        if block < 4 or block % 4:
            raise BadInput(f"an NF4 block of {block}", hint="give a multiple of 4; 64 is usual", param="block")
        made = cls((weight.shape[0], weight.shape[1]), weight.dtype)
        made.block = block
        values = padded(weight.float().flatten(), block)
        absmax = values.abs().amax(1)
        codes = nearest(values / absmax.clamp_min(torch.finfo(torch.float32).tiny)[:, None], levels(weight.device))
        codes = codes.to(torch.uint8).view(-1, 2)
        made.register_buffer("codes", codes[:, 0] << 4 | codes[:, 1])
        made.register_buffer("outer", None)
        made.register_buffer("offset", None)
        if double:
            mean = absmax.mean()
            rest = padded(absmax - mean, OUTER)
            outer = rest.abs().amax(1)
            scaled = rest / outer.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
            absmax = nearest(scaled, dynamic_map(weight.device)).to(torch.uint8).flatten()[: len(absmax)].clone()
            made.outer, made.offset = outer, mean
        made.register_buffer("absmax", absmax)
        return made

    block: int

    def constants(self) -> Tensor:
        """The largest absolute value of each block, float32 [blocks]."""
        if self.outer is None or self.offset is None:
            return self.absmax
        rest = dynamic_map(self.absmax.device)[padded(self.absmax, OUTER).int()] * self.outer[:, None]
        return rest.flatten()[: len(self.absmax)] + self.offset

    def floats(self) -> Tensor:
        out, inputs = self.shape
        return self._some(self.codes, self.constants())[: out * inputs].view(out, inputs)

    def transient(self, dtype: torch.dtype) -> Tensor:
        (out, inputs), quarter, where = self.shape, self.codes.numel() // 2, self.codes.device
        index = scratch("index", quarter, torch.int32, where).copy_(self.codes.view(torch.uint16))
        found = scratch("levels", quarter, torch.complex128, where)
        torch.index_select(fours(where), 0, index, out=found)
        values = torch.view_as_real(found).view(torch.float32).view(-1, self.block).mul_(self.constants()[:, None])
        flat = values.view(-1)[: out * inputs]
        if dtype != torch.float32:
            flat = scratch("floats", out * inputs, dtype, where).copy_(flat)
        return flat.view(out, inputs)

    def _some(self, codes: Tensor, constants: Tensor) -> Tensor:
        """Flat float32 values of whole blocks. Four weights (two bytes) are looked up at once."""
        found = fours(codes.device).index_select(0, codes.view(torch.uint16).int())
        values = torch.view_as_real(found).view(torch.float32).view(-1, self.block)
        return values.mul_(constants[:, None]).flatten()

    def rows(self, ids: Tensor) -> Tensor:
        inputs, block = self.shape[1], self.block
        if inputs % block:
            return super().rows(ids)
        flat = ids.flatten()
        codes = self.codes.view(-1, inputs // 2)[flat].flatten()
        constants = self.constants().view(-1, inputs // block)[flat].flatten()
        return self._some(codes, constants).view(*ids.shape, inputs).to(self.dtype)


def padded(flat: Tensor, block: int) -> Tensor:
    """[n] -> [ceil(n / block), block], zeros at the end."""
    return F.pad(flat, (0, -len(flat) % block)).view(-1, block)


def nearest(values: Tensor, book: Tensor) -> Tensor:
    """The index of the nearest entry of an ascending code book; half-way goes down."""
    return torch.bucketize(values, (book[1:] + book[:-1]) / 2, out_int32=True)


@cache
def levels(device: torch.device) -> Tensor:
    """[16] float32."""
    return torch.tensor(LEVELS, device=device)


@cache
def fours(device: torch.device) -> Tensor:
    """[65536]: the four float32 levels of every two bytes, as one complex128: a look-up copies 16 bytes."""
    low, high = torch.arange(65536) & 255, torch.arange(65536) >> 8  # little-endian: the first byte is the low one
    codes = torch.stack((low >> 4, low & 15, high >> 4, high & 15), 1)
    table = torch.tensor(LEVELS)[codes].view(torch.float64)
    return torch.view_as_complex(table).to(device)


@cache
def dynamic_map(device: torch.device) -> Tensor:
    """[256] ascending: sign, a unary exponent of ten and a linear fraction that share seven bits."""
    values = [torch.tensor([0.0, 1.0])]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1.0, 2**exponent + 1)
        middles = (edges[1:] + edges[:-1]) / 2 * 10.0 ** (exponent - 6)
        values += [middles, -middles]
    return torch.cat(values).sort().values.to(device)
