"""Networks and operators that several methods share.

- `clip.py`: CLIP's image tower (class token, dense features) and sentence embeddings. `clip_text.py`: its
  text tower in steps. `class_prompts.py`: prompt ensemble of class names.
- `frozen.py`: a pretrained network kept out of parameters and checkpoints.
- `resnet.py`: timm networks, and ResNet in five stages. `largefov.py`: DeepLab's LargeFOV head.
- `transformer_block.py`: a block of CLIP, trained from scratch. `fusion_decoder.py`: decoder on the tokens of
  several frozen blocks.
- `pamr.py`, `par.py`: pixel-adaptive mask refinement.
- `weights.py`: weight names of configs.

Float32 means float32: cuDNN would round the factors of convolutions to TF32, 10 bits of mantissa, as PyTorch
has it by default on A100 and later. What loses in bfloat16 may lose there too.
"""

import torch

torch.backends.cudnn.allow_tf32 = False
