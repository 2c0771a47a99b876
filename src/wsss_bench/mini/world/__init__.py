"""The mini world: a generated data set in VOC and in COCO layout (docs/mini_world.md). Needs no torch."""

from wsss_bench.mini.world.grammar import CLASS_NAMES, IMAGE_SIZE, MATERIALS
from wsss_bench.mini.world.writer import write_mini_world

__all__ = ["CLASS_NAMES", "IMAGE_SIZE", "MATERIALS", "write_mini_world"]
