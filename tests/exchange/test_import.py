"""CAMs and masks of other repositories, through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from voc_world import CLASSES, SIZES, TRAIN, VAL, cams, save, truth, write_world

from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.seeds import read_seed
from wsss_bench.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def import_seeds(data, folder, *options):
    """Run the command; returns the exit status and the folder of seeds."""
    out = folder.parent / "stage"
    words = ["import", "seeds", "--cams", str(folder), "--data", str(data), "--split", "train"]
    return main([*words, "--out", str(out), *options]), out / "seeds"


def strided(image_id):
    height, width = SIZES[image_id]
    return cams(image_id)[:, ::4, ::4][:, : -(-height // 4), : -(-width // 4)]


def of_irn(image_id):
    keys = np.array(CLASSES[image_id])
    return {"keys": keys, "cam": strided(image_id), "high_res": cams(image_id)}


def of_clip_es(image_id):
    return {"keys": np.array(CLASSES[image_id]), "attn_highres": cams(image_id).astype(np.float16)}


def of_psa(image_id):
    return dict(zip(reversed(CLASSES[image_id]), reversed(cams(image_id)), strict=True))


def of_all_classes(image_id):
    stack = np.full((20, *SIZES[image_id]), 0.5, np.float32)
    stack[list(CLASSES[image_id])] = cams(image_id)
    return stack


def with_background(image_id):
    """As PSA's scores after its CRF: background under 0."""
    maps = cams(image_id)
    keyed = {c + 1: one for c, one in zip(CLASSES[image_id], maps, strict=True)}
    return {0: np.full(SIZES[image_id], 0.5, np.float32)} | keyed


@pytest.mark.parametrize("content", [of_irn, of_clip_es, of_psa, of_all_classes])
def test_every_kind_of_cams_becomes_the_same_seeds(data, tmp_path, content, capsys):
    for image_id in TRAIN:
        save(tmp_path / "cams", image_id, content(image_id))
    save(tmp_path / "cams", "not_in_the_split", {})
    status, seeds = import_seeds(data, tmp_path / "cams")
    assert status == 0
    for image_id in TRAIN:
        seed = read_seed(seeds, image_id)
        assert seed.size == SIZES[image_id]
        assert seed.classes.tolist() == [c + 1 for c in CLASSES[image_id]]
        np.testing.assert_allclose(seed.scores, cams(image_id), atol=1 / 255)
        assert seed.background is None
        if content is of_irn:
            np.testing.assert_allclose(seed.strided, strided(image_id), atol=1 / 255)
        else:  # made of the maps at full size
            np.testing.assert_allclose(seed.strided.mean(), cams(image_id).mean(), atol=0.01)
            assert seed.strided.shape == strided(image_id).shape
            assert np.abs(seed.strided - strided(image_id)).mean() < 0.06
    manifest = json.loads((seeds.parent / "stage.json").read_text())
    assert (manifest["kind"], manifest["image_count"]) == ("import", 3)
    assert manifest["config"]["cams"] == str(tmp_path / "cams")
    assert "labelled" not in capsys.readouterr().out


@pytest.mark.parametrize("named", [True, False])
def test_npz_files_are_read_too(data, tmp_path, named):
    for image_id in TRAIN:
        path = tmp_path / "cams" / f"{image_id}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **(of_irn(image_id) if named else {str(k): v for k, v in of_psa(image_id).items()}))
    status, seeds = import_seeds(data, tmp_path / "cams")
    assert status == 0
    assert read_seed(seeds, "odd/a").classes.tolist() == [15, 20]


def test_maps_at_stride_4_are_seeds_by_themselves(data, tmp_path):
    for image_id in TRAIN:
        keys = np.array(CLASSES[image_id])
        save(tmp_path / "cams", image_id, {"keys": keys, "cam": strided(image_id)})
    status, seeds = import_seeds(data, tmp_path / "cams")
    assert status == 0
    seed = read_seed(seeds, "2007_000001")
    assert seed.scores.shape == seed.strided.shape == (2, 94, 125)


def test_a_background_map_is_kept_as_an_own_background_score(data, tmp_path, capsys):
    for image_id in TRAIN:
        save(tmp_path / "cams", image_id, with_background(image_id))
    assert import_seeds(data, tmp_path / "cams")[0] == 1
    assert "of 3 of the first 3 images if 0 is background" in capsys.readouterr().err
    assert not (tmp_path / "stage").exists()
    status, seeds = import_seeds(data, tmp_path / "cams", "--numbering", "mask_values")
    assert status == 0
    assert "own background score" in capsys.readouterr().out
    seed = read_seed(seeds, "odd/a")
    assert seed.classes.tolist() == [15, 20]
    np.testing.assert_allclose(seed.background, 0.5, atol=1 / 255)
    np.testing.assert_allclose(seed.scores, cams("odd/a") == 1, atol=0.005)


def test_a_class_that_the_image_lacks_is_kept_and_counted(data, tmp_path, capsys):
    for image_id in TRAIN:
        save(tmp_path / "cams", image_id, of_psa(image_id))
    save(tmp_path / "cams", "odd/a", {14: cams("odd/a")[0], 3: cams("odd/a")[1]})
    status, seeds = import_seeds(data, tmp_path / "cams")
    assert status == 0
    said = capsys.readouterr().out
    assert "1 of 3 images have a CAM of a class that they are not labelled with" in said
    assert "1 of 3 images have no CAM of a class that they are labelled with" in said
    assert read_seed(seeds, "odd/a").classes.tolist() == [4, 15]


def test_scores_out_of_range_need_a_word_of_the_user(data, tmp_path, capsys):
    for image_id in TRAIN:
        save(tmp_path / "cams", image_id, {k: 4 * v - 2 for k, v in of_psa(image_id).items()})
    assert import_seeds(data, tmp_path / "cams")[0] == 1
    assert "2007_000001.npy: it has scores down to -1; " in capsys.readouterr().err
    assert import_seeds(data, tmp_path / "cams", "--clip")[0] == 1
    assert "scores up to 2; expected at most 1: add --normalize" in capsys.readouterr().err
    status, seeds = import_seeds(data, tmp_path / "cams", "--clip", "--normalize")
    assert status == 0
    np.testing.assert_allclose(read_seed(seeds, "odd/a").scores, cams("odd/a") == 1, atol=0.005)


def changed(**words):
    return lambda image_id: of_irn(image_id) | words


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda i: {k: v.T for k, v in of_psa(i).items()}, "are 51x37 (height x width), the image is 37x51"),
        (lambda i: {k: np.zeros((28, 28)) for k in of_psa(i)}, "resize the maps to the image"),
        (lambda i: {k: v + np.nan for k, v in of_psa(i).items()}, "not finite"),
        (lambda i: dict.fromkeys((19, 20), cams(i)[0]), "it has the keys [20]; expected 0 to 19"),
        (lambda i: {-1: cams(i)[0]}, "has the key -1"),
        (lambda i: {"dog": cams(i)[0]}, "has the key 'dog'"),
        (lambda i: {0: cams(i)[0], 1: cams(i)[1][:9]}, "differ in size: (37, 51), (9, 51)"),
        (lambda i: np.zeros((7, 37, 51)), "it has 7 maps; expected 20, one for each class"),
        (lambda i: np.zeros((37, 51)), "its maps are (37, 51); expected (C, h, w)"),
        (changed(keys=np.array([3])), "its maps are (2, 37, 51); expected (K, h, w) for 1 keys"),
        (changed(keys=np.array([3, 3])), "expected different ones"),
        (lambda i: {"keys": np.array([3]), "maps": cams(i)[:1]}, "has the maps maps; expected attn_highres"),
        (with_background, "only some have a background map"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_set_is_refused_with_its_file(data, tmp_path, content, message, capsys):
    numbering = ["--numbering", "mask_values"] if content is with_background else []
    for image_id in TRAIN:
        keyed = {c + 1: one for c, one in zip(CLASSES[image_id], cams(image_id), strict=True)}
        save(tmp_path / "cams", image_id, keyed if numbering else of_psa(image_id))
    path = save(tmp_path / "cams", "odd/a", content("odd/a"))
    status, seeds = import_seeds(data, tmp_path / "cams", *numbering)
    said = capsys.readouterr().err
    assert status == 1
    assert str(path) in said
    assert message in said
    assert not (seeds.parent / "stage.json").exists()


def test_maps_of_another_name_are_named_by_the_user(data, tmp_path):
    for image_id in TRAIN:
        content = of_irn(image_id) | {"mine": 1 - cams(image_id)}
        save(tmp_path / "cams", image_id, content)
    status, seeds = import_seeds(data, tmp_path / "cams", "--map", "mine")
    assert status == 0
    seed = read_seed(seeds, "odd/a")
    np.testing.assert_allclose(seed.scores, 1 - cams("odd/a"), atol=1 / 255)
    assert np.abs(seed.strided - (1 - strided("odd/a"))).mean() < 0.06  # of these maps, not of `cam`


def test_missing_files_are_listed_before_anything_is_written(data, tmp_path, capsys):
    save(tmp_path / "cams", "odd/a", of_psa("odd/a"))
    status, seeds = import_seeds(data, tmp_path / "cams")
    assert status == 1
    assert "no CAM for 2 images of split 'train': 2007_000001, 2007_000002;" in capsys.readouterr().err
    assert not seeds.parent.exists()


def test_another_import_into_the_same_folder_is_refused(data, tmp_path, capsys):
    for image_id in TRAIN:
        save(tmp_path / "cams", image_id, of_psa(image_id))
    assert import_seeds(data, tmp_path / "cams")[0] == 0
    assert import_seeds(data, tmp_path / "cams")[0] == 0
    assert import_seeds(data, tmp_path / "cams", "--normalize")[0] == 1
    assert "normalize" in capsys.readouterr().err


def import_masks(data, folder):
    out = folder.parent / "stage"
    words = ["import", "masks", "--masks", str(folder), "--data", str(data), "--split", "val"]
    return main([*words, "--out", str(out)]), out / "masks"


def test_grey_masks_become_indexed_ones(data, tmp_path):
    (tmp_path / "theirs" / "odd").mkdir(parents=True)
    Image.fromarray(truth(VAL[0])).save(tmp_path / "theirs" / f"{VAL[0]}.png")
    status, masks = import_masks(data, tmp_path / "theirs")
    assert status == 0
    np.testing.assert_array_equal(read_mask(masks / f"{VAL[0]}.png"), truth(VAL[0]))
    with Image.open(masks / f"{VAL[0]}.png") as image:
        assert image.mode == "P"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask.T, "is 61x90 (height x width), the image 'odd/b' is 90x61"),
        (lambda mask: mask + np.uint8(18), "holds the values [21, 25]; expected 0 (background), 1..20"),
        (lambda mask: np.stack([mask] * 3, axis=2), "is a RGB image"),
        (None, "has no mask for 1 images of split 'val': odd/b"),
    ],
)
def test_masks_that_do_not_fit_are_refused(data, tmp_path, change, message, capsys):
    (tmp_path / "theirs" / "odd").mkdir(parents=True)
    if change is not None:
        Image.fromarray(np.ascontiguousarray(change(truth(VAL[0])))).save(
            tmp_path / "theirs" / f"{VAL[0]}.png"
        )
    status, masks = import_masks(data, tmp_path / "theirs")
    assert status == 1
    assert message in capsys.readouterr().err
    assert not (masks.parent / "stage.json").exists()
