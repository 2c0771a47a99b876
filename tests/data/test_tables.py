"""Tables of labels and captions: every field of every row is accounted for."""

import pytest

from wsss_bench.data.command import main
from wsss_bench.data.sources.captions import CaptionTable
from wsss_bench.data.sources.folder import Folder

BAD_LABELS = [
    ("image,classes\ngrey.png,cat,dog\n", "line 2: 3 fields for the 2 columns .*separated by semicolons"),
    ("image,classes,split\ngrey.png,cat,dog\n", "line 2: the split is 'dog', which is a class"),
    ("image,classes,split\ngrey.png,cat,dog,train\n", "line 2: 4 fields for the 3 columns"),
    ("image,classes,split\ngrey.png,cat\n", "line 2: 2 fields for the 3 columns"),
    ("image,classes,spilt\ngrey.png,cat,val\n", "has the unknown column 'spilt'; expected image,classes"),
    ("image,classes,splits\ngrey.png,cat,val\n", "has the unknown column 'splits'"),
    ("image,classes,subset\ngrey.png,cat,val\n", "has the unknown column 'subset'"),
    ("image,classes,split,split\ngrey.png,cat,val,val\n", "has a column twice"),
    ("image,classes,split\ngrey.png,cat,\n", "line 2: the row has no split"),
    ("image,classes\ngrey.png,cat\n,dog\n", "line 3: the row names no image"),
    ("image,classes\ngrey.png\n", "line 2: 1 fields for the 2 columns"),
    (
        "image;classes\ngrey.png;cat;dog\n",
        "line 2: 3 fields for the 2 columns .*separated by commas, or stand",
    ),
    ("image|classes\ngrey.png|cat\n", r"has the columns \['image|classes'\]; expected .*separated by commas"),
    ("", r"has the columns \[\]"),
    ('image,classes\n"grey.png,cat\nplain.jpg,dog\n', "line 3: unexpected end of data; a field with a comma"),
    ("image,classes\ngrey.png,cat dog\n", "unknown class 'cat dog' .its words are classes: separate them"),
    ('image,classes\ngrey.png,"cat,dgo"\n', "unknown class 'cat,dgo'"),
    ("image,classes\n../own/images/grey.png,cat\n", r"no image '\.\./own/images/grey\.png'"),
    (b"image,classes\ngrey.png,c\xe4t\n", "line 2: byte 0xe4 is not UTF-8"),
    ("image,classes\ngrey.png,cat\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
    (b"image,classes\ngrey.png,cat\0\n", "line 2: a zero byte"),
]


@pytest.mark.parametrize(("content", "message"), BAD_LABELS)
def test_a_table_of_labels_that_loses_something(folder_root, content, message):
    (folder_root / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"(?s)labels\.csv.*" + message):
        Folder(folder_root)


def test_the_check_says_so_too(folder_root, tmp_path):
    (folder_root / "labels.csv").write_text("image,classes\ngrey.png,cat,dog\n")
    config = tmp_path / "own.yaml"
    config.write_text(
        "data: {source: {class_path: wsss_bench.data.sources.folder.Folder, "
        f"init_args: {{root: {folder_root}}}}}}}\n"
        "protocol: {dataset: own, train_split: train, eval_splits: [val], counts: {train: 1, val: 1}}\n"
    )
    with pytest.raises(ValueError, match=r"labels\.csv, line 2: 3 fields for the 2 columns image,classes"):
        main(["check", "--config", str(config)])


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffimage,classes,split\r\ngrey.png,cat,train\r\nclear.png,cat;dog,train\r\n\r\n",
        "image,classes,split,,\ngrey.png,cat,train,,\nclear.png,cat;dog,train\n,,,,\n  \n",
        'Image, Classes, Split\n"grey.png", "cat", train\nclear.png, cat; dog ,train\n',
        "split,classes,image\ntrain,cat,grey.png\ntrain,dog;cat;cat,clear.png\n",
        "image,classes\rgrey.png,cat\rclear.png,;cat;dog;\r",
        'image,classes\ngrey.png,cat\nclear.png,"cat,dog"\n',
        "\ufeffimage;classes;split\r\ngrey.png;cat;train\r\nclear.png;cat,dog;train\r\n",
        'image;classes\ngrey.png;cat\nclear.png;"cat;dog"\n',
        "image\tclasses\ngrey.png\tcat\nclear.png\tcat;dog\n",
    ],
)
def test_tables_of_spreadsheets_are_read(folder_root, content):
    (folder_root / "labels.csv").write_bytes(content.encode())
    source = Folder(folder_root)
    assert source.ids("train") == ["grey", "clear"]
    assert [source.labels(image_id).tolist() for image_id in source.ids("train")] == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image,caption\ngrey.png,a cat, a dog\n",
            "line 2: 3 fields for the 2 columns .*a text with a comma",
        ),
        ("image,caption,splt\ngrey.png,cat,val\n", "unknown column 'splt'"),
        ("image,caption\n,a cat\n", "line 2: the row names no image"),
        ("image,caption\n../secret.png,a cat\n", r"line 2: '\.\./secret\.png' is no path below the folder"),
        ("image,caption\n/etc/passwd,a cat\n", "line 2: '/etc/passwd' is no path below"),
        ("image,caption\ndeep/../../x.png,a cat\n", "line 2: .* is no path below"),
        ("image,caption\ndeep\\one.bmp,a cat\n", "line 2: .* is no path below .* with / between folders"),
        (
            "image,caption,split\ngrey.png,x,train\ngrey.png,y,val\n",
            "line 3: .* of split 'val', in an earlier",
        ),
    ],
)
def test_a_table_of_captions_that_loses_something(folder_root, content, message):
    (folder_root / "captions.csv").write_text(content)
    with pytest.raises(ValueError, match=r"captions\.csv.*" + message):
        CaptionTable(folder_root)
