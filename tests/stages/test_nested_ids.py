"""Image ids with folders, some of them linked, through every stage that reads or writes files by id."""

import shutil

import numpy as np
import pytest
from PIL import Image

from wsss_bench.artifacts.files import file_names, read_mask, write_mask
from wsss_bench.artifacts.seeds import write_seed
from wsss_bench.data.check import check
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.transforms import TransformConfig
from wsss_bench.refine.saliency import SaliencyRefiner
from wsss_bench.refine.threshold import ThresholdRefiner
from wsss_bench.stages.evaluate import evaluate
from wsss_bench.stages.refine import refine
from wsss_bench.types import ScoreMaps

IDS = ["plain", "a/b/img", "a/img", "linked/img", "linked/deep/img.v2"]
SIZE = (31, 45)
PROTOCOL = {"train_split": "train", "eval_splits": ["val"], "counts": {"train": 5}}


def truth_of(image_id):
    mask = np.zeros(SIZE, np.uint8)
    mask[3:20, 5 + IDS.index(image_id) : 30] = 1 + IDS.index(image_id) % 2
    return mask


def write(images, annotations, masks):
    for image_id in IDS:
        for folder in (images, masks, *([annotations] if annotations else [])):
            (folder / image_id).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.repeat(truth_of(image_id)[..., None] * np.uint8(90) + np.uint8(40), 3, axis=2)
        Image.fromarray(pixels).save(images / f"{image_id}.jpg")
        write_mask(masks, image_id, truth_of(image_id))
        if annotations:
            name = ("cat", "dog")[IDS.index(image_id) % 2]
            (annotations / f"{image_id}.xml").write_text(
                f"<annotation><object><name>{name}</name></object></annotation>"
            )
    for folder in (images, masks, *([annotations] if annotations else [])):
        moved = folder.parent / f"moved_{folder.name}"
        shutil.move(folder / "linked", moved)
        (folder / "linked").symlink_to(moved)


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "voc"
    write(root / "JPEGImages", root / "Annotations", root / "SegmentationClass")
    (root / "classes.txt").write_text("cat\ndog\n")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    lists.joinpath("train.txt").write_text("".join(f"/JPEGImages/{name}.jpg\n" for name in IDS))
    lists.joinpath("val.txt").write_text("\n")
    return VOC(root, "classes.txt")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "own"
    write(root / "images", None, root / "masks")
    (root / "classes.txt").write_text("cat\ndog\n")
    rows = (f"{name}.jpg,{('cat', 'dog')[k % 2]}\n" for k, name in enumerate(IDS))
    (root / "labels.csv").write_text("image,classes\n" + "".join(rows))
    return Folder(root, masks="masks")


@pytest.mark.parametrize("layout", ["voc", "folder"])
def test_from_the_source_to_the_segmenter(request, tmp_path, layout):
    source = request.getfixturevalue(layout)
    assert source.ids("train") == IDS
    problems = check(source, PROTOCOL, "train").problems
    assert [problem for problem in problems if "'val'" not in problem] == []

    for image_id in IDS:
        truth, c = truth_of(image_id), 1 + int(source.labels(image_id).argmax())
        maps = ScoreMaps(image_id, np.array([c], np.uint8), (truth == c)[None].astype(np.float16), SIZE)
        write_seed(tmp_path / "seed" / "seeds", maps)
        grey = Image.fromarray((truth > 0).astype(np.uint8) * 255)
        (tmp_path / "saliency" / image_id).parent.mkdir(parents=True, exist_ok=True)
        grey.save(tmp_path / "saliency" / f"{image_id}.png")
    for refiner in (ThresholdRefiner(0.5), SaliencyRefiner(str(tmp_path / "saliency"))):
        out = tmp_path / type(refiner).__name__
        refine(source, "train", tmp_path / "seed", refiner, out, workers=0, resolved={})
        assert file_names(out / "masks") == {f"{image_id}.png" for image_id in IDS}
        for image_id in IDS:
            np.testing.assert_array_equal(read_mask(out / "masks" / f"{image_id}.png"), truth_of(image_id))
        data = WSSSDataModule(
            source, "mask", TransformConfig(crop_size=16, resize_long=(16, 24)), global_batch_size=5
        )
        data.train_on(out / "masks")
        (batch,) = data.train_dataloader()
        assert sorted(batch.image_ids) == sorted(IDS)

    for options in ({"seeds": tmp_path / "seed", "threshold": 0.5}, {"masks": tmp_path / "ThresholdRefiner"}):
        out = tmp_path / f"evaluate-{next(iter(options))}"
        evaluate(source, "train", out=out, resolved={}, **options)
        assert (out / "panels.png").is_file()
        assert '"miou": 1.0' in (out / "metrics.json").read_text()


def test_a_missing_pseudo_mask_is_named_with_its_folder(voc, tmp_path):
    for image_id in IDS[:-1]:
        write_mask(tmp_path / "masks", image_id, truth_of(image_id))
    data = WSSSDataModule(voc, "mask", TransformConfig(crop_size=16), global_batch_size=2)
    data.train_on(tmp_path / "masks")
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 5 pseudo masks, first linked/deep/img\.v2\.png"):
        data.train_dataloader()
