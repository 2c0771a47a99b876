"""`wsss-bench data init`: what it writes for own images, that the check is content, and that methods plan."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from wsss_bench.artifacts.files import write_mask
from wsss_bench.crf import densecrf
from wsss_bench.data.command import main
from wsss_bench.data.init.splits import splits_of
from wsss_bench.data.sources.tables import TableRow
from wsss_bench.methods.clims.prompts import Prompts, background_nouns_naming_a_class, clims_prompts
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError
from wsss_bench.vocabulary.class_texts import background_texts, class_texts

CLASSES = ["house_cat", "dog", "tree"]
NUMBER = 12


def classes_of(k):
    return [CLASSES[c] for c in sorted({k % 3, k // 3 % 3})]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Pictures of two sizes, a quarter of them in a linked folder, and a table in a working folder."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pictures" / "linked").symlink_to(tmp_path / "elsewhere")
    lines = ["image,classes"]
    for k in range(NUMBER):
        name = f"linked/{k}.jpg" if k % 4 == 0 else f"{k}.JPG"
        Image.new("RGB", (50, 37) if k % 2 else (37, 50), (10 * k, 90, 90)).save(tmp_path / "pictures" / name)
        lines.append(f'{name},"{",".join(classes_of(k))}"')
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def masks(root, numbers=range(NUMBER), value=lambda name: sorted(CLASSES).index(name) + 1):
    for k in numbers:
        mask = np.zeros((37, 50) if k % 2 else (50, 37), np.uint8)
        for n, name in enumerate(classes_of(k)):
            mask[10 * n : 10 * n + 8, 5:20] = value(name)
        write_mask(root / "masks", f"linked/{k}" if k % 4 == 0 else str(k), mask)
    return root / "masks"


def init(root, *options, labels="labels.csv"):
    arguments = ["--images", str(root / "pictures"), "--labels", str(root / labels), "--name", "pets"]
    return main(["init", *arguments, *map(str, options)])


def test_images_without_labels_are_sent_to_the_page_that_needs_none(own):
    with pytest.raises(ConfigError, match=r"--labels is missing: .* columns image,classes.*own_images\.md"):
        main(["init", "--images", str(own / "pictures")])
    assert not list(Path().iterdir())


def protocol():
    return yaml.safe_load(Path("configs/data/pets.yaml").read_text())["protocol"]


def test_every_method_of_image_labels_plans_on_what_is_written(own, capsys):
    assert init(own, "--masks", masks(own)) == 0
    assert "mask values: 1 dog, 2 house_cat, 3 tree" in capsys.readouterr().out
    assert protocol()["counts"] == {"train": 10, "val": 2}
    assert (protocol()["unscored"], protocol()["holdout"]) == ([], 1)
    plan = make_plan(Path("experiments/pets.yaml"), Path("runs"))
    methods = {product.cell.row for product in plan.products}
    frozen_clip = {"clip_es", "excel_static", "weclip", "excel", "clip_zeroshot"}
    assert methods == {"cam", "clims", "mcis", "toco", "dalnet", *frozen_clip, "supervised"}
    assert all(product.evaluate or product.missing.startswith("no ") for product in plan.products)
    config = {stage.title: stage.config for stage in plan.stages.values() if stage.kind in ("train", "seed")}
    classes = ("dog", "house_cat", "tree")
    prompts = clims_prompts(Prompts(**config["clims-pets-s0"]["model"]["init_args"]["prompts"]), classes)
    assert prompts.classes == ["dog", "house cat", "tree"]
    assert background_nouns_naming_a_class(prompts, classes) == []
    texts = config["dalnet-pets-s0"]["model"]["init_args"]["text"]
    assert class_texts(texts["fg_set"], classes, "key") == ["dog", "house cat", "tree"]
    assert "tree" not in background_texts(texts["bg_set"])
    for name in ("clip_es", "weclip", "excel", "excel_static"):
        texts = config[f"{name}-pets-s0"]["model"]["init_args"]["texts"]
        assert class_texts(texts["classes"], classes, "key") == ["dog", "house cat", "tree"], name
        assert "tree" not in background_texts(texts["backgrounds"])
    words = config["clip_zeroshot-pets-s0"]["model"]["init_args"]["prompt_names"]
    assert words == {"house_cat": "house cat"}


@pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")
def test_without_masks_nothing_is_scored_and_the_plan_says_so(own, capsys):
    assert init(own) == 0
    assert "without masks: train, val" in capsys.readouterr().out
    assert (protocol()["unscored"], protocol()["holdout"]) == (["train", "val"], 0)
    plan = make_plan(Path("experiments/pets.yaml"), Path("runs"))
    assert {product.missing for product in plan.products} <= {"no masks", "no crf"}
    assert {stage.kind for stage in plan.stages.values()} >= {"train", "seed", "refine", "segment", "predict"}
    assert not any(stage.kind == "evaluate" for stage in plan.stages.values())
    assert not any(read.part == "masks" for read in plan.data)
    assert "supervised" not in {product.cell.row for product in plan.products}


def test_images_with_masks_are_evaluated_where_others_have_none(own):
    assert init(own, "--masks", masks(own, (1, 4, 6))) == 0
    table = Path("configs/data/pets/labels.csv").read_text()
    assert sorted(line.split(",")[0] for line in table.split() if line.endswith("val")) == [
        "1.JPG",
        "6.JPG",
        "linked/4.jpg",
    ]
    assert protocol()["unscored"] == ["train"]
    plan = make_plan(Path("experiments/pets.yaml"), Path("runs"), methods=["toco"])
    assert [(product.kind, bool(product.evaluate)) for product in plan.products] == [
        ("seed", False),
        ("segmentation", True),
    ]


def test_splits_and_classes_of_the_user_are_read_where_they_are(own):
    rows = (own / "labels.csv").read_text().split("\n")
    split = [f"{row},{'test' if k > 9 else 'train'}" for k, row in enumerate(rows[1:])]
    (own / "split.csv").write_text("\n".join(["image,classes,split", *split]))
    (own / "order.txt").write_text("\n".join(CLASSES))
    folder = masks(own, value=lambda name: CLASSES.index(name) + 1)
    assert init(own, "--masks", folder, "--classes", own / "order.txt", labels="split.csv") == 0
    assert not Path("configs/data/pets").exists()
    content = yaml.safe_load(Path("configs/data/pets.yaml").read_text())
    assert content["data"]["source"]["init_args"]["labels"] == str(own / "split.csv")
    assert content["data"]["val_split"] == "test"
    assert content["protocol"]["eval_splits"] == ["test"]
    with pytest.raises(ValueError, match="--val-fraction is given, but the table has the splits train, test"):
        init(own, "--val-fraction", 0.5, "--into", "other", labels="split.csv")


def test_binary_masks_are_refused_with_an_option_that_reads_them(own, capsys):
    table = (own / "labels.csv").read_text().split("\n")
    (own / "dogs.csv").write_text("\n".join([table[0], *(f"{row.split(',')[0]},dog" for row in table[1:])]))
    folder = masks(own, value=lambda name: 255)
    assert init(own, "--masks", folder, labels="dogs.csv") == 1
    assert "mask_values: {255: 1}" in capsys.readouterr().out
    assert init(own, "--masks", folder, "--mask-values", "255=1", "--into", "other", labels="dogs.csv") == 0


def test_below_the_data_folder_paths_can_be_moved(own, monkeypatch):
    monkeypatch.setenv("WSSS_DATA", str(own))
    assert init(own) == 0
    assert "images: ${WSSS_DATA}/pictures\n" in Path("configs/data/pets.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--name", "voc"], ConfigError, "there is a data set 'voc' already .*remove its files first"),
        (["--name", "my.pets"], ConfigError, "small letters, digits and _"),
        (["--masks", "absent"], FileNotFoundError, "--masks: there is no folder absent"),
        (["--masks", "."], ValueError, "has no mask of an image"),
        (["--val-fraction", "1"], ValueError, "--val-fraction is 1"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(own, options, error, message):
    with pytest.raises(error, match=message):
        init(own, *options)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["", "", "1.JPG,dog", "", "none.jpg,dog"], r"t\.csv, line 6: no image 'none\.jpg'"),
        (["1.JPG,dog", "", "2.JPG,cat", "1.JPG,dog"], r"t\.csv, line 5"),
        (["1.JPG,dog", "2.JPG,Dog"], r"column `classes` of .*t\.csv lists 'dog' more than once"),
        (["1.JPG,background", "2.JPG,dog"], r"column `classes` of .*t\.csv: 'background' is no class"),
    ],
)
def test_what_is_wrong_is_named_in_the_table_of_the_user(own, rows, message):
    """And not in the copies that are tried out, which are gone when the message is read."""
    (own / "t.csv").write_text("\n".join(["image,classes", *rows]))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        init(own, labels="t.csv")
    assert str(own / "t.csv") in str(caught.value)


def test_a_bad_table_writes_nothing_and_files_are_not_replaced(own):
    (own / "bad.csv").write_text("image,classes\n1.JPG,dog\nnone.jpg,dog\n")
    with pytest.raises(ValueError, match=r"bad\.csv|labels\.csv.*no image 'none\.jpg'"):
        init(own, labels="bad.csv")
    assert not list(Path().iterdir())
    assert init(own) == 0
    with pytest.raises(ConfigError, match=r"configs/data/pets\.yaml.* exist already; nothing is written"):
        init(own)


def test_the_draw_does_not_depend_on_the_order_of_the_rows():
    rows = [TableRow("", f"{k}.jpg", "cat", "train") for k in range(50)]
    split = dict(zip((row.image for row in rows), splits_of(rows, set(), None, 0), strict=True))
    turned = splits_of(rows[::-1], set(), None, 0)
    assert split == dict(zip((row.image for row in rows[::-1]), turned, strict=True))
    assert list(split.values()).count("val") == 10
    assert splits_of(rows, set(), None, 1) != splits_of(rows, set(), None, 0)
    with pytest.raises(ValueError, match="none would be left to train on"):
        splits_of(rows[:1], set(), None, 0)
    with pytest.raises(ValueError, match="no 'train'"):
        splits_of([row._replace(split="training") for row in rows], set(), None, 0)
