"""Own classes by the path of a list, and lists that cannot be used."""

import numpy as np
import paths_of_real_data as real
import pytest

from wsss_bench import vocabulary
from wsss_bench.data.datamodule import WSSSDataModule
from wsss_bench.data.sources.class_lists import load_classes, read_class_list
from wsss_bench.data.sources.coco import COCO
from wsss_bench.data.sources.folder import Folder
from wsss_bench.data.sources.voc import VOC
from wsss_bench.stages.evaluate import evaluate


def test_a_name_is_a_vocabulary_and_a_path_is_a_list(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "classes.txt").write_text(
        "\ufeffcat\r\n\r\n# pets end here\r\nfire hydrant\r\n", "utf-8"
    )
    assert load_classes("voc", tmp_path) == vocabulary.load("voc")
    expected = ("cat", "fire hydrant")
    assert load_classes("classes.txt", tmp_path / "own") == expected  # beside the data
    assert load_classes(str(tmp_path / "own" / "classes.txt"), tmp_path / "elsewhere") == expected
    monkeypatch.setenv("OWN", str(tmp_path / "own"))
    assert load_classes("${OWN}/classes.txt", tmp_path) == expected
    monkeypatch.chdir(tmp_path)
    assert load_classes("own/classes.txt", tmp_path / "elsewhere") == expected
    tried = rf"neither {tmp_path}/own/own/none\.txt nor {tmp_path}/own/none\.txt exists; expected one"
    with pytest.raises(FileNotFoundError, match=tried):
        load_classes("own/none.txt", tmp_path / "own")
    with pytest.raises(FileNotFoundError, match=rf"exists; there is no folder {tmp_path}/absent; expected"):
        load_classes("classes.txt", tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no list of classes /none\.txt; expected one class name"):
        load_classes("/none.txt", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lists 0 names; expected 1 to 254"),
        ("\n \n", "lists 0 names"),
        ("cat\ndog\ncat\n", "lists 'cat' more than once"),
        ("cat\nCat\n", "lists 'cat' more than once"),
        ("background\ncat\n", "line 1: 'background' is no class; background is mask value 0"),
        ("cat\n\n _Background_ \n", "line 3: '_Background_' is no class"),
        ("cat\ndog;cow\n", "line 2: 'dog;cow' has a semicolon"),
        ("\n".join(f"class{k}" for k in range(255)), "lists 255 names; expected 1 to 254"),
        (b"cat\nk\xe4fer\n", "line 2: byte 0xe4 is not UTF-8"),
    ],
)
@pytest.mark.parametrize("layout", ["VOC", "COCO", "Folder"])
def test_a_list_that_cannot_be_used(request, layout, content, message):
    root = request.getfixturevalue(f"{layout.lower()}_root")
    (root / "classes.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    build = {"VOC": VOC, "COCO": COCO, "Folder": Folder}[layout]
    arguments = {} if layout == "Folder" else {"vocabulary": "classes.txt"}
    with pytest.raises(ValueError, match=r"classes\.txt.*" + message):
        build(root, **arguments)


def test_other_files_than_plain_lists_are_refused(tmp_path):
    (tmp_path / "classes.yaml").write_text("classes: [cat, dog]\n")
    with pytest.raises(ValueError, match=r"classes\.yaml is no plain list"):
        read_class_list(tmp_path / "classes.yaml")


def test_own_classes_in_the_layout_of_voc(voc_root):
    names = list(vocabulary.load("mini"))
    names[0] = "plane"
    (voc_root / "classes.txt").write_text("\n".join(names))
    for path in (voc_root / "Annotations").iterdir():
        path.write_text(path.read_text().replace("aeroplane", "plane"))
    own, shipped = VOC(voc_root, "classes.txt"), VOC(voc_root, "mini")
    assert own.class_names == tuple(names)
    assert own.labels("train_0").tolist() == [1, 0, 0, 0, 1, 0, 0, 0]
    np.testing.assert_array_equal(own.mask("train_0"), shipped.mask("train_0"))


@real.needs("msrc_voc/classes.txt")
def test_photographs_with_own_classes():
    root = real.ROOT / "msrc_voc"
    source = VOC(root, "classes.txt")
    assert (source.class_names[0], len(source.class_names)) == ("cow", 16)
    assert (len(source.ids("train")), len(source.ids("val"))) == (321, 270)
    image_id = source.ids("val")[0]
    shown = np.isin(np.arange(1, 17), source.mask(image_id))
    assert not (shown & (source.labels(image_id) == 0)).any()


@pytest.mark.parametrize("names", [("background", "cat"), ("cat", "dog", "cat")])
def test_classes_of_any_source_are_checked(folder_root, tmp_path, names):
    class Own(Folder):
        def __init__(self, root):
            super().__init__(root)
            self.class_names = names

    with pytest.raises(ValueError, match=r"class_names of Own(: 'background' is no class| lists 'cat' more)"):
        WSSSDataModule(Own(folder_root))
    with pytest.raises(ValueError, match="class_names of Own"):
        evaluate(Own(folder_root), "val", masks=tmp_path, resolved={})
