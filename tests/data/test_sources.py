import hashlib
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from wsss_bench import vocabulary
from wsss_bench.artifacts.files import write_mask
from wsss_bench.data.check import load_source
from wsss_bench.data.coco_masks import write_masks
from wsss_bench.data.sources.base import expand_root
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.files import DigestCache, listing_files
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC

# pycocotools has not followed numpy 2 in one place
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BOAT, CAR = 2, 4


def multi_hot(length, *classes):
    return [float(c in classes) for c in range(length)]


# roots


def test_root_variables_are_expanded_with_a_default_for_the_data_folder(monkeypatch):
    monkeypatch.delenv("WSSS_DATA", raising=False)
    assert str(expand_root("${WSSS_DATA}/mini/voc")) == "data/mini/voc"
    monkeypatch.setenv("WSSS_DATA", "/disk")
    assert str(expand_root("$WSSS_DATA/coco")) == "/disk/coco"


def test_unset_variable_in_a_root_is_named():
    with pytest.raises(ValueError, match="variable NOWHERE_SET, which is not set"):
        expand_root("${NOWHERE_SET}/voc")


@pytest.mark.parametrize("build", [VOC, COCO, Folder])
def test_wrong_root_names_the_setting(build, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.*does not exist.*data\.source\.init_args\.root"):
        build(tmp_path / "absent")


# vocabularies


def test_vocabularies_have_the_published_order():
    voc, coco = vocabulary.load("voc"), vocabulary.load("coco")
    assert (len(voc), voc[0], voc[14], voc[19]) == (20, "aeroplane", "person", "tvmonitor")
    assert (len(coco), coco[0], coco[11], coco[79]) == (80, "person", "stop sign", "toothbrush")
    assert vocabulary.templates("single") == ("a photo of a {}.",)
    assert len(vocabulary.templates("full_imagenet_80")) == 80


def test_unknown_vocabulary_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no vocabulary 'vok'; known: .*coco, .*mini, voc"):
        vocabulary.load("vok")


# VOC


def test_voc_reads_what_was_written(voc_root):
    source = VOC(voc_root, vocabulary="mini")
    assert source.ids("val") == [f"val_{k}" for k in range(5)]
    image = source.image("train_0")
    assert (image.shape, image.dtype) == ((40, 56, 3), np.uint8)
    assert image[10, 12, 0] > 180 > 60 > image[10, 12, 1]  # the first object is red
    mask = source.mask("train_0")
    assert mask.shape == (40, 56)
    assert set(np.unique(mask)) == {0, 1, 5, 255}


def test_voc_labels_count_difficult_objects_and_no_parts(voc_root):
    labels = VOC(voc_root, vocabulary="mini").labels("train_3")  # classes 3 and, marked difficult, 4
    assert labels.dtype == np.float32
    assert labels.tolist() == multi_hot(8, 3, 4)


def test_voc_parses_an_annotation_once_and_hands_out_copies(voc_root):
    source = VOC(voc_root, vocabulary="mini")
    source.labels("train_3")[:] = 7
    (voc_root / "Annotations" / "train_3.xml").unlink()
    assert source.labels("train_3").tolist() == multi_hot(8, 3, 4)


def test_voc_reads_masks_from_the_folder_that_is_asked_for(voc_root):
    write_mask(voc_root / "SegmentationClassAug", "train_0", np.full((40, 56), 2, np.uint8))
    assert VOC(voc_root, "mini", masks="SegmentationClassAug").mask("train_0").min() == 2
    with pytest.raises(FileNotFoundError, match=r"has no mask .*SegmentationClassAug.train_1\.png"):
        VOC(voc_root, "mini", masks="SegmentationClassAug").mask("train_1")


def test_voc_masks_by_split_come_from_the_first_list_that_names_the_image(voc_root):
    folders = {"train": "SegmentationClass", "val": "SegmentationClass", "train_aug": "SegmentationClassAug"}
    lists = voc_root / "ImageSets" / "Segmentation"
    lists.joinpath("train.txt").write_text("train_0\ntrain_1\n")
    for k in (0, 2):
        write_mask(voc_root / "SegmentationClassAug", f"train_{k}", np.full((40, 56), 2, np.uint8))
    source = VOC(voc_root, "mini", masks=folders)
    assert set(np.unique(source.mask("train_0"))) == {0, 1, 5, 255}
    assert source.mask("train_2").min() == 2
    assert source.mask_file("val_0") == voc_root / "SegmentationClass" / "val_0.png"
    (voc_root / "SegmentationClass" / "train_0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no mask .*SegmentationClass.train_0\.png"):  # not SBD's
        source.mask("train_0")
    with pytest.raises(ValueError, match=r"'other' .*in none of the splits train, val, train_aug"):
        source.mask("other")


def test_voc_images_of_cameras_may_have_upper_case_suffixes(voc_root):
    (voc_root / "JPEGImages" / "val_0.jpg").rename(voc_root / "JPEGImages" / "val_0.JPG")
    source = VOC(voc_root, vocabulary="mini")
    assert source.ids("val")[0] == "val_0"
    assert source.image("val_0").shape == (40, 56, 3)
    assert source.files("val", "images")[0].paths[0].name == "val_0.JPG"


def test_voc_split_with_an_absent_image_names_list_and_id(voc_root):
    split = voc_root / "ImageSets" / "Segmentation" / "val.txt"
    split.write_text("val_0\nval_9\n")
    with pytest.raises(ValueError, match=r"val\.txt lists 1 of 2 images.*first 'val_9'"):
        VOC(voc_root, vocabulary="mini").ids("val")


def test_voc_empty_repeated_and_unknown_splits(voc_root):
    splits = voc_root / "ImageSets" / "Segmentation"
    source = VOC(voc_root, vocabulary="mini")
    splits.joinpath("empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="split 'empty' is empty"):
        source.ids("empty")
    splits.joinpath("twice.txt").write_text("val_0\nval_1\nval_0\n")
    with pytest.raises(ValueError, match="lists val_0 more than once"):
        source.ids("twice")
    with pytest.raises(FileNotFoundError, match=r"no split 'tset'.*train, train_aug, twice, val"):
        source.ids("tset")


def test_voc_class_outside_the_vocabulary_names_file_and_class(voc_root):
    path = voc_root / "Annotations" / "train_0.xml"
    path.write_text(path.read_text().replace("aeroplane", "airplane"))
    with pytest.raises(ValueError, match=r"train_0\.xml names the class 'airplane'.*'mini'.*aeroplane"):
        VOC(voc_root, vocabulary="mini").labels("train_0")


def test_voc_image_without_annotation(voc_root):
    (voc_root / "Annotations" / "val_1.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"'val_1' has no annotation .*val_1\.xml"):
        VOC(voc_root, vocabulary="mini").labels("val_1")


def test_truncated_jpeg_is_named(voc_root):
    path = voc_root / "JPEGImages" / "train_2.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"train_2\.jpg cannot be decoded \(.*truncated"):
        VOC(voc_root, vocabulary="mini").image("train_2")


def test_mask_of_another_size_names_both(voc_root):
    write_mask(voc_root / "SegmentationClass", "val_0", np.zeros((56, 40), np.uint8))
    with pytest.raises(ValueError, match=r"val_0\.png is 56x40.*val_0\.jpg is 40x56"):
        VOC(voc_root, vocabulary="mini").mask("val_0")


def test_mask_with_unknown_values_lists_them(voc_root):
    mask = np.zeros((40, 56), np.uint8)
    mask[0, :3] = 9, 254, 255
    write_mask(voc_root / "SegmentationClass", "val_0", mask)
    with pytest.raises(ValueError, match=r"holds the values \[9, 254\].*1\.\.8"):
        VOC(voc_root, vocabulary="mini").mask("val_0")


def test_colour_mask_is_refused(voc_root):
    Image.new("RGB", (56, 40)).save(voc_root / "SegmentationClass" / "val_0.png")
    with pytest.raises(ValueError, match=r"val_0\.png is a RGB image; a mask is an indexed"):
        VOC(voc_root, vocabulary="mini").mask("val_0")


def test_voc_captions_come_from_an_optional_file(voc_root):
    with pytest.raises(ValueError, match="VOC has no caption for image 'train_0'"):
        VOC(voc_root, vocabulary="mini").captions("train_0")
    (voc_root / "captions.json").write_text(json.dumps({"train_0": ["a plane"]}))
    assert VOC(voc_root, vocabulary="mini").captions("train_0") == ("a plane",)


# COCO


def test_coco_masks_follow_the_rule(coco_root):
    mask = COCO(coco_root, vocabulary="mini").mask("COCO_train2014_000000000001")
    assert mask[15, 15] == CAR + 1  # the smaller object is on top, although the file lists it first
    assert mask[25, 20] == BOAT + 1
    assert mask[11, 32] == BOAT + 1  # an object hides a crowd
    assert mask[2, 35] == 255
    assert mask[0, 0] == 0


def test_coco_polygons_decode_as_pycocotools_decodes_them(coco_root):
    from pycocotools import mask as rle

    polygon = [12.0, 12.0, 18.0, 12.0, 18.0, 18.0, 12.0, 18.0]
    expected = rle.decode(rle.frPyObjects([polygon], 30, 40))[..., 0].astype(bool)
    mask = COCO(coco_root, vocabulary="mini").mask("COCO_train2014_000000000001")
    np.testing.assert_array_equal(mask == CAR + 1, expected)


def test_coco_labels_leave_crowds_out(coco_root):
    source = COCO(coco_root, vocabulary="mini", labelled_only=False)
    assert source.labels("COCO_train2014_000000000001").tolist() == multi_hot(8, BOAT, CAR)
    assert source.labels("COCO_train2014_000000000007").tolist() == multi_hot(8)


def test_coco_lists_with_and_without_unlabelled_images(coco_root):
    assert COCO(coco_root, vocabulary="mini").ids("train") == ["COCO_train2014_000000000001"]
    assert len(COCO(coco_root, vocabulary="mini", labelled_only=False).ids("train")) == 2


def test_coco_reads_each_json_once_and_only_the_one_that_is_needed(coco_root):
    source = COCO(coco_root, vocabulary="mini")
    (coco_root / "annotations" / "instances_train2014.json").write_text("broken")
    bird = source.mask("COCO_val2014_000000000004")
    np.testing.assert_array_equal(bird, np.pad(np.full((4, 4), 2), ((5, 21), (5, 31))))
    (coco_root / "annotations" / "instances_val2014.json").unlink()
    assert source.ids("val") == ["COCO_val2014_000000000004"]
    with pytest.raises(ValueError, match=r"instances_train2014\.json is not valid JSON"):
        source.ids("train")


def test_coco_says_nothing_on_stdout(coco_root, capfd):
    COCO(coco_root, vocabulary="mini").ids("train")
    assert capfd.readouterr() == ("", "")


def test_coco_captions(coco_root):
    captions = COCO(coco_root, vocabulary="mini").captions("COCO_val2014_000000000004")
    assert captions == ("caption 0 of 4", "caption 1 of 4")


def test_coco_vocabulary_must_be_the_categories(coco_root):
    with pytest.raises(ValueError, match=r"8 categories of .*not the 80 classes of vocabulary 'coco'"):
        COCO(coco_root).ids("train")


def test_coco_missing_split_and_missing_image(coco_root):
    with pytest.raises(
        FileNotFoundError, match=r"instances_test2014\.json does not exist.*instances_val2014"
    ):
        COCO(coco_root, vocabulary="mini").ids("test")
    (coco_root / "val2014" / "COCO_val2014_000000000004.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 1 images that are not in .*first 'COCO_val2014_000000000004\.jpg'"
    ):
        COCO(coco_root, vocabulary="mini").ids("val")


def test_coco_json_of_another_split_is_said_so(coco_root):
    for picture in (coco_root / "train2014").iterdir():
        picture.rename(picture.with_name(f"x{picture.name}"))
    with pytest.raises(ValueError, match=r"lists 1 of 1 images .*is it the json of another split"):
        COCO(coco_root, vocabulary="mini").ids("train")


def test_prepared_coco_masks_equal_the_decoded_ones(coco_root, tmp_path):
    decoded = COCO(coco_root, vocabulary="mini")
    digest = write_masks(decoded, "train", tmp_path / "masks", processes=1)
    prepared = COCO(coco_root, vocabulary="mini", masks=str(tmp_path / "masks"))
    image_id = "COCO_train2014_000000000001"
    mask = decoded.mask(image_id)
    np.testing.assert_array_equal(prepared.mask(image_id), mask)
    inner = hashlib.sha256(f"{image_id} 30 40\n".encode() + mask.tobytes()).digest()
    assert digest == hashlib.sha256(inner).hexdigest()
    assert (tmp_path / "masks" / "train.sha256").read_text().strip() == digest


# Folder


def test_folder_reads_grey_transparent_and_nested_pictures(folder_root):
    source = Folder(folder_root, masks="masks")
    assert source.class_names == ("cat", "dog")
    assert source.ids("train") == ["grey", "clear", "plain"]
    assert source.ids("val") == ["deep/one"]
    grey = source.image("grey")
    assert grey.shape == (20, 24, 3)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    np.testing.assert_array_equal(source.image("clear"), source.image("deep/one"))  # transparency is dropped
    assert [source.labels(i).tolist() for i in source.ids("train")] == [[1, 0], [1, 1], [0, 0]]
    assert source.mask("grey").sum() == 20


def test_folder_without_a_split_column_is_all_training(folder_root):
    (folder_root / "labels.csv").write_text("image,classes\ngrey.png,cat\nplain.jpg,dog\n")
    source = Folder(folder_root)
    assert source.ids("train") == ["grey", "plain"]
    with pytest.raises(ValueError, match="no split 'val'; splits there: train"):
        source.ids("val")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,classes\ngrey.png,cta\n", r"line 2: unknown class 'cta' \(nearest known names: cat\)"),
        ("image,classes\ngrey.png,cat\nnone.png,cat\n", r"line 3: no image 'none\.png'"),
        ("image,classes\nGrey.PNG,cat\n", r"line 2: no image 'Grey\.PNG' .*; there is 'grey\.png'"),
        ("image,classes\none.bmp,cat\n", r"line 2: no image 'one\.bmp' .*; there is 'deep/one\.bmp'"),
        ("image,classes\ngrey.png,cat\ngrey.png,dog\n", r"line 3: a second row or file for image 'grey'"),
        ("picture,label\ngrey.png,cat\n", r"has the columns \['picture', 'label'\]; expected image,classes"),
    ],
)
def test_folder_rejects_a_bad_table(folder_root, table, message):
    (folder_root / "labels.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        Folder(folder_root)


def test_folder_reads_masks_of_objects_painted_as_255(folder_root):
    write_mask(folder_root / "masks", "grey", np.eye(20, 24, dtype=np.uint8) * 255)
    assert Folder(folder_root, masks="masks", mask_values={255: 1, 0: 255}).mask("grey")[0, :2].tolist() == [
        1,
        255,
    ]
    config = {"root": str(folder_root), "masks": "masks", "mask_values": {"255": 1}}  # as a plan has it
    source = load_source({"class_path": "wsss_bench.data.sources.folder.Folder", "init_args": config})
    assert source.mask("grey").sum() == 20
    with pytest.raises(ValueError, match=r"mask_values \(256: 1\)"):
        Folder(folder_root, masks="masks", mask_values={256: 1})
    with pytest.raises(ValueError, match=r"holds the values \[7\]"):
        Folder(folder_root, masks="masks", mask_values={255: 7}).mask("grey")


def test_folder_takes_its_parts_from_anywhere(folder_root, tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES", str(folder_root))
    (tmp_path / "configs").mkdir()
    (folder_root / "classes.txt").rename(tmp_path / "configs" / "classes.txt")
    source = Folder(tmp_path / "configs", images="${PICTURES}/images", labels=str(folder_root / "labels.csv"))
    assert source.image("grey").shape == (20, 24, 3)
    names = listing_files(source.files("train", "lists"), DigestCache())
    assert names.keys() == {"labels.csv", "classes.txt"}  # where they are does not count


def test_folder_without_masks_says_what_to_set(folder_root):
    with pytest.raises(FileNotFoundError, match=r"set `data\.source\.init_args\.masks`"):
        Folder(folder_root).mask("grey")


def test_sixteen_bit_pictures_are_refused_rather_than_clipped(folder_root):
    Image.fromarray(np.full((20, 24), 40000, np.uint16)).save(folder_root / "images" / "grey.png")
    with pytest.raises(ValueError, match=r"grey\.png is a I(;16)? image; expected 8 bits"):
        Folder(folder_root).image("grey")


def test_pickles_are_never_read(folder_root, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    for name in ("labels.csv", "classes.txt"):
        (folder_root / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError):
        Folder(folder_root)
    assert not (tmp_path / "exploded").exists()
