"""What makes a page of docs/start fail: commands, lines, files and options that do not exist."""

import pytest
from followed_page import follow
from page_blocks import Command, File, missing, read_page

PAGE = """# A page

See `made/` and its `a.txt`, with `--number`.

`given.txt`:

```text
one
```

```console
$ mkdir made && cat \\
    given.txt
one
$ cp given.txt a.txt; echo --number 12 best
--number 34 best
...
```
"""


def write(root, text):
    path = root / "page.md"
    path.write_text(text)
    return read_page(path)


def test_a_page_is_a_list_of_files_and_commands_in_their_order(tmp_path):
    page = write(tmp_path, PAGE)
    assert page.steps == (
        File("given.txt", "one\n"),
        Command("mkdir made && cat     given.txt", ("one",)),
        Command("cp given.txt a.txt; echo --number 12 best", ("--number 34 best",)),
    )
    assert page.words == 10
    with pytest.raises(ValueError, match="no line above this block names a file"):
        write(tmp_path, "Some code:\n\n```python\nx = 1\n```\n")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("  cam  ss/raw  45.5 ± 0.9  best  20.3", "  cam     ss/raw  6.5 ± 10.9  (-24.6)  ≈ 8.1‡"),
        ("train-cam-mini-s0-03f9c110", "train-cam-mini-s0-9aba5530"),
        ("15 stages: 0 complete, ...", "11 stages: 5 complete, 6 to run"),
    ],
)
def test_figures_may_differ(shown, printed):
    assert missing((shown,), f"first\n{printed}\nlast\n") == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("cam  45.5  best", "clip_es  45.5  best"),
        ("cam  45.5  best", "cam  45.5"),
        ("written: foo.py, ...", "written: bar.py, foo.py"),
        ("page: runs/quick/report/index.html", "page: runs/quick/index.html"),
    ],
)
def test_words_and_columns_may_not(shown, printed):
    assert missing((shown,), printed) == [shown]


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("one\n$ cp", "two\n$ cp", r"does not print \['two'\]"),
        ("mkdir made", "mkdir --wrong made", "--wrong"),
        ("`a.txt`", "`b.txt`", "the page names .'b.txt'"),
        ("with `--number`", "with `--numbers`", "no command of the page has .'--numbers'"),
        ("with `--number`", "with `make nothing`", "make nothing"),
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path, right, wrong, message):
    (tmp_path / "root").mkdir()
    followed = follow(write(tmp_path, PAGE), tmp_path / "root")
    assert list(followed.values()) == ["one\n", "--number 12 best\n"]
    (tmp_path / "other").mkdir()
    with pytest.raises(AssertionError, match=message):
        follow(write(tmp_path, PAGE.replace(right, wrong)), tmp_path / "other")
