"""The methods of the benchmark: each family is one file or one folder.

- `cam.py`: CAM, Zhou et al., CVPR 2016, trained as in IRN (Ahn et al., CVPR 2019).
- `clims/`: CLIMS, Xie et al., CVPR 2022, improved and camera-ready version.
- `mcis/`: MCIS, Sun et al., ECCV 2020, by pairs and by groups of images.
- `single_stage/`: DALNet ("DIAL"), ECCV 2024, and ToCo, Ru et al., CVPR 2023.
- `text_grounding/`: TCL, Cha et al., CVPR 2023, and CoDe, Wu et al., CVPR 2024; trained on image-caption
  pairs.
- `clip_zeroshot.py`: CLIP zero-shot, Radford et al., ICML 2021; not trained.
- `supervised.py`: Supervised, the upper bound, trained on ground-truth masks.

`base.py` is the interface of all methods (`Method`), `optim.py` their optimiser and learning rate schedule. A
family does not import another; docs/add_a_method.md shows how to add one.
"""
