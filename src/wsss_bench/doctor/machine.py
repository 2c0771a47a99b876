"""Checks of the machine: GPUs, cores, disk, and the packages that use them."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from wsss_bench.crf.densecrf import available
from wsss_bench.doctor.verdict import Verdict

FREE_SHARE = 0.9
"""Share of the memory of a GPU that is free where nobody else uses it."""
BF16_ERROR = 0.05
"""Relative error of a product of matrices in bfloat16 that is usual (.004 was measured)."""
SLOW_DISK, SLOW_FILES = 100.0, 200.0
"""MB/s and files/s below which a bench waits for the disk."""
OPEN_FILES = 1024
REDUCE_SECONDS = 60
"""After which ranks that do not hear of each other give up; NCCL waits for ten minutes by itself."""
SHARED_GIB_PER_CORE = 0.25
"""Loaded batches go through shared memory."""


def packages() -> Verdict:
    """Versions of torch and lightning, and what torch was built for."""
    import lightning

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    return Verdict("ok", f"torch {torch.__version__} for {built}, lightning {lightning.__version__}")


def gpus() -> Verdict:
    """Whether torch sees the GPUs that the driver sees, and whether somebody else uses them."""
    driver = _nvidia_smi("index,name,driver_version")
    count = torch.cuda.device_count()
    if count == 0:
        if driver:
            return Verdict(
                "error",
                f"the driver has {len(driver)} GPU(s) ({driver[0]}), torch sees none; install a torch that "
                "is built for CUDA and for this driver, and look at CUDA_VISIBLE_DEVICES",
            )
        return Verdict("left out", "no GPU; experiments with `trainer: cpu` run")
    if len(driver) > count and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return Verdict(
            "error",
            f"the driver has {len(driver)} GPUs, torch sees {count}; `nvidia-smi` and `dmesg` say which is "
            "lost",
        )
    busy = []
    for index in range(count):
        free, total = torch.cuda.mem_get_info(index)
        if free < FREE_SHARE * total:
            busy.append(f"{index} ({(total - free) / 2**30:.1f} of {total / 2**30:.0f} GiB)")
    version = driver[0].split(", ")[-1] if driver else "unknown"
    found = f"{count} x {torch.cuda.get_device_name(0)}, driver {version}"
    if busy:
        return Verdict(
            "warning",
            f"{found}; in use by others: GPU {', '.join(busy)}; CUDA_VISIBLE_DEVICES leaves them out",
        )
    return Verdict("ok", found)


def bf16() -> Verdict:
    """Whether each GPU computes in bfloat16, the precision of configs/trainer/gpu.yaml."""
    if not torch.cuda.is_available():
        return Verdict("left out", "no GPU")
    for index in range(torch.cuda.device_count()):
        name = f"GPU {index} ({torch.cuda.get_device_name(index)})"
        with torch.cuda.device(index):
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if not has_bf16:
            return Verdict(
                "error", f"{name} has no bfloat16; set `precision: 32-true` in a trainer of your own"
            )
        device = torch.device("cuda", index)
        left, right = torch.rand(2, 512, 512, device=device).unbind()
        exact = left @ right
        error = ((left.bfloat16() @ right.bfloat16()).float() - exact).abs().mean() / exact.abs().mean()
        if not float(error) < BF16_ERROR:
            return Verdict(
                "error", f"{name} computes wrong products in bfloat16 (relative error {float(error):.3g})"
            )
    return Verdict("ok", "products in bfloat16 are as exact as they should be")


def all_reduce() -> Verdict:
    """Whether ranks can talk to each other: NCCL over all GPUs, gloo over two processes without any."""
    count = torch.cuda.device_count()
    backend, ranks = ("nccl", count) if count > 1 else ("gloo", 2)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        try:
            mp.spawn(_reduce, args=(backend, ranks, f"{folder}/store"), nprocs=ranks)
        except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
            reason = str(error).strip().splitlines()[-1]
            return Verdict(
                "error",
                f"{backend}: no sum over {ranks} ranks within {REDUCE_SECONDS} s ({reason}); NCCL_DEBUG=INFO "
                "says more, NCCL_P2P_DISABLE=1 and more shared memory are what often helps",
            )
    return Verdict(
        "ok", f"{backend}: a sum over {ranks} ranks in {time.monotonic() - began:.0f} s with their start"
    )


def _reduce(rank: int, backend: str, ranks: int, store: str) -> None:
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    dist.init_process_group(
        backend,
        init_method=f"file://{store}",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=REDUCE_SECONDS),
    )
    value = torch.full((1 << 20,), float(rank + 1), device=device)
    dist.all_reduce(value)
    expected = ranks * (ranks + 1) / 2
    if not bool((value == expected).all()):
        raise ValueError(f"rank {rank} got {float(value[0])} as the sum over the ranks; expected {expected}")
    dist.destroy_process_group()


def cores() -> Verdict:
    """Cores, shared memory and open files, which processes that load images need."""
    count = len(os.sched_getaffinity(0))
    shared = shutil.disk_usage("/dev/shm").total / 2**30 if Path("/dev/shm").is_dir() else 0.0
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{count} cores, {shared:.1f} GiB of shared memory, {files} open files"
    if shared < SHARED_GIB_PER_CORE * min(count, 16):
        return Verdict(
            "warning",
            f"{found}; loaders may end with `Bus error`: give the container more (docker --shm-size=8g)",
        )
    if files < OPEN_FILES:
        return Verdict("warning", f"{found}; `ulimit -n {OPEN_FILES * 4}` before the bench")
    wanted = 4 * torch.cuda.device_count()
    if count < wanted:
        return Verdict("warning", f"{found}; fewer than 4 cores for each GPU, which will wait for images")
    return Verdict("ok", found)


def disk(folder: Path) -> Verdict:
    """How fast the folder of the results takes a large file and many small ones, all written through."""
    folder.mkdir(parents=True, exist_ok=True)
    block = os.urandom(1 << 20)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as place:
        began = time.monotonic()
        _write(Path(place) / "large", block * 64)
        large = 64 / (time.monotonic() - began)
        began = time.monotonic()
        for number in range(200):
            _write(Path(place) / f"{number}", block[:4096])
        small = 200 / (time.monotonic() - began)
    free = shutil.disk_usage(folder).free / 1e9
    found = f"{folder}: {large:.0f} MB/s, {small:.0f} files/s, {free:.0f} GB free"
    if large < SLOW_DISK or small < SLOW_FILES:
        return Verdict(
            "warning", f"{found}; slow, masks and checkpoints will be waited for; give --runs a local disk"
        )
    return Verdict("ok", found)


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def crf() -> Verdict:
    """Whether the CRF extension is there."""
    if available():
        return Verdict("ok", "pydensecrf2 is installed")
    return Verdict(
        "warning", "no CRF extension: masks with CRF stay empty; `make crf` builds it (Python 3.12 or older)"
    )


def _nvidia_smi(query: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
