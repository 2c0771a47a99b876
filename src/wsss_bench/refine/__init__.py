"""Refiners: seeds (score maps of one image) to a pseudo mask.

- `base`: the interface.
- `threshold`: background threshold and argmax, no refinement.
- `densecrf`: dense CRF (Kraehenbuehl and Koltun, NeurIPS 2011, https://arxiv.org/abs/1210.5644).
- `confident_crf`: the dense CRF of CLIP-ES (Lin et al., CVPR 2023, https://arxiv.org/abs/2212.09506), with
  255 where it is not confident.
- `pamr`: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, https://arxiv.org/abs/2005.08104).
- `saliency`: the pseudo labels of MCIS (Sun et al., ECCV 2020, https://arxiv.org/abs/2007.01947) and OAA
  (Jiang et al., ICCV 2019, https://github.com/PengtaoJiang/OAA-PyTorch), from seeds and saliency maps.
- `walk`: IRN (Ahn et al., CVPR 2019, https://arxiv.org/abs/1904.05044) and PSA (Ahn and Kwak, CVPR 2018,
  https://arxiv.org/abs/1803.10464), which train an affinity network and propagate seeds by a random walk.

`from wsss_bench.refine import IRNRefiner` imports one; this package alone imports none of them.
"""

from typing import TYPE_CHECKING

from wsss_bench.short_names import lazy_classes

if TYPE_CHECKING:
    from wsss_bench.refine.base import Refiner as Refiner
    from wsss_bench.refine.confident_crf import ConfidentCRFRefiner as ConfidentCRFRefiner
    from wsss_bench.refine.densecrf import DenseCRFRefiner as DenseCRFRefiner
    from wsss_bench.refine.pamr import PAMRRefiner as PAMRRefiner
    from wsss_bench.refine.saliency import SaliencyRefiner as SaliencyRefiner
    from wsss_bench.refine.threshold import ThresholdRefiner as ThresholdRefiner
    from wsss_bench.refine.walk.affinity_labels import IRNAffinityLabels as IRNAffinityLabels
    from wsss_bench.refine.walk.affinity_labels import PSAAffinityLabels as PSAAffinityLabels
    from wsss_bench.refine.walk.affinitynet import AffinityNet as AffinityNet
    from wsss_bench.refine.walk.irn import IRNRefiner as IRNRefiner
    from wsss_bench.refine.walk.irnet import IRNet as IRNet
    from wsss_bench.refine.walk.psa import PSARefiner as PSARefiner

__getattr__, __dir__, __all__ = lazy_classes(__name__)
