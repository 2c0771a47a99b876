"""The mini world: a generated data set, on which the whole suite runs on two CPU cores without a download.

Images of 96 x 96 pixels show objects of eight classes on textured backgrounds (sky, water, grass, ...). They
come with image labels, masks and captions. Two difficulties of weakly supervised segmentation are built in:
co-occurring backgrounds (water predicts boats), and objects with a small discriminative part. Class
activation maps therefore leak onto the background and miss the rest of the object. `docs/mini_world.md`
describes the data set and what was measured on it. This package imports no torch.

Terms:

- scene: the contents of an image, before it is rendered: one background material and the objects.
- material: what the background shows (`MATERIALS`); each has a number of generated textures.
- body, head: the two parts of each object. Head colours belong to one class, body colours to three.
- stream: a sequence of random images. Each split has its own. The random generator of an image is made by
  `image_rng(random_seed, stream, index)`, so an image depends on these three numbers only.

Files, in reading order:

- `scenes.py`: classes, materials, and how a scene is drawn at random.
- `shapes.py`, `textures.py`: the outlines of the classes, the background textures and the body patterns.
- `renderer.py`: from a scene to pixels and masks.
- `captions.py`: sentences that describe a scene.
- `samples.py`: a labelled image: a rendered scene with visible objects, and its captions.
- `saliency.py`, `extra_images.py`: saliency maps, and further training images for methods that use them.
- `voc_layout.py`, `coco_layout.py`, `pair_layouts.py`, `palette.py`, `contact_sheet.py`: the file layouts.
- `manifest.py`, `writer.py`: write all of it (`wsss-bench data mini`), once and completely.
"""

from wsss_bench.mini.world.scenes import CLASS_NAMES, IMAGE_SIZE, MATERIALS
from wsss_bench.mini.world.writer import write_mini_world

__all__ = ["CLASS_NAMES", "IMAGE_SIZE", "MATERIALS", "write_mini_world"]
