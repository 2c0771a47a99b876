"""Own views and transforms, named by their class path."""

import random
from abc import abstractmethod
from argparse import ArgumentError
from dataclasses import replace
from typing import NamedTuple

import albumentations as A
import numpy as np
import pytest
import torch
from torch import Tensor

from wsss_bench.artifacts.files import write_mask
from wsss_bench.artifacts.source_code import roots_of
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.transforms import OwnTransform, Transform, TransformConfig, steps_of
from wsss_bench.data.view_names import OwnView
from wsss_bench.data.views import ImageView, MaskView, PairView, View
from wsss_bench.errors import explain
from wsss_bench.methods import CAM
from wsss_bench.stages import fit
from wsss_bench.stages.claims import view_problem
from wsss_bench.types import ImageBatch

SMALL = TransformConfig("irn", 32, (30, 50))


class TwiceBatch(NamedTuple):
    image_ids: list[str]
    first: Tensor
    second: Tensor


class Twice(View):
    """Two crops of an image; a dataclass, a list and numbers as arguments."""

    batch_type = TwiceBatch

    def __init__(
        self,
        *arguments,
        second: TransformConfig = SMALL,
        shifts: list[float] | None = None,
        scale: float = 1.0,
    ):
        super().__init__(*arguments)
        self.second, self.shifts, self.scale = Transform(second), shifts or [0.0], scale

    def __getitem__(self, key):
        image = self.source.image(self.image_ids[key[1]])
        shift = np.random.default_rng(self.random_key(key, 2)).choice(self.shifts)
        second = self.second(image, self.random_key(key, 1)).image * self.scale + shift
        return self.image_ids[key[1]], self.transform(image, self.random_key(key)).image, second

    @staticmethod
    def collate(items):
        ids, *tensors = zip(*items, strict=True)
        return TwiceBatch(list(ids), *map(torch.stack, tensors))


class NoBatch(View):
    def __getitem__(self, key): ...

    @staticmethod
    def collate(items): ...


class Abstract(ImageView):
    @abstractmethod
    def boxes(self): ...


class Unseeded(Twice):
    def __getitem__(self, key):
        image_id, first, second = super().__getitem__(key)
        return image_id, first * random.random(), second


class WrongBatch(Twice):
    batch_type = ImageBatch


class Pairs(PairView):
    """A view of this package with another argument."""

    def __init__(self, *arguments, power: int = 1, **more):
        super().__init__(*arguments, **more)
        self.power = power


class Masks(MaskView):
    pass


class Half(Transform):
    """The crops of IRN, darker."""

    def __init__(self, config: TransformConfig, share: float = 0.5):
        super().__init__(config)
        self.share = share

    def steps(self):
        return [*steps_of("irn", self.config), A.MultiplicativeNoise((self.share, self.share), p=1.0)]


class Shaken(Transform):
    def __call__(self, image, key, mask=None):
        crop = super().__call__(image, key, mask)
        return crop._replace(image=crop.image * random.random())

    def steps(self):
        return steps_of("resize", self.config)


def own(kind, **arguments):
    return {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": arguments}


def view(kind, **arguments):
    return OwnView.from_plain(own(kind, **arguments))


@pytest.fixture
def source(voc_root):
    return VOC(voc_root, vocabulary="mini")


def batches(source, **settings):
    data = WSSSDataModule(source, global_batch_size=5, **settings)
    data.check_training(1, validates=True)
    return list(data.train_dataloader())


@pytest.mark.slow  # starts processes
def test_an_own_view_yields_its_batches_alike_with_and_without_workers(source):
    second = {"kind": "square", "crop_size": 16}
    twice = view(Twice, second=second, shifts=[1, 2], scale="1e-1")
    here, there = (batches(source, view=twice, transform=SMALL, num_workers=n) for n in (0, 2))
    assert [type(batch) for batch in here] == [TwiceBatch] * 2
    assert here[0].first.shape == (5, 3, 32, 32)
    assert here[0].second.shape == (5, 3, 16, 16)
    assert 1 <= here[0].second.min() < here[0].second.max() < 2.2
    for one, other in zip(here, there, strict=True):
        assert one.image_ids == other.image_ids
        assert torch.equal(one.first, other.first)
        assert torch.equal(one.second, other.second)


def test_an_own_transform_has_its_arguments_and_draws_from_the_key(source):
    config = replace(SMALL, kind=OwnTransform.from_plain(own(Half, share=0.25)))
    (dark, *_), (bright, *_) = (batches(source, transform=one) for one in (config, SMALL))
    assert dark.image_ids == bright.image_ids
    torch.testing.assert_close(
        dark.image[dark.valid[:, None].expand_as(dark.image)],
        bright.image[bright.valid[:, None].expand_as(bright.image)] * 0.25,
        atol=0.005,
        rtol=0,
    )


def test_views_derived_from_pairs_and_masks_get_partners_and_pseudo_masks(source, tmp_path):
    (pairs, *_) = batches(source, view=view(Pairs, power=3), transform=SMALL)
    (shipped, *_) = batches(source, view="pair", transform=SMALL)
    assert pairs.image_ids == shipped.image_ids
    for image_id in source.ids("train"):
        write_mask(tmp_path, image_id, np.full(source.image(image_id).shape[:2], 7, np.uint8))
    (masks, *_) = batches(source, view=view(Masks), transform=SMALL, masks=str(tmp_path))
    assert set(masks.mask.unique().tolist()) <= {7, 255}
    with pytest.raises(ValueError, match=r"data\.view is '.*\.Twice', which reads no masks"):
        WSSSDataModule(source, view=view(Twice), masks=str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"view": Unseeded}, "Unseeded with Transform makes two different items of one key"),
        ({"kind": Shaken}, "ImageView with Shaken makes two different items of one key"),
        ({"view": WrongBatch}, "WrongBatch makes batches of TwiceBatch, but its batch_type is ImageBatch"),
    ],
)
def test_the_first_item_is_checked_before_a_training(settings, message, source):
    given = {"transform": SMALL}
    if "view" in settings:
        given["view"] = view(settings["view"])
    else:
        given["transform"] = replace(SMALL, kind=OwnTransform.from_plain(own(settings["kind"])))
    with pytest.raises(ValueError, match=message):
        batches(source, **given)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("view", "imge", "data.view: there is no view 'imge'; did you mean 'image'? Known: image, pair"),
        ("view", "my_file.Mine", "an own view is {class_path: my_module.MyClass"),
        ("view", own(NoBatch), "NoBatch does not set batch_type; name the type"),
        ("view", own(Abstract), "Abstract is abstract; define boxes"),
        ("view", own(View), "View is abstract; define __getitem__, collate"),
        ("view", own(Half), "Half is no view; derive it from wsss_bench.data.views.View"),
        ("view", {"class_path": "no_such_module_here.Mine"}, "no_such_module_here.Mine cannot be imported"),
        ("view", own(Twice, skale=1), "Twice has no option 'skale'; did you mean 'scale'?"),
        ("view", own(Twice, scale="x"), "Twice: scale: expected a number; got x"),
        ("view", own(Twice, second={"kind": "irm"}), "there is no kind of transform 'irm'; did you mean"),
        ("view", own(Pairs, partners=[]), "Pairs has no option 'partners'"),
        ("view", {"class_path": "a.B", "args": {}}, "unknown key 'args'"),
        ("view", ["image"], "expected one of image, pair, group, caption, mask"),
        (
            "transform.kind",
            "irm",
            "data.transform.kind: there is no kind of transform 'irm'; did you mean 'irn'",
        ),
        ("transform.kind", own(Twice), "Twice is no kind of transform; derive it from"),
        ("transform.kind", own(Half, shaer=1), "Half has no option 'shaer'; did you mean 'share'?"),
        ("transform.crop_size", "x", "data.transform.crop_size: expected a whole number; got x"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(key, value, message, voc_root):
    root = {"class_path": "VOC", "init_args": {"root": str(voc_root), "vocabulary": "mini"}}
    data = {"source": root, "transform": {}}
    *parents, last = key.split(".")
    (data[parents[0]] if parents else data)[last] = value
    with pytest.raises((ArgumentError, ValueError)) as caught:
        fit.parse({"model": {"class_path": "CAM"}, "data": data, "out": "out"})
    sentence = explain(caught.value)
    assert message in sentence
    assert "\n" not in sentence


def test_batches_have_to_be_those_of_the_method():
    assert view_problem(CAM, "image") is None
    assert view_problem(CAM, OwnView(f"{ImageView.__module__}.ImageView")) is None
    assert (
        "Twice, which makes batches of TwiceBatch, but CAM trains on ImageBatch; set data.view: image"
        in str(view_problem(CAM, view(Twice)))
    )


def test_the_code_of_own_classes_belongs_to_the_stage():
    data = {"view": own(Twice), "transform": {"kind": own(Half)}}
    assert set(roots_of("fit", {"data": data})[1:]) == {f"{__name__}.Twice", f"{__name__}.Half"}
