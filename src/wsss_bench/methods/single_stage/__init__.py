"""Single-stage methods: one network learns to segment while it learns to classify.

- DALNet: "DIAL: Dense Image-text ALignment for Weakly Supervised Semantic Segmentation", ECCV 2024,
  https://arxiv.org/abs/2409.15801. No code is published; `dalnet.py` is a re-implementation.
- ToCo: Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation", CVPR 2023,
  https://arxiv.org/abs/2303.01267, https://github.com/rulixiang/ToCo.

The files, in the order in which a training batch passes through them:

1. `dalnet.py`, `toco.py`: the methods: configuration, and the losses of a batch (`training_loss`).
2. `base.py`: what both methods share: products, and the losses cls, aux, PTC and seg.
3. `network.py`: ViT, main and auxiliary classifier, decoder.
4. `vit.py`: image -> class token, patch tokens, patch tokens of an earlier block.
5. `pseudo_labels.py`: class maps -> multi-scale CAMs -> online pseudo labels; `nn/par.py` refines them.
6. `patch_token_contrast.py`: PTC, with pseudo labels from the auxiliary CAM (both methods).
7. `class_token_contrast.py`: CTC of ToCo: uncertain regions, local crops, projection head, loss.
8. `dalnet_texts.py`, `dalnet_texts.yaml`: class and background texts of DALNet, encoded by CLIP once.
9. `object_mask.py`: the object-aware mask of DALNet, from the auxiliary CAM.
10. `dalnet_losses.py`: GIA, LEA and CCL, DALNet's three alignment losses.
"""
