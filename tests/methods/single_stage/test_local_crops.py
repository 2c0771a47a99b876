"""Views for the class token contrast of ToCo."""

import pytest
import torch

from wsss_bench.methods.single_stage.image_noise import image_noise
from wsss_bench.methods.single_stage.local_crops import local_crops, resized_view
from wsss_bench.methods.single_stage.projection_head import ProjectionHead


def noise(step=0, ids=("a", "b"), size=400):
    return image_noise(ids, step, [size], torch.device("cpu"))


def test_crops_are_windows_of_the_image_away_from_certain_objects():
    image = torch.rand(2, 3, 20, 20)
    region = torch.full((2, 20, 20), 2)
    region[:, :, :10] = 1  # centres may lie in the left half only
    crops = local_crops(image, region, noise(), count=5, size=8)
    windows = image.unfold(2, 8, 1).unfold(3, 8, 1)  # (2, 3, 13, 13, 8, 8)
    for b in range(2):
        for crop in crops.image[b]:
            found = (windows[b] == crop[:, None, None]).all(dim=(0, 3, 4)).nonzero()
            assert len(found) == 1
            assert found[0, 1] + 4 < 10  # the centre
    assert len({crop.sum().item() for crop in crops.image[0]}) == 5


def test_a_crop_of_mostly_background_is_negative():
    region = torch.zeros(1, 16, 16, dtype=torch.long)
    image = torch.rand(1, 3, 16, 16)
    assert not local_crops(image, region, noise(ids="a"), 4, 8).positive.any()
    assert local_crops(image, region + 1, noise(ids="a"), 4, 8).positive.all()


def test_without_enough_places_any_place_will_do():
    region = torch.full((1, 16, 16), 2)
    assert local_crops(torch.rand(1, 3, 16, 16), region, noise(ids="a"), 4, 8).image.shape == (1, 4, 3, 8, 8)


def test_crops_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"lower ctc\.crop_size"):
        local_crops(torch.rand(1, 3, 16, 16), torch.ones(1, 16, 16), noise(ids="a"), 4, 24)


def test_a_view_is_a_window_enlarged_to_the_image():
    ramp = torch.linspace(0, 1, 32).expand(2, 3, 32, 32)
    whole = resized_view(ramp, torch.tensor([[1.0, 0.5, 0.5, 0.5, 0.9], [1.0, 0.5, 0.5, 0.5, 0.1]]))
    torch.testing.assert_close(whole[0], ramp[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole[1], ramp[1].flip(-1), atol=1e-5, rtol=1e-5)
    part = resized_view(ramp[:1], torch.tensor([[0.0, 0.5, 0.5, 0.0, 0.9]]))  # 40 % of the area, at the left
    width = 0.4**0.5
    assert part[0, 0, 0, -1].item() == pytest.approx(width * ramp[0, 0, 0, -1].item(), abs=0.02)
    assert part[0, 0, 0, 0].item() == pytest.approx(0, abs=0.02)


def test_noise_depends_on_image_and_step_not_on_the_batch():
    both, alone = noise(), noise(ids=("b",))
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(noise(step=1), both)
    assert both.min() >= 0
    assert both.max() < 1


def test_projections_are_cosines():
    head = ProjectionHead(8, hidden=16, bottleneck=4, num_outputs=6)
    out = head(torch.randn(5, 8))
    assert out.shape == (5, 6)
    assert out.abs().max() <= 1 + 1e-6
