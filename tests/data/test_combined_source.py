"""Training images from several sources, each with its roles."""

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.sources.combined import CombinedSource, ExtraImages
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.data.transforms import TransformConfig

SQUARE = TransformConfig("square", 16, self_scales=(0.75, 2.0))


@pytest.fixture
def main(voc_root):
    return VOC(voc_root, vocabulary="mini")


def folder(root, rows, classes=("train", "bird")):
    """A folder of plain pictures; its classes are in another order than the main source's."""
    (root / "images").mkdir(parents=True)
    for k, (name, _) in enumerate(rows):
        Image.fromarray(np.full((20, 30, 3), 40 * k, np.uint8)).save(root / "images" / f"{name}.png")
    (root / "classes.txt").write_text("\n".join(classes))
    (root / "labels.csv").write_text("image,classes\n" + "".join(f"{n}.png,{c}\n" for n, c in rows))
    return Folder(root)


@pytest.fixture
def web(tmp_path):
    return folder(tmp_path / "web", [("web_0", "bird"), ("web_1", "train;bird")])


def test_extra_images_join_the_training_split_only(main, web):
    combined = CombinedSource(main, "train", {"web": ExtraImages(web)})
    for ids in (combined.ids("train"), combined.anchors("train"), combined.partners("train")):
        assert ids == [*main.ids("train"), "web_0", "web_1"]
    assert combined.ids("val") == combined.anchors("val") == main.ids("val")
    assert combined.labels("web_1").tolist() == [0, 1, 0, 0, 0, 0, 0, 1]  # bird and train, in the main order
    assert combined.image("web_1").shape == (20, 30, 3)
    assert np.array_equal(combined.mask("train_0"), main.mask("train_0"))
    with pytest.raises(ValueError, match="'web_0' is of the extra source 'web', whose masks are never used"):
        combined.mask("web_0")


@pytest.mark.parametrize(
    ("role", "listing"),
    [("may_be_anchor", "anchors"), ("may_be_partner", "partners"), ("gets_pseudo_label", "ids")],
)
def test_each_role_can_be_taken_away(role, listing, main, web):
    combined = CombinedSource(main, "train", {"web": ExtraImages(web, **{role: False})})
    listings = {name: len(getattr(combined, name)("train")) for name in ("anchors", "partners", "ids")}
    assert listings == {name: 10 if name == listing else 12 for name in listings}


def test_bad_extra_sources_are_named(main, tmp_path):
    foreign = folder(tmp_path / "a", [("x", "zebra")], classes=("zebra", "bird"))
    with pytest.raises(
        ValueError,
        match=r"data.extra_images.own has 1 classes that the data set does not have, first 'zebra'",
    ):
        CombinedSource(main, "train", {"own": ExtraImages(foreign)})
    taken = folder(tmp_path / "b", [("train_3", "bird")])
    with pytest.raises(ValueError, match="image ids train_3 are in more than one of the sources"):
        CombinedSource(main, "train", {"own": ExtraImages(taken)})


def test_pairs_take_their_anchors_and_partners_from_the_combined_source(main, web):
    extra = {"web": ExtraImages(web, may_be_anchor=False)}
    data = WSSSDataModule(main, "pair", SQUARE, global_batch_size=5, val_split=None, extra_images=extra)
    firsts, seconds = set(), set()
    loader = data.train_dataloader()
    for epoch in range(8):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            firsts |= set(batch.first.image_ids)
            seconds |= set(batch.second.image_ids)
            assert (batch.first.labels * batch.second.labels).sum(dim=1).min() >= 1
    assert firsts == set(main.ids("train"))
    assert seconds >= {"web_0", "web_1"}


def test_seeds_are_made_of_what_gets_pseudo_labels(main, web):
    data = WSSSDataModule(main, "pair", SQUARE, extra_images={"web": ExtraImages(web)})
    data.predict_on("train", labelled=True, references=2)
    samples = {sample.image_id: sample for (sample,) in data.predict_dataloader()}
    assert set(samples) == {*main.ids("train"), "web_0", "web_1"}
    table = data.reference_table("train", 2)
    assert set(table) == set(samples)
    for image_id, sample in samples.items():
        drawn = {c: [r.image_id for r in sample.references if r.for_class == c] for c in table[image_id]}
        assert drawn == table[image_id]
