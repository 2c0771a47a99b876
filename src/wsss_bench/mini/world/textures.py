"""Procedural textures: six background materials and eight body patterns.

There is a fixed number of textures per material. Each is made when it is first needed, from the random seed
and its own number, so that all processes get the same textures without shared memory or files.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsss_bench.mini.world.scenes import MATERIALS, Stream

TEXTURE_SIZE = 192  # pixels, square; a scene shows a 96-pixel crop at zoom 1
TEXTURES_PER_MATERIAL = 32

Array = NDArray[np.float32]


def _noise(rng: np.random.Generator, sigma: float | tuple[float, float]) -> Array:
    """(T, T) smooth noise, mean 0, standard deviation 1."""
    field = gaussian_filter(
        rng.standard_normal((TEXTURE_SIZE, TEXTURE_SIZE), dtype=np.float32), sigma, mode="wrap"
    )
    return (field - field.mean()) / (field.std() + 1e-6)


def _grid() -> tuple[Array, Array]:
    """x and y of every pixel, both (T, T)."""
    y, x = np.mgrid[:TEXTURE_SIZE, :TEXTURE_SIZE].astype(np.float32)
    return x, y


def _tint(
    rng: np.random.Generator,
    colour: tuple[float, float, float],
    field: NDArray[np.floating],
    spread: float = 14,
) -> Array:
    """(T, T, 3): a base colour, varied by up to `spread`, plus a brightness field (T, T) in all channels."""
    base = np.asarray(colour, np.float32) + rng.uniform(-spread, spread, 3).astype(np.float32)
    return base + field[..., None]


def _sky(rng: np.random.Generator) -> Array:
    _, y = _grid()
    image = _tint(rng, (105, 160, 225), (y / TEXTURE_SIZE - 0.5) * 40)
    cloud = np.clip(_noise(rng, (7, 16)) - rng.uniform(0.2, 1.2), 0, 1)[..., None]
    return image * (1 - cloud) + 242 * cloud


def _water(rng: np.random.Generator) -> Array:
    x, y = _grid()
    period = rng.uniform(7, 12)
    waves = np.sin(2 * np.pi * (y / period + 0.6 * _noise(rng, (3, 14))) + 0.02 * x)
    image = _tint(rng, (28, 88, 118), 16 * waves + 6 * _noise(rng, (1, 4)))
    foam = np.clip(_noise(rng, (1, 5)) - 1.6, 0, 1)[..., None]
    return image * (1 - foam) + 190 * foam


def _railway(rng: np.random.Generator) -> Array:
    x, y = _grid()
    image = _tint(rng, (122, 108, 96), 20 * _noise(rng, 1.0))  # ballast
    angle = rng.uniform(-0.25, 0.25)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    track = np.mod(across, 48)
    sleeper = (np.mod(along, 13) < 5) & (np.abs(track - 24) < 16)
    image[sleeper] = (82, 58, 40) + 6 * _noise(rng, 1.0)[sleeper, None]
    rail = np.abs(np.abs(track - 24) - 10) < 1.6
    image[rail] = (178, 180, 188)
    return image


def _grass(rng: np.random.Generator) -> Array:
    field = 22 * _noise(rng, (2.5, 0.7)) + 12 * _noise(rng, 14)
    image = _tint(rng, (74, 132, 48), field)
    flowers = _noise(rng, 1.0) > 3.2
    image[flowers] = (225, 215, 120)
    return image


def _road(rng: np.random.Generator) -> Array:
    x, y = _grid()
    image = _tint(rng, (86, 86, 90), 9 * _noise(rng, 0.6) + 7 * _noise(rng, 18), spread=8)
    angle = rng.uniform(-0.3, 0.3)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    dash = (np.mod(across, 56) < 3) & (np.mod(along, 34) < 20)
    image[dash] = (222, 222, 214)
    return image


def _sand(rng: np.random.Generator) -> Array:
    x, y = _grid()
    ripple = np.sin(2 * np.pi * ((x * 0.3 + y) / rng.uniform(10, 18) + 0.7 * _noise(rng, 12)))
    return _tint(rng, (214, 186, 128), 9 * ripple + 10 * _noise(rng, 0.7))


_MATERIAL_TEXTURES = {
    "sky": _sky,
    "water": _water,
    "railway": _railway,
    "grass": _grass,
    "road": _road,
    "sand": _sand,
}


@lru_cache(maxsize=len(MATERIALS) * TEXTURES_PER_MATERIAL)
def background_texture(random_seed: int, material: int, number: int) -> NDArray[np.uint8]:
    """(T, T, 3) texture `number` of a material, T = `TEXTURE_SIZE`, values 0..255."""
    rng = np.random.default_rng([random_seed, int(Stream.TEXTURE), material, number])
    return np.clip(_MATERIAL_TEXTURES[MATERIALS[material]](rng), 0, 255).astype(np.uint8)


def _stripes(t: Array, sharpness: float = 4.0) -> Array:
    """Stripes of period 1 along `t`, values -1 to 1."""
    return np.tanh(sharpness * np.sin(2 * np.pi * t))


def body_pattern(name: str, u: Array, v: Array, phase: float) -> Array:
    """Pattern on the body of a class.

    Args:
        name: Class name.
        u, v: Object coordinates in [-1, 1], head at u > 0, of any shape.
        phase: Shift of the pattern, in [0, 1).

    Returns:
        Brightness of the shape of `u`, about -1 to 1.
    """
    p = 2 * np.pi * phase
    if name == "aeroplane":  # riveted lengthwise panels
        return _stripes(v * 2.5 + phase)
    if name == "bird":  # feather scales
        return np.sin(14 * u + 3 * np.abs(np.sin(9 * v)) + p)
    if name == "boat":  # planks, and the seams between them
        return np.where(np.mod(v * 6 + phase, 1) < 0.22, -1, 0.5 * np.sin(5 * u + p))
    if name == "bus":  # rows of windows
        window = (np.mod(u * 3.2 + phase, 1) < 0.62) & (np.abs(v + 0.18) < 0.2)
        return np.where(window, -1.6, np.where(np.abs(v - 0.18) < 0.06, 1.2, 0.2))
    if name == "car":  # two-tone lacquer
        return np.tanh(8 * (0.12 * np.sin(4 * u + p) - v + 0.08))
    if name == "cow":  # blotches
        return np.tanh(5 * (np.sin(5 * u + p) * np.sin(6 * v + 2 * p) + 0.4 * np.sin(9 * u - 4 * v + p)))
    if name == "sheep":  # curls of wool
        return np.sin(17 * u + p) * np.sin(17 * v + p)
    # train: upright panels with a bright line above them
    return np.where(np.abs(v + 0.12) < 0.07, 1.4, _stripes(u * 3.5 + phase))
