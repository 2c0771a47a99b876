"""The methods of the benchmark: each family is one file or one folder.

- `cam.py`: CAM, Zhou et al., CVPR 2016, trained as in IRN (Ahn et al., CVPR 2019).
- `clims/`: CLIMS, Xie et al., CVPR 2022, improved and camera-ready version.
- `mcis/`: MCIS, Sun et al., ECCV 2020, by pairs and by groups of images.
- `single_stage/`: DALNet ("DIAL"), ECCV 2024, and ToCo, Ru et al., CVPR 2023.
- `text_grounding/`: TCL, Cha et al., CVPR 2023, and CoDe, Wu et al., CVPR 2024; trained on image-caption
  pairs.
- `clip_es.py`: CLIP-ES, Lin et al., CVPR 2023; seeds from a frozen CLIP, not trained.
- `weclip.py`: WeCLIP, Zhang et al., CVPR 2024; a decoder on a frozen CLIP.
- `excel/`: ExCEL, Yang et al., CVPR 2025, without and with training.
- `clip_zeroshot/`: CLIP zero-shot, Radford et al., ICML 2021, and its readings MaskCLIP, SCLIP, ClearCLIP and
  NACLIP, ECCV 2022 to WACV 2025; not trained.
- `supervised.py`: Supervised, the upper bound, trained on ground-truth masks.

`base.py` is the interface of all methods (`Method`), `optim.py` their optimiser and learning rate schedule. A
family does not import another; docs/add_a_method.md shows how to add one.

`from wsss_bench.methods import CAM` imports one; this package alone imports none of them.
"""

from typing import TYPE_CHECKING

from wsss_bench.short_names import lazy_classes

if TYPE_CHECKING:
    from wsss_bench.methods.base import Method as Method
    from wsss_bench.methods.cam import CAM as CAM
    from wsss_bench.methods.clims.camera_ready import CLIMSCameraReady as CLIMSCameraReady
    from wsss_bench.methods.clims.improved import CLIMS as CLIMS
    from wsss_bench.methods.clip_es import CLIPES as CLIPES
    from wsss_bench.methods.clip_zeroshot import CLIPSeeds as CLIPSeeds
    from wsss_bench.methods.clip_zeroshot import CLIPZeroShot as CLIPZeroShot
    from wsss_bench.methods.excel.excel import ExCEL as ExCEL
    from wsss_bench.methods.excel.training_free import ExCELStatic as ExCELStatic
    from wsss_bench.methods.mcis.group import MCISGroup as MCISGroup
    from wsss_bench.methods.mcis.mcis import MCIS as MCIS
    from wsss_bench.methods.single_stage.dalnet import DALNet as DALNet
    from wsss_bench.methods.single_stage.toco import ToCo as ToCo
    from wsss_bench.methods.supervised import Supervised as Supervised
    from wsss_bench.methods.text_grounding.codecomp import CoDe as CoDe
    from wsss_bench.methods.text_grounding.tcl import TCL as TCL
    from wsss_bench.methods.weclip import WeCLIP as WeCLIP

__getattr__, __dir__, __all__ = lazy_classes(__name__)
