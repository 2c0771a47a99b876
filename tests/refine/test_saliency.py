"""Pseudo labels from saliency maps against the outputs of the authors' code; bad saliency maps."""

import numpy as np
import paths
import pytest
from PIL import Image

from wsss_bench.refine.saliency import SaliencyRefiner
from wsss_bench.types import ScoreMaps

GOLDEN = paths.GOLDEN / "mcis" / "pseudo_label.npz"
CASES = [
    "one_class_binary_sal", "two_class_overlap", "two_class_identical_peak", "soft_sal", "no_sal", "all_sal",
    "tiny_object", "flat_zero_att", "missing_att_file",
]  # fmt: skip


@pytest.fixture
def refiner(tmp_path):
    (tmp_path / "maps").mkdir()
    return SaliencyRefiner(str(tmp_path / "maps"))


@pytest.mark.parametrize("case", CASES)
def test_labels_are_those_of_the_authors_code(case, refiner):
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        # a class whose attention file is missing is left out
        classes = [int(c) for c in arrays[f"{case}/classes"] if f"{case}/att_{c}" in arrays]
        scores = np.stack([arrays[f"{case}/att_{c}"] for c in classes]).astype(float)
        saliency, expected = arrays[f"{case}/saliency"], arrays[f"{case}/label"]
    np.testing.assert_array_equal(refiner.label(scores, np.array(classes) + 1, saliency), expected)


def test_a_seed_is_combined_with_the_saliency_map_of_its_image(refiner, monkeypatch):
    saliency = np.zeros((6, 8), np.uint8)
    saliency[:, :4] = 255
    Image.fromarray(saliency).save(refiner.folder / "a.png")
    scores = np.zeros((1, 6, 8), np.float16)
    scores[0, :3] = 0.9
    maps = ScoreMaps("a", np.array([5], np.uint8), scores, (6, 8))
    mask = refiner(np.zeros((6, 8, 3), np.uint8), maps)
    assert (mask[:3, :4] == 5).all()  # salient, and of the class
    assert (mask[3:, :4] == 255).all()  # salient, of no class
    assert (mask[:3, 4:] == 255).all()  # of the class, not salient
    assert (mask[3:, 4:] == 0).all()
    no_class = ScoreMaps("a", np.zeros(0, np.uint8), np.zeros((0, 1, 1), np.float16), (6, 8))
    assert (refiner(np.zeros((6, 8, 3), np.uint8), no_class) == 255).all()
    monkeypatch.setenv("SALIENCY_FOLDER", str(refiner.folder))
    assert SaliencyRefiner("$SALIENCY_FOLDER").folder == refiner.folder


def test_without_ignore_the_masks_equal_the_published_ones_where_these_are_not_255(refiner):
    refiner.no_ignore = True
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        case = "soft_sal"
        classes = arrays[f"{case}/classes"]
        scores = np.stack([arrays[f"{case}/att_{c}"] for c in classes]).astype(float)
        without_ignore = refiner.label(scores, classes + 1, arrays[f"{case}/saliency"])
        published = arrays[f"{case}/label"]
    assert set(np.unique(without_ignore)) <= {0, *(classes + 1)}
    assert (published == 255).any()
    np.testing.assert_array_equal(without_ignore[published < 255], published[published < 255])


def test_missing_maps_and_maps_of_another_size_are_named(refiner, tmp_path):
    maps = ScoreMaps("b", np.array([1], np.uint8), np.ones((1, 6, 8), np.float16), (6, 8))
    with pytest.raises(FileNotFoundError, match=r"no saliency map .*b\.png; make one for every image"):
        refiner(np.zeros((6, 8, 3), np.uint8), maps)
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(refiner.folder / "a.png")
    assert [path.name for path in refiner.missing_files(["a", "b", "c"])] == ["b.png", "c.png"]
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(refiner.folder / "b.png")
    with pytest.raises(ValueError, match=r"b\.png is \(8, 6\) \(height, width\), its image is \(6, 8\)"):
        refiner(np.zeros((6, 8, 3), np.uint8), maps)
    Image.fromarray(np.zeros((6, 8), np.uint8)).convert("P").save(refiner.folder / "b.png")
    with pytest.raises(ValueError, match=r"b\.png is a P image; save it as 8 bit grey"):
        refiner(np.zeros((6, 8, 3), np.uint8), maps)
    (refiner.folder / "b.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"b\.png cannot be decoded"):
        refiner(np.zeros((6, 8, 3), np.uint8), maps)
    with pytest.raises(FileNotFoundError, match=r"nowhere; name one .* in refiner.init_args.folder"):
        SaliencyRefiner(str(tmp_path / "nowhere"))
