"""Pretraining of the small weights that ship with the package (`assets/mini`), and what was measured on them.

The benchmark on the mini world needs a CLIP, a ResNet and a ViT that know its classes and are small enough
for two CPU cores. They take the place of OpenAI's CLIP and of ImageNet weights. They are trained on the mini
web: generated images with captions, in which all classes occur on all backgrounds. No mask, box or label file
is read. `wsss-bench pretrain clip|resnet|vit` trains them, `wsss-bench pretrain report` checks and measures
them again.

Terms:

- nouns: the names of the eight classes and six background materials of the mini world.
- presence: which nouns an image shows: 1 present, 0 absent, -1 uncertain.
- read-out: one of the ways to get outputs from a network, e.g. from the class token or from the patch tokens.
- recipe: the settings of one training.
- measurements: accuracies and the like, recorded in `measurements.json` beside the weights.

Files, in reading order:

- `web_images.py`: the mini web: images, captions and presence of the nouns.
- `tokenizer.py`, `losses.py`, `clip.py`: the tiny CLIP.
- `classifier.py`, `vit.py`: the ResNet and the ViT.
- `schedule.py`: the optimiser of all three.
- `evaluation_images.py`, `measurements.py`: labelled images, and what is measured on them.
- `record.py`, `command.py`: `measurements.json` with the sha256 of all files, and the command.
"""
