"""Several names for a class in TCL and CoDe: its score is that of the best one."""

import pytest
import torch

from wsss_bench.methods.text_grounding.codecomp import CoDe
from wsss_bench.methods.text_grounding.grounding import MaskInference
from wsss_bench.methods.text_grounding.tcl import TCL


@torch.no_grad()
@pytest.mark.parametrize("kind", [TCL, CoDe])
def test_a_class_scores_as_the_best_of_its_names(kind):
    def seeds(classes, names=None):
        torch.manual_seed(0)
        settings = MaskInference(templates="mini", pamr_dilations=(1, 2), prompt_names=names)
        method = kind(classes, clip="package:mini/clip", mask_inference=settings).eval()
        return method.seed_maps(image)

    image = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    both = seeds(["bird", "car"], {"car": ["automobile", "car"]})
    names = seeds(["bird", "automobile", "car"])
    assert both.shape == (2, 2, 12, 16)
    torch.testing.assert_close(both[:, 0], names[:, 0])
    torch.testing.assert_close(both[:, 1], names[:, 1:].amax(dim=1))
    assert (names[:, 1] > names[:, 2]).any()
    assert (names[:, 1] < names[:, 2]).any()


@pytest.mark.parametrize("kind", [TCL, CoDe])
def test_a_name_of_two_classes_is_refused(kind):
    settings = MaskInference(templates="mini", prompt_names={"car": ["bird"]})
    with pytest.raises(ValueError, match="prompt_names: 'bird' is a name of 'bird' and again of 'car'"):
        kind(["bird", "car"], clip="package:mini/clip", mask_inference=settings)
