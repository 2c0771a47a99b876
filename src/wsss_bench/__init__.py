"""Benchmark suite for CLIP-era weakly supervised semantic segmentation."""
