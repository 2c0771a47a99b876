"""Data sets that are only scored on: the published folders and file names, and the label map of each."""

import re
import shutil
from dataclasses import replace

import numpy as np
import paths
import pytest
import torch
from PIL import Image

from wsss_bench import vocabulary
from wsss_bench.data.check import check
from wsss_bench.data.command import main
from wsss_bench.data.sources.context import COMMON, VOC_FIRST, PascalContext
from wsss_bench.data.sources.openvocab import (
    ADE20K,
    STUFF,
    THINGS,
    CamVid,
    Cityscapes,
    COCOObject,
    COCOStuff,
)
from wsss_bench.data.sources.voc import VOC
from wsss_bench.inference import Predicts, segmentation_probabilities
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.placement import Stretched
from wsss_bench.types import InferenceSample

CONFIGS = paths.CONFIGS / "data"
SIZE = (12, 16)


def write(root, image, mask, values):
    """A picture, and a mask whose first pixels are `values` and whose others repeat the last."""
    for path in (root / image, root / mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(root / image)
    pixels = np.full(SIZE, values[-1], np.uint8)
    pixels.flat[: len(values)] = values
    Image.fromarray(pixels).save(root / mask)


def values_of(source, image_id, count):
    return source.mask(image_id).flat[:count].tolist()


CITY = "frankfurt_000001_000294"
LAYOUTS = {
    "coco_stuff": (
        COCOStuff, "val", "000000000139", "val2017/000000000139.jpg",
        "stuffthingmaps/val2017/000000000139.png",
        # person, bicycle, stop sign (id 13 - 1), toothbrush, banner, wood, unlabelled
        {0: 1, 1: 2, 12: 12, 89: 80, 91: 81, 181: 171, 255: 255}, 11,
    ),
    "coco_object": (
        COCOObject, "val", "000000000139", "val2017/000000000139.jpg",
        "stuffthingmaps/val2017/000000000139.png",
        {0: 1, 12: 12, 89: 80, 91: 0, 181: 0, 255: 0}, 25,
    ),
    "cityscapes": (
        Cityscapes, "val", CITY, f"leftImg8bit/val/frankfurt/{CITY}_leftImg8bit.png",
        f"gtFine/val/frankfurt/{CITY}_gtFine_labelIds.png",
        # unlabelled, ego vehicle, road, sidewalk, parking, car, train, bicycle, licence plate
        {0: 255, 1: 255, 7: 1, 8: 2, 9: 255, 26: 14, 31: 17, 33: 19, 255: 255}, 34,
    ),
    "ade20k": (
        ADE20K, "val", "ADE_val_00000001", "images/validation/ADE_val_00000001.jpg",
        "annotations/validation/ADE_val_00000001.png", {0: 255, 1: 1, 8: 8, 150: 150}, 151,
    ),
    "camvid": (
        CamVid, "test", "0001TP_008550", "test/0001TP_008550.png", "testannot/0001TP_008550.png",
        {0: 1, 5: 6, 10: 11, 11: 255}, 12,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layout_and_label_map(name, tmp_path):
    build, split, image_id, image, mask, published, unknown = LAYOUTS[name]
    write(tmp_path, image, mask, list(published))
    source = build(tmp_path)
    assert source.ids(split) == [image_id]
    assert source.image(image_id).shape == (*SIZE, 3)
    assert values_of(source, image_id, len(published)) == list(published.values())
    assert source.has_background == (0 in published.values())
    assert source.class_names == vocabulary.load({"coco_object": "coco"}.get(name, name))
    with pytest.raises(ValueError, match="no image-level labels"):
        source.labels(image_id)
    write(tmp_path, image, mask, [unknown])
    with pytest.raises(
        ValueError,
        match=rf"\[{unknown}\], which {build.__name__} does not have; "
        "expected the masks as they are published",
    ):
        source.mask(image_id)


def test_lists_of_classes_have_the_published_order():
    names = {
        name: vocabulary.load(name) for name in ("context", "coco_stuff", "cityscapes", "ade20k", "camvid")
    }
    assert {name: len(classes) for name, classes in names.items()} == {
        "context": 59, "coco_stuff": 171, "cityscapes": 19, "ade20k": 150, "camvid": 11,
    }  # fmt: skip
    assert names["coco_stuff"][:80] == vocabulary.load("coco")
    assert names["coco_stuff"][84] == "building-other"
    assert (names["cityscapes"][6], names["cityscapes"][13]) == ("traffic light", "car")
    assert (names["ade20k"][7], names["ade20k"][149]) == ("bed ", "flag")
    assert (len(THINGS), len(STUFF)) == (80, 91)
    assert names["coco_stuff"][len(THINGS) + STUFF.index(181)] == "wood"


def test_absent_folders_and_unknown_splits_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"Cityscapes expects a folder 'leftImg8bit/val'.*init_args\.root"
    ):
        Cityscapes(tmp_path)
    write(tmp_path, "test/a.png", "testannot/a.png", [0])
    with pytest.raises(ValueError, match="CamVid has no split 'vla'; its splits are test, val, train"):
        CamVid(tmp_path).ids("vla")
    (tmp_path / "testannot/a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no mask .*testannot.a\.png"):
        CamVid(tmp_path).mask("a")


def context(root, values):
    for number in range(3):
        name = f"2008_00000{number}"
        write(root, f"JPEGImages/{name}.jpg", f"SegmentationClassContext/{name}.png", values)
    (root / "ImageSets/SegmentationContext").mkdir(parents=True)
    (root / "ImageSets/SegmentationContext/val.txt").write_text("2008_000000\n2008_000002\n")
    return root


def test_context_with_and_without_background(tmp_path):
    sky = vocabulary.load("context").index("sky") + 1
    root = context(tmp_path, [0, 1, 59, sky])
    assert sky == 47
    sixty, fifty_nine = PascalContext(root), PascalContext(root, background=False)
    assert sixty.ids("val") == ["2008_000000", "2008_000002"]
    assert values_of(sixty, "2008_000000", 4) == [0, 1, 59, sky]
    assert values_of(fifty_nine, "2008_000000", 4) == [255, 1, 59, sky]
    assert (sixty.has_background, fifty_nine.has_background) == (True, False)


def test_context_masks_in_the_other_order_are_refused(tmp_path):
    mostly_sky = VOC_FIRST[COMMON.index("sky")]
    with pytest.raises(
        ValueError,
        match=r"another order of classes: .* 0 % .* 100 % in that which begins with VOC"
        ".*Make the masks with mmseg",
    ):
        PascalContext(context(tmp_path, [mostly_sky])).mask("2008_000000")


def test_context_masks_with_values_beyond_its_classes_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"holds the values \[60\]; expected 0 .*1\.\.59 .*Is the vocabulary"
    ):
        PascalContext(context(tmp_path, [60])).mask("2008_000000")


def test_voc_without_background_ignores_it(voc_root):
    whole, classes = VOC(voc_root, "mini"), VOC(voc_root, "mini", background=False)
    mask = whole.mask("train_0")
    np.testing.assert_array_equal(classes.mask("train_0"), np.where(mask == 0, 255, mask))
    assert (whole.has_background, classes.has_background) == (True, False)


def test_check_needs_no_labels_where_nothing_is_trained_on(tmp_path):
    _, _, _, image, mask, _, _ = LAYOUTS["ade20k"]
    write(tmp_path, image, mask, [0, 1, 3])
    findings = check(ADE20K(tmp_path), {"eval_splits": ["val"], "counts": {"val": 2000}}, "train")
    assert findings.problems == ["split 'val' has 1 images, the protocol expects 2000"]
    assert findings.histogram["val"][:4].tolist() == [1, 0, 1, 0]  # of the classes that the masks show


class Sure(Predicts):
    """Certain of background in every pixel, and prefers the second of two classes."""

    device = torch.device("cpu")
    segmentation_placement = Stretched()

    def segmentation_logits(self, image):
        levels = torch.tensor([9.0, 1.0, 2.0])[None, :, None, None]
        return levels.expand(len(image), 3, *image.shape[-2:])


def test_without_background_every_pixel_gets_a_class():
    image = InferenceSample("a", np.zeros((20, 24, 3), np.uint8), None)
    config = InferenceConfig(multi_scales=(1.0, 1.5), window=16, window_stride=8)
    for probabilities in segmentation_probabilities(Sure(), [image], config)[0].values():
        assert (probabilities.argmax(0) == 0).all()
    without = replace(config, background=False)
    for probabilities in segmentation_probabilities(Sure(), [image], without)[0].values():
        assert probabilities.shape == (3, 20, 24)
        assert (probabilities[0] == 0).all()
        np.testing.assert_allclose(probabilities[2], np.e / (1 + np.e), rtol=1e-5)


ROOTS = {
    "coco_stuff": "coco",
    "coco_object": "coco",
    "cityscapes": "cityscapes",
    "ade20k": "ADEChallengeData2016",
    "camvid": "CamVid",
    "voc20": "VOCdevkit/VOC2012",
    "context60": "VOCdevkit/VOC2010",
    "context59": "VOCdevkit/VOC2010",
}


@pytest.mark.parametrize("name", ROOTS)
def test_check_of_every_shipped_config_on_a_tree_as_documented(name, tmp_path, monkeypatch, voc_root, capsys):
    """Everything is found and read; only the number of images is not the published one."""
    root = tmp_path / "disk" / ROOTS[name]
    if name.startswith("context"):
        root.mkdir(parents=True)
        context(root, [0, 47])
    elif name == "voc20":
        shutil.copytree(voc_root, root)
    else:
        write(root, *LAYOUTS[name][3:5], list(LAYOUTS[name][5]))
    monkeypatch.setenv("WSSS_DATA", str(tmp_path / "disk"))
    assert main(["check", "--config", str(CONFIGS / f"{name}.yaml")]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"1 problem:\n- split '(val|test)' has \d images, the protocol expects \d+\n", printed)
