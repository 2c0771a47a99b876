"""The sparse random walk against the published one, which squares a dense matrix eight times.

Time is the CPU time of one thread, memory is the growth of the peak memory of the process; each walk has its
own process. The dense reference is written here from the formulas of the papers. For a 500 x 375 image it
would take minutes: there its time and memory are extrapolated, with the cube and the square of the number of
pixels, and the output says so.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import torch
from records import Record, recorded
from torch import Tensor

from wsss_bench.refine.walk.affinity_pairs import padded_boundary_affinity, pair_offsets
from wsss_bench.refine.walk.pair_matrix import all_pairs
from wsss_bench.refine.walk.random_walk import boundary_transition_matrix, random_walk

RADIUS, BETA, EXP_TIMES, CLASSES = 5, 10.0, 8, 2
SIZES = ((24, 24), (48, 64), (94, 125))  # mini; a 250 x 190 image; a 500 x 375 image
DENSE_UP_TO = 48 * 64  # pixels


def scene(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Score maps `(K, h, w)` and a boundary map `(h, w)` with a closed line, as of a trained network."""
    generator = torch.Generator().manual_seed(0)
    boundary_map = 0.1 * torch.rand(height, width, generator=generator)
    boundary_map[height // 4, width // 4 : 3 * width // 4] = boundary_map[
        3 * height // 4, width // 4 : 3 * width // 4
    ] = 0.9
    boundary_map[height // 4 : 3 * height // 4, [width // 4, 3 * width // 4]] = 0.9
    return torch.rand(CLASSES, height, width, generator=generator), boundary_map


def sparse_walk(maps: Tensor, boundary_map: Tensor) -> Tensor:
    return random_walk(
        maps * (1 - boundary_map), boundary_transition_matrix(boundary_map, RADIUS, BETA), 2**EXP_TIMES
    )


def dense_walk(maps: Tensor, boundary_map: Tensor) -> Tensor:
    """Symmetric affinities to the power beta, columns with sum 1, squared `EXP_TIMES` times."""
    height, width = boundary_map.shape
    pixels = torch.arange(height * width)
    affinity = padded_boundary_affinity(boundary_map, RADIUS)
    matrix = torch.eye(height * width, dtype=boundary_map.dtype)
    for (dy, dx), values in zip(pair_offsets(RADIUS), affinity, strict=True):
        inside = (pixels // width + dy < height) & (pixels % width + dx >= 0) & (pixels % width + dx < width)
        source, target = pixels[inside], pixels[inside] + dy * width + dx
        matrix[source, target] = matrix[target, source] = values[inside]
    matrix = matrix.pow_(BETA)
    matrix /= matrix.sum(dim=0)
    for _ in range(EXP_TIMES):
        matrix = matrix @ matrix
    return ((maps * (1 - boundary_map)).flatten(1) @ matrix).view(maps.shape)


def matrix(height: int, width: int, record: Record) -> None:
    """Print and keep the time of a matrix with and without the kept pattern of its size, and of the walk."""
    torch.set_num_threads(1)
    maps, boundary_map = scene(height, width)
    seconds = []
    for pattern_is_kept in (False, True):
        if not pattern_is_kept:
            all_pairs.cache_clear()
        started = time.process_time()
        transition = boundary_transition_matrix(boundary_map, RADIUS, BETA)
        seconds.append(time.process_time() - started)
    started = time.process_time()
    random_walk(maps, transition, 2**EXP_TIMES)
    walk = time.process_time() - started
    record(
        f"matrix of the random walk, {height}x{width} cells; for a new size; the walk itself",
        f"{1000 * seconds[1]:.0f} ms; {seconds[0] / seconds[1]:.1f}x; {walk / seconds[1]:.0f}x",
    )


def measure(name: str, height: int, width: int, double: bool, pipe) -> None:
    """Run one random walk and send seconds, MiB and the result."""
    torch.set_num_threads(1)
    maps, boundary_map = scene(height, width)
    if double:
        maps, boundary_map = maps.double(), boundary_map.double()
    walk = {"sparse": sparse_walk, "dense": dense_walk}[name]
    # the first call is slower and is not measured
    walk(maps[:, :8, :8], boundary_map[:8, :8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    walked = walk(maps, boundary_map)
    seconds = time.process_time() - started
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pipe.send((seconds, memory, walked.double().numpy()))


def in_own_process(name: str, height: int, width: int, double: bool = False):
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(name, height, width, double, sender))
    process.start()
    result = receiver.recv()
    process.join()
    return result


def compare(record: Record) -> None:
    """Print and keep what the dense form costs more."""
    for height, width in SIZES:
        seconds, memory, walked = in_own_process("sparse", height, width)
        growth = height * width / DENSE_UP_TO
        if growth <= 1:
            slow, large, dense = in_own_process("dense", height, width)
            exact = in_own_process("sparse", height, width, double=True)[2]
            errors = [f"{abs(result - exact).max():.0e}" for result in (walked, dense)]
            note = f"rounding: sparse {errors[0]}, dense {errors[1]}"
        else:
            slow, large, note = slow * growth**3, large * growth**2, "dense extrapolated, not run"
        record(
            f"random walk, sparse against dense squaring, {height}x{width} cells",
            f"{slow / seconds:.0f}x as fast, 1/{large / max(memory, 1):.0f} of the memory; {note}",
        )
    matrix(*SIZES[-1], record)


if __name__ == "__main__":
    with recorded(__file__) as kept:
        compare(kept)
