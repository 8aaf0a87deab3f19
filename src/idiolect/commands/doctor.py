"""`idiolect doctor`: what this machine is, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from idiolect import __version__
from idiolect.commands import show
from idiolect.commands.settings import Json
from idiolect.core.errors import IdiolectError
from idiolect.core.files import cache_dir, state_dir

State = Literal["ok", "note", "problem"]
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "asimd", "bf16", "sve")
FREE_BYTES = 2_000_000_000  # weights, an index and a store fit well into this


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` is what to do, empty when all is well."""

    name: str
    state: State
    value: str
    advice: str = ""


def doctor(*, json: Json = False) -> int:
    """Check Python, torch, the processor, folders, weights and disk. Exit code 1 when something must be done."""
    findings = [_python(), *_torch(), _processor(), *_folders(), *_weights(), _disk()]
    if json:
        show.emit({"version": __version__, "findings": findings})
    else:
        marks = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
        show.table([(marks[f.state], f.name, f.value) for f in findings])
        for finding in findings:
            if finding.advice:
                print(f"\n{finding.name}: {finding.advice}")
    return 1 if any(f.state == "problem" for f in findings) else 0


def _python() -> Finding:
    value = f"{platform.python_version()}, {platform.system()} {platform.machine()}, idiolect {__version__}"
    return Finding("python", "ok", value)


def _torch() -> list[Finding]:
    try:
        import torch
    except Exception as error:  # a broken installation raises almost anything
        return [Finding("torch", "problem", f"cannot be imported: {error}", "reinstall: pip install torch")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    found = [Finding("torch", "ok", torch.__version__)]
    if threads > cores:
        advice = f"set OMP_NUM_THREADS={cores}: more threads than cores slow each other down"
        found.append(Finding("threads", "note", f"{threads} for {cores} cores", advice))
    else:
        found.append(Finding("threads", "ok", f"{threads} of {cores} cores"))
    gpu = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    found.append(Finding("gpu", "ok", gpu or "none (not needed)"))
    from idiolect.models.read import resolve_dtype

    chosen = str(resolve_dtype("auto", torch.device("cpu"))).removeprefix("torch.")
    found.append(Finding("dtype", "ok", f"{chosen} (where torch computes)"))
    found.append(_runner())
    if gpu:
        found.append(_gpu_runner())
    found.append(_ceilings())
    return found


def _ceilings() -> Finding:
    """Measured on the first call, and then remembered: what MBU and MFU are shares of."""
    import time

    from idiolect.native import ceiling, toolchain

    best, when = ceiling.known(), "just now"
    if best is not None:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(best.when))
        when = f"on {day}; delete {cache_dir() / 'machine'} to measure again"
    if best is None:
        try:
            toolchain.find()
            if not toolchain.is_built():
                return Finding("ceilings", "ok", "measured here once the kernels are built")
        except IdiolectError:
            pass  # torch measures
        best = ceiling.measure()
    value = f"{best.bandwidth / 1e9:.1f} GB/s read, {best.float32 / 1e9:.0f} G multiply-adds/s in float32"
    if best.int8:
        value += f", {best.int8 / 1e9:.0f} G in int8"
    return Finding("ceilings", "ok", f"{value} ({best.threads} threads, {best.by}; measured {when})")


def _runner() -> Finding:
    from idiolect.native import toolchain

    try:
        return Finding("runner", "ok", f"native kernels, {toolchain.status()}")
    except IdiolectError as error:
        advice = f"answers come several times as fast with native kernels: {error.hint}"
        return Finding("runner", "note", f"torch: {error.message}", advice)


def _gpu_runner() -> Finding:
    """What serves on the GPU (`device: cuda`), and what it can do at best."""
    from idiolect.cuda import available, ceiling

    if why := available.missing():
        return Finding("gpu runner", "note", f"torch: {why}", "without the kernels a GPU serves more slowly")
    best = ceiling.known() or ceiling.measure()
    value = f"CUDA graphs of Triton kernels; {best.bandwidth / 1e12:.2f} TB/s copied, "
    value += f"{best.bfloat16 / 1e12:.0f} T multiply-adds/s in bfloat16 ({available.describe()})"
    return Finding("gpu runner", "ok", value)


def _processor() -> Finding:
    names: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                names = set(line.partition(":")[2].split())
                break
    except OSError:
        return Finding("cpu", "ok", platform.processor() or platform.machine())
    have = " ".join(flag for flag in FLAGS if flag in names)
    if platform.machine() in ("x86_64", "AMD64") and "avx2" not in names:
        return Finding("cpu", "note", have or "no vector units", "without AVX2 everything works, but slowly")
    return Finding("cpu", "ok", have)


def _folders() -> list[Finding]:
    found = []
    for name, where in (("cache", cache_dir), ("state", state_dir)):
        try:
            path = where()
        except IdiolectError as error:
            found.append(Finding(name, "problem", error.message, error.hint))
            continue
        if os.access(path, os.W_OK):
            used = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
            found.append(Finding(name, "ok", f"{path} ({show.size(used)})"))
        else:
            found.append(
                Finding(name, "problem", f"{path} cannot be written", "set IDIOLECT_HOME to a folder of yours")
            )
    return found


def _weights() -> list[Finding]:
    from idiolect.commands.models import embedded, folder, here
    from idiolect.models.sources.package import damaged

    found = []
    for what, source in embedded():
        try:
            wrong = damaged(folder(source)) if here(source) else "missing"
        except (IdiolectError, OSError):  # no cache folder: `_folders` says so
            wrong = "missing"
        if wrong is None:
            found.append(Finding(what, "ok", f"{source}, every byte as fetched"))
        elif wrong == "missing":
            found.append(Finding(what, "note", f"{source} is not here", "run once, online: idiolect models fetch"))
        else:
            advice = f"delete {folder(source)} and run: idiolect models fetch"
            found.append(Finding(what, "problem", f"{source} is damaged: {wrong}", advice))
    return found


def _disk() -> Finding:
    try:
        free = shutil.disk_usage(state_dir()).free
    except (OSError, IdiolectError) as error:
        return Finding("disk", "problem", str(error))
    value = f"{show.size(free)} free"
    if free < FREE_BYTES:
        return Finding("disk", "problem", value, f"free some space; {show.size(FREE_BYTES)} are comfortable")
    return Finding("disk", "ok", value)
