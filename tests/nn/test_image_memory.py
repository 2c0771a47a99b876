"""The memory of a frozen network: images are known by their content."""

import torch

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.image_memory import ImageMemory


def test_an_image_that_was_seen_is_not_made_again_whatever_the_order():
    images = [torch.full((1, 3, side, 4), value) for side in (4, 8) for value in (0.1, 0.2)]
    made = []

    def make(image):
        made.append(image)
        return image.sum()

    memory = ImageMemory()
    first = [memory.recall(image, make) for image in images]
    for order in (range(4), (3, 1, 1, 0, 2)):
        for number in order:
            assert memory.recall(images[number].clone(), make) is first[number]
    assert len(made) == 4
    changed = images[0].clone()
    changed[0, 2, 3, 3] += 1e-6
    assert memory.recall(changed, make) is not first[0]


def test_clip_remembers_only_where_it_is_asked_to():
    clip = CLIP("package:mini/clip").requires_grad_(False)
    image = torch.rand(2, 3, 24, 32)
    alone = clip.input_of_last_block(image)
    with clip.remembering():
        once = clip.input_of_last_block(image)
        assert clip.input_of_last_block(image.clone()) is once
    assert torch.equal(once, alone)
    assert clip.input_of_last_block(image) is not once
