"""Annotation files of other tools: what is mended, what is refused and how it is named."""

import json

import numpy as np
import paths_of_real_data as real
import pytest
from PIL import Image
from pycocotools import mask as rle

from wsss_bench.data.check import check
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.coco_segmentation import area_of, compact, decode, fault_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CAR = 5  # mask value
SQUARE = [4, 4, 14, 4, 14, 14, 4, 14]
NOTHING = object()


@pytest.fixture
def edit(coco_root):
    """Change the annotation file of the training split: `edit(function of its content)`."""
    path = coco_root / "annotations" / "instances_train2014.json"

    def change(function):
        content = json.loads(path.read_text())
        content = function(content) or content
        path.write_text(json.dumps(content))
        return COCO(coco_root, vocabulary="mini")

    return change


def entry(kind, number, **values):
    """A change of one entry: new values, or `NOTHING` to remove a key."""

    def change(content):
        (found,) = (one for one in content[kind] if one["id"] == number)
        for key, value in values.items():
            found.pop(key, None)
            if value is not NOTHING:
                found[key] = value

    return change


def image(**values):
    return entry("images", 1, **values)


def annotation(**values):
    return entry("annotations", 1, **values)


def runs(segmentation):
    return entry("annotations", 3, segmentation=segmentation)


def add(kind, **values):
    return lambda content: content[kind].append(values)


def copy_picture(coco_root, old, new):
    target = coco_root / "train2014" / new
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes((coco_root / "train2014" / old).read_bytes())


IMAGE = "COCO_train2014_000000000001"


# mended


@pytest.mark.parametrize("area", [NOTHING, None, 0, -1, "36", float("nan"), True])
def test_a_missing_area_is_computed_from_the_segmentation(edit, coco_root, area):
    expected = COCO(coco_root, vocabulary="mini").mask(IMAGE)

    def change(content):
        for item in content["annotations"]:
            entry("annotations", item["id"], area=area)(content)

    np.testing.assert_array_equal(edit(change).mask(IMAGE), expected)


def test_computed_areas_are_those_of_the_authors():
    """Polygons: the shoelace formula gives the published `area`; run lengths: the number of pixels."""
    assert area_of([np.array(SQUARE, float)]) == 100
    assert area_of({"size": [30, 40], "counts": [5, 7, 1188]}) == 7
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[3:9, 10:30] = 1
    assert area_of(rle.encode(mask)) == 120


def roboflow(content):
    """The project is a category too, here under the name of a class."""
    for category in content["categories"]:
        category["supercategory"] = "boat"
    content["categories"].insert(0, {"id": 0, "name": "boat", "supercategory": "none"})


@pytest.mark.parametrize(
    "change",
    [
        annotation(iscrowd=NOTHING),
        annotation(iscrowd=None),
        annotation(iscrowd=False),
        image(height=NOTHING, width=NOTHING),
        image(height=None, width=None),
        image(height=30.0, width=40.0),
        annotation(bbox=NOTHING),
        annotation(segmentation=[12, 12, 18, 12, 18, 18, 12, 18]),
        annotation(segmentation=[[12, 12, 18, 12, 18, 18, 12, 18], [1, 1], [], [3, 3, 9, 9]]),
        annotation(attributes={"occluded": False}, ignore=0, score=0.5),
        add("categories", id=0, name="objects", supercategory="none"),
        roboflow,
        lambda content: content.pop("info", None),
    ],
)
def test_what_is_clear_is_read(edit, coco_root, change):
    expected = COCO(coco_root, vocabulary="mini")
    expected = expected.ids("train"), expected.mask(IMAGE), expected.labels(IMAGE)
    source = edit(change)
    assert source.ids("train") == expected[0]
    np.testing.assert_array_equal(source.mask(IMAGE), expected[1])
    np.testing.assert_array_equal(source.labels(IMAGE), expected[2])


def test_run_lengths_compressed_or_not_give_the_same_mask(edit):
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[12:18, 12:18] = 1
    compressed = rle.encode(mask)
    text = {"size": compressed["size"], "counts": compressed["counts"].decode()}
    plain = {"size": [30, 40], "counts": [12 * 30 + 12, *[6, 24] * 5, 6, 1200 - 372 - 150 - 6]}
    found = [
        edit(annotation(segmentation=one)).mask(IMAGE) == CAR
        for one in (text, plain, [[12, 12, 18, 12, 18, 18, 12, 18]])
    ]
    np.testing.assert_array_equal(found[0], mask)
    np.testing.assert_array_equal(found[1], mask)
    np.testing.assert_array_equal(found[2], mask)


@pytest.mark.parametrize("seed", range(20))
def test_the_check_of_compressed_run_lengths_knows_every_valid_one(seed):
    random = np.random.default_rng(seed)
    height, width = (int(n) for n in random.integers(1, 400, 2))
    mask = np.asfortranarray(
        random.random((height, width)) < random.choice([0.0, 1e-4, 0.01, 0.5, 1.0]), np.uint8
    )
    encoded = rle.encode(mask)
    text = encoded["counts"].decode()
    assert fault_of({"size": [height, width], "counts": text}, height, width) == ""
    assert fault_of({"size": [height, width], "counts": text[:-1]}, height, width) != ""
    assert fault_of({"size": [height, width], "counts": text + "1"}, height, width) != ""


def test_an_object_without_area_is_listed_by_the_check(edit):
    source = edit(annotation(segmentation=[[12, 12, 18, 12]]))
    findings = check(source, {"train_split": "train", "eval_splits": ["val"], "counts": {}}, "train")
    assert findings.problems == []
    (sentence,) = findings.left_out
    assert (
        "annotation 1 of image 'COCO_train2014_000000000001.jpg' has only polygons of one or two" in sentence
    )


# refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["annotations"], "holds a list, like a file of results; expected an object"),
        (lambda content: content.pop("categories") and None, "has no list 'categories'"),
        (lambda content: content.pop("annotations") and None, "has no list 'annotations'"),
        (lambda content: {**content, "images": None}, "has no list 'images'"),
        (lambda content: {**content, "images": ["a.jpg"]}, r"image 0 \(from 0\) has the id None"),
        (image(id=None), r"image \d \(from 0\) has the id None; expected an integer"),
        (image(file_name=NOTHING), "image 1 has the file_name None"),
        (image(file_name="../secret.jpg"), r"file_name of image 1: '\.\./secret\.jpg' is no path"),
        (image(file_name="/etc/passwd"), "file_name of image 1: '/etc/passwd' is no path"),
        (image(file_name="a\\b.jpg"), "file_name of image 1: .* with / between folders"),
        (image(height="30"), r"image 1 \('COCO.*jpg'\) has height '30' and width 40"),
        (image(height=0), "image 1 .* has height 0"),
        (image(height=30.5), "image 1 .* has height 30.5"),
        (add("images", id=1, file_name="b.jpg", height=30, width=40), "lists image 1 twice"),
        (
            add("images", id=9, file_name="COCO_train2014_000000000001.jpg", height=30, width=40),
            "the images 1 .* and 9 .* have the same id 'COCO_train2014_000000000001'",
        ),
        (
            add("images", id=9, file_name="COCO_train2014_000000000001.png", height=30, width=40),
            r"the images 1 .*1\.jpg'\) and 9 .*1\.png'\) have the same id",
        ),
        (annotation(image_id=99), "annotation 1 has the image_id 99, which is not listed in images"),
        (annotation(image_id="1"), "annotation 1 has the image_id '1', which is not listed"),
        (annotation(image_id=[1]), r"annotation 1 has the image_id \[1\], which is not listed"),
        (annotation(category_id=99), "annotation 1 of image 'COCO.*jpg' has the category_id 99, which"),
        (annotation(category_id=NOTHING), "annotation 1 .* has the category_id None"),
        (annotation(iscrowd="yes"), "annotation 1 .* has iscrowd 'yes'; expected 0 or 1"),
        (entry("annotations", 2, id=1), "lists annotation 1 twice"),
        (entry("annotations", 2, id=NOTHING), r"annotation 1 \(from 0\) has the id None"),
        (annotation(segmentation=NOTHING), r"annotation 1 of image .* has no segmentation \(a box"),
        (annotation(segmentation=[]), "annotation 1 .* has no segmentation"),
        (annotation(segmentation=None), "annotation 1 .* has no segmentation"),
        (annotation(segmentation=[[]]), "annotation 1 .* has only empty polygons"),
        (annotation(segmentation=[None]), "annotation 1 .* has a polygon that is no list of numbers"),
        (annotation(segmentation="mask.png"), "annotation 1 .* has a segmentation of type str"),
        (annotation(segmentation=[[1, 2, 3, 4, 5, None]]), "annotation 1 .* from x, y = .*nan"),
        (annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 1 .* a polygon of 7 numbers"),
        (annotation(segmentation=[["a", "b"]]), "annotation 1 .* no list of numbers"),
        (annotation(segmentation=[{"x": 1, "y": 2}]), "annotation 1 .* no list of numbers"),
        (annotation(segmentation=[[[1, 2], [3, 4], [1, 4]]]), r"annotation 1 .* points \[\[x, y\], ...\]"),
        (annotation(segmentation=[[1, 2], [3, 4], [1, 4]]), r"annotation 1 .* a list of points \[x, y\]"),
        (annotation(segmentation=[[50, 2, 60, 2, 60, 9]]), "annotation 1 .* outside its image of 40x30"),
        (annotation(segmentation=[SQUARE, [1, -9, 9, -9, 9, -2]]), "annotation 1 .* outside its image"),
        (runs({"size": [40, 30], "counts": [1200]}), r"annotation 3 .* size \[40, 30\]"),
        (runs({"size": [30, 40], "counts": [7, 3]}), "annotation 3 .* of 10 pixels"),
        (runs({"size": [30, 40], "counts": [-1, 1201]}), "annotation 3 .* be decoded"),
        (runs({"size": [30, 40], "counts": "o"}), "annotation 3 .* cannot be decoded"),
        (runs({"size": [30, 40], "counts": "\x01\x02"}), "annotation 3 .* be decoded"),
        (runs({"size": [30, 40], "counts": 5}), "annotation 3 .* neither a list"),
        (runs({"counts": [1200]}), "annotation 3 .* run lengths without size"),
        (add("categories", id=2, name="tree"), "lists category 2 twice"),
        (add("categories", id=99, name="bird"), "category 99 has the name 'bird'; expected one of its own"),
        (add("categories", id=99), "category 99 has the name None"),
    ],
)
def test_what_cannot_be_used_is_named(edit, change, message):
    source = edit(change)
    with pytest.raises(ValueError, match=r"(?s)instances_train2014\.json.*" + message):
        source.ids("train")


@pytest.mark.parametrize(
    ("height", "width", "message"),
    [
        (40, 30, r"1\.jpg' is 40x30 \(height x width\), the picture is 30x40 \(height and width exchanged\)"),
        (60, 80, r"1\.jpg' is 60x80 \(height x width\), the picture is 30x40; correct"),
    ],
)
def test_sizes_are_compared_with_the_pictures(edit, height, width, message):
    def change(content):
        image(height=height, width=width)(content)
        content["annotations"] = content["annotations"][:2]  # run lengths have a size of their own

    source = edit(change)
    with pytest.raises(ValueError, match=r"instances_train2014\.json says that .*" + message):
        source.ids("train")
    with pytest.raises(ValueError, match=message):
        source.mask(IMAGE)


def test_shares_of_the_image_are_no_pixels(edit):
    def change(content):
        content["annotations"] = content["annotations"][:1]
        content["annotations"][0]["segmentation"] = [[0.1, 0.2, 0.5, 0.2, 0.5, 0.7]]

    with pytest.raises(
        ValueError, match="coordinates from 0 to 1, like shares of the image; expected pixels"
    ):
        edit(change).ids("train")


def test_crowds_alone_give_no_image(edit):
    def change(content):
        for number in (1, 2):
            entry("annotations", number, iscrowd=1)(content)

    with pytest.raises(
        ValueError, match=r"none of the 2 images of .* has an object of a class \(crowd regions"
    ):
        edit(change).ids("train")


def test_five_faults_are_named_and_the_others_counted(edit):
    def change(content):
        for number in range(50, 60):
            content["annotations"].append({"id": number, "image_id": 1, "category_id": 99})

    with pytest.raises(ValueError, match=r"annotation 50 .*; annotation 54 [^;]*; 5 more\. Correct these"):
        edit(change).ids("train")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000], ids=["empty", "cut", "utf-16", "deep"]
)
def test_a_file_that_is_no_json_is_named(coco_root, content):
    (coco_root / "annotations" / "instances_train2014.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"instances_train2014\.json"):
        COCO(coco_root, vocabulary="mini").ids("train")


def test_a_byte_order_mark_is_skipped(coco_root):
    path = coco_root / "annotations" / "instances_train2014.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert COCO(coco_root, vocabulary="mini").ids("train") == [IMAGE]


def test_boxes_are_enough_where_masks_are_prepared(edit, coco_root):
    edit(annotation(segmentation=NOTHING, area=NOTHING))
    source = COCO(coco_root, vocabulary="mini", masks=str(coco_root))
    assert source.ids("train") == [IMAGE]
    assert source.labels(IMAGE)[CAR - 1] == 1


def test_an_id_of_two_splits_names_one_image(coco_root):
    val = coco_root / "annotations" / "instances_val2014.json"
    content = json.loads(val.read_text())
    content["images"][0]["file_name"] = f"{IMAGE}.jpg"
    val.write_text(json.dumps(content))
    picture = (coco_root / "val2014" / "COCO_val2014_000000000004.jpg").read_bytes()
    (coco_root / "val2014" / f"{IMAGE}.jpg").write_bytes(picture)
    source = COCO(coco_root, vocabulary="mini")
    source.ids("train")
    with pytest.raises(ValueError, match=f"the image id '{IMAGE}' is in the splits 'val' and 'train'"):
        source.ids("val")


def test_the_same_image_may_be_in_two_splits(coco_root):
    content = (coco_root / "annotations" / "instances_train2014.json").read_text()
    (coco_root / "annotations" / "instances_few2014.json").write_text(content)
    (coco_root / "few2014").symlink_to("train2014")
    source = COCO(coco_root, vocabulary="mini")
    assert source.ids("train") == source.ids("few") == [IMAGE]


# names with folders, and other formats than jpg


def test_file_names_with_folders_and_of_any_format(edit, coco_root):
    copy_picture(coco_root, f"{IMAGE}.jpg", "north/a.jpg")
    with Image.open(coco_root / "train2014" / f"{IMAGE}.jpg") as picture:
        picture.save(coco_root / "train2014" / "a.png")

    def change(content):
        content["images"] += [
            {"id": 20, "file_name": "north/a.jpg", "height": 30, "width": 40},
            {"id": 21, "file_name": "a.png", "height": 30, "width": 40},
        ]
        content["annotations"] += [
            {"id": 20 + k, "image_id": 20 + k, "category_id": 2 + k, "segmentation": [SQUARE]} for k in (0, 1)
        ]

    source = edit(change)
    assert source.ids("train") == [IMAGE, "north/a", "a"]
    fresh = COCO(coco_root, vocabulary="mini")
    assert fresh.labels("a").nonzero()[0].tolist() == [1]
    assert fresh.labels("north/a").nonzero()[0].tolist() == [0]
    assert fresh.image("a").shape == (30, 40, 3)


# a subset of the categories


@pytest.mark.parametrize(("other", "value"), [("background", 0), ("ignored", 255)])
def test_other_categories_become_background_or_ignored(coco_root, other, value):
    (coco_root / "classes.txt").write_text("car\nbird\n")
    source = COCO(coco_root, vocabulary="classes.txt", other_categories=other)
    everything = COCO(coco_root, vocabulary="mini").mask(IMAGE)
    named = np.full(256, value, np.uint8)
    named[[0, CAR, 255]] = 0, 1, 255
    expected = named[everything]
    np.testing.assert_array_equal(source.mask(IMAGE), expected)
    assert source.labels(IMAGE).tolist() == [1, 0]  # the boat gives no label
    assert source.ids("val") == ["COCO_val2014_000000000004"]
    assert "6 of 8 categories are no class and become" in source.left_out[0]


def test_background_is_the_default_and_images_without_the_classes_are_unlabelled(coco_root):
    (coco_root / "classes.txt").write_text("car\n")
    source = COCO(coco_root, vocabulary="classes.txt")
    assert source.other_categories == "background"
    with pytest.raises(ValueError, match="split 'val' is empty: none of the 1 images"):
        source.ids("val")  # it shows a bird only
    assert COCO(coco_root, vocabulary="classes.txt", labelled_only=False).ids("val")


def test_a_class_that_is_no_category_names_the_nearest(coco_root):
    (coco_root / "classes.txt").write_text("car\nbirds\n")
    with pytest.raises(ValueError, match=r"1 classes are missing, first 'birds' \(nearest known names: bird"):
        COCO(coco_root, vocabulary="classes.txt").ids("train")


# captions


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ({"id": 1, "image_id": 77, "caption": "x"}, "annotation 1 has the image_id 77"),
        ({"id": 1, "image_id": 4, "caption": None}, "annotation 1 .* the caption None"),
        ({"id": 1, "image_id": 4}, "annotation 1 .* the caption None"),
        ({"id": 1, "image_id": 4, "caption": " "}, "annotation 1 .* the caption ' '"),
        ({"image_id": 4, "caption": "x"}, "annotation 0 .from 0. has the id None"),
    ],
)
def test_captions_that_cannot_be_used(coco_root, caption, message):
    path = coco_root / "annotations" / "captions_val2014.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": [caption]}))
    with pytest.raises(ValueError, match=r"captions_val2014\.json: " + message):
        COCO(coco_root, vocabulary="mini").captions("COCO_val2014_000000000004")


# photographs


@real.needs("coco_tiny/annotations")
@pytest.mark.parametrize(("name", "split"), [("coco_tiny", "val"), ("tiny_coco", "train")])
def test_areas_of_photographs_are_the_published_ones(name, split):
    path = real.ROOT / name / "annotations" / f"instances_{split}2017.json"
    for item in json.loads(path.read_text())["annotations"]:
        if not item["iscrowd"]:
            assert area_of(compact(item["segmentation"])) == pytest.approx(item["area"], rel=0.02, abs=2)


@real.needs("coco_tiny/annotations")
def test_a_subset_of_the_categories_of_photographs(tmp_path):
    (tmp_path / "classes.txt").write_text("dog\nperson\n")
    root = real.ROOT / "coco_tiny"
    everything = COCO(root, 2017)
    some = COCO(root, 2017, vocabulary=str(tmp_path / "classes.txt"))
    ids = some.ids("val")
    assert set(ids) < set(everything.ids("val"))
    for image_id in ids[:8]:
        mask = everything.mask(image_id)
        expected = np.select([mask == 17, mask == 1, mask == 255], [1, 2, 255], 0)
        np.testing.assert_array_equal(some.mask(image_id), expected)


@pytest.mark.parametrize("kind", ["polygons", "two parts", "compressed", "counts", "everything", "nothing"])
def test_objects_are_painted_as_pycocotools_decodes_them(kind):
    rng = np.random.default_rng(len(kind))
    height, width = 37, 53
    for _ in range(20):
        polygons = [rng.uniform(-5, 60, 2 * rng.integers(3, 9)) for _ in range(1 + (kind == "two parts"))]
        pixels = {"everything": 1, "nothing": 0}.get(kind, rng.random((height, width)) < 0.4)
        encoded = rle.encode(np.asfortranarray(np.broadcast_to(pixels, (height, width)), np.uint8))
        columns = np.asarray(pixels * np.ones((height, width), int)).T.ravel()
        changes = np.flatnonzero(np.diff(columns, prepend=0, append=2))
        counts = np.diff(changes, prepend=0).tolist()
        segmentation = {
            "polygons": polygons,
            "two parts": polygons,
            "counts": {"size": [height, width], "counts": counts},
        }.get(kind, encoded)
        assert not fault_of(segmentation, height, width)
        if isinstance(segmentation, list):
            encoded = rle.merge(rle.frPyObjects(polygons, height, width))
        np.testing.assert_array_equal(decode(segmentation, height, width), rle.decode(encoded))
