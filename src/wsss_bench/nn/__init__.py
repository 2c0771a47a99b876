"""Networks and operators that several methods share.

- `clip.py`: CLIP's image tower (class token, dense features) and sentence embeddings. `clip_text.py`: its
  text tower in steps. `class_prompts.py`: prompt ensemble of class names.
- `frozen.py`: a pretrained network kept out of parameters and checkpoints.
- `resnet.py`: timm networks, and ResNet in five stages. `largefov.py`: DeepLab's LargeFOV head.
- `transformer_block.py`: a block of CLIP, trained from scratch. `fusion_decoder.py`: decoder on the tokens of
  several frozen blocks.
- `pamr.py`, `par.py`: pixel-adaptive mask refinement.
- `weights.py`: weight names of configs.
"""
