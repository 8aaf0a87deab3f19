"""Bytes to text: which encoding, and whether it is text at all."""

from __future__ import annotations

import codecs
import re

from idiolect.core.errors import CorruptFile

BOMS = (  # the longer first: a UTF-32 mark begins with a UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE = 64 << 10  # bytes that the guess reads
CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")  # all but white space and escape


def decode(raw: bytes, path: str, hint: str | None = None) -> str:
    """The text of `raw` with line ends as "\\n". Raises `CorruptFile` when it is not text.

    A byte-order mark decides; then `hint` (an encoding that the file itself declares); then UTF-8; then UTF-16
    without a mark (by its zero bytes); then a guess over the first 64 KiB. What decodes but is full of control
    characters is binary.
    """
    text = _decode(raw, path, hint)
    sample = text[:SAMPLE]
    controls = len(CONTROLS.findall(sample))
    if controls > max(2, len(sample) // 200) or "\0" in sample:
        raise CorruptFile(f"{path} holds binary data, not text", hint="exclude it, or give it its true suffix")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(raw: bytes, path: str, hint: str | None) -> str:
    for mark, encoding in BOMS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError as error:
                raise CorruptFile(f"{path} claims to be {encoding} but is not ({error.reason})") from None
    for declared in (hint, "utf-8"):
        if declared:
            try:
                return raw.decode(declared)
            except (UnicodeDecodeError, LookupError):
                pass
    wide = _wide(raw)
    if wide:
        try:
            return raw.decode(wide)
        except UnicodeDecodeError:
            pass
    if b"\0" in raw[:SAMPLE]:
        raise CorruptFile(f"{path} holds binary data, not text", hint="exclude it, or give it its true suffix")
    cut = _cut_utf8(raw)
    if cut is not None:
        return cut
    from charset_normalizer import from_bytes

    best = from_bytes(raw[:SAMPLE]).best()
    if best is None:
        raise CorruptFile(f"{path} is not text in any known encoding", hint="save it as UTF-8, or exclude it")
    return raw.decode(best.encoding, errors="replace")


def _wide(raw: bytes) -> str | None:
    """UTF-16 without a mark: nearly every other byte of Latin text is zero."""
    sample = raw[:4096]
    half = len(sample) // 2
    if half < 2:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _cut_utf8(raw: bytes) -> str | None:
    """UTF-8 with a few broken bytes (a file cut in the middle of a character, one foreign quote) is still UTF-8."""
    text = raw.decode("utf-8", errors="replace")
    broken, foreign = text.count("\ufffd"), sum(byte > 127 for byte in raw[:SAMPLE])
    return text if broken <= 1 or broken * 20 < foreign else None
