"""HOT tool. What the chip at hand is and can do: its name, its matrix peak, whether it can compile, what a call costs it.

A utilisation means nothing against a data sheet: sheets name clocks that no card holds for long, and zeros run faster than
numbers do. So the peak is measured where the work is, on random data, sustained.
"""

import platform
import re
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SIZES = {"cuda": 8192, "cpu": 1024}       # rows of the square matrices: large enough that nothing but multiplying counts
SUSTAINED_S = {"cuda": 2.0, "cpu": 0.2}   # of one run: a GPU's clock needs a second to fall to what its power allows
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Peak:
    """Sustained matrix products in one number format: TFLOP/s of each run. 2 FLOP per multiply-add."""

    dtype: str
    runs: tuple[float, ...]

    @property
    def tflops(self) -> float:
        return statistics.median(self.runs)


def matrix_peak(device: str, dtype: str, *, runs: int = 3, size: int = 0, sustained_s: float = 0.0) -> Peak:
    """What this device reaches at ``size`` × ``size`` products of random numbers; fp32, bf16 or fp16."""
    import torch

    size, seconds = size or SIZES[device], sustained_s or SUSTAINED_S[device]
    left, right = (torch.randn(size, size, device=device).to(torch_dtype(dtype)) for _ in range(2))
    product = torch.empty_like(left)

    def rate(times: int) -> float:
        finished(device)
        start = time.perf_counter()
        for _ in range(times):
            torch.matmul(left, right, out=product)
        finished(device)
        return 2 * size**3 * times / (time.perf_counter() - start)

    rate(3)
    times = max(3, int(rate(3) * seconds / (2 * size**3)))
    return Peak(dtype, tuple(rate(times) / 1e12 for _ in range(runs)))


def torch_dtype(name: str) -> "torch.dtype":
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def finished(device: str) -> None:
    """Wait until the device has done all that it was asked."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def tflop_of(call: Callable[[], Any]) -> float:
    """TFLOP of the matrix products, convolutions and attentions of one call, whatever the device; 2 FLOP per multiply-add.

    The call runs, eager and with attention written out, so it is slower and takes more memory than it does in earnest. A call that
    chooses its own kernels of attention, as drawing does on Hopper, keeps them; they are counted alike.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.compiler.set_stance("force_eager"), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e12


def compile_one(device: str) -> float:
    """Seconds to compile one small kernel that no cache can know. Raises what the compiler raises."""
    import torch

    fresh = uuid.uuid4().int % 10**6
    values = torch.arange(64, device=device, dtype=torch.float32)
    start = time.perf_counter()
    found = torch.compile(lambda numbers: torch.sin(numbers) * 2 + fresh)(values)
    finished(device)
    took = time.perf_counter() - start
    if not torch.allclose(found, torch.sin(values) * 2 + fresh):
        raise ArithmeticError("the compiled kernel gives other numbers than the eager one")
    return took


def named(device: str) -> dict[str, str]:
    """Chip, memory, driver and versions, as words."""
    import torch

    versions = {}
    for name in ("torch", "triton", "diffusers", "transformers"):
        with suppress(PackageNotFoundError):   # triton goes by several names, and a CPU has none
            versions[name] = version(name)
    if device != "cuda":
        return {"chip": processor(), "threads": str(torch.get_num_threads()), **versions}
    about = torch.cuda.get_device_properties(0)
    return {
        "chip": about.name, "capability": f"{about.major}.{about.minor}", "memory": f"{about.total_memory / 2**30:.0f} GiB",
        "driver": driver(), "cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version()),
        **versions,
    }


def driver(file: Path = DRIVER) -> str:
    """The version of NVIDIA's kernel driver, or ``unknown``."""
    told = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", file.read_text()) if file.exists() else None
    return told[0] if told else "unknown"


def processor() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    told = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return told[1] if told else platform.processor()


def memory_gib(device: str) -> float | None:
    """Most device memory that PyTorch has held since ``forget_memory``; None on a CPU, where nobody counts."""
    if device != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated() / 2**30


def held_gib(device: str) -> float:
    """Device memory that PyTorch holds now; 0 on a CPU."""
    if device != "cuda":
        return 0.0
    import torch

    return torch.cuda.memory_allocated() / 2**30


def forget_memory(device: str) -> None:
    """Count the most device memory anew, from what is held now."""
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
