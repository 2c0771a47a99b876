"""The knowledge base of ExCEL: the shipped lists, files of a user, and what is refused."""

import json

import pytest

from wsss_bench import vocabulary
from wsss_bench.methods.excel.attributes import attribute_sentences, require_readable
from wsss_bench.nn.clip import CLIP
from wsss_bench.vocabulary import read

LISTS = read("attributes", "wsss_bench.methods.excel")


@pytest.fixture(scope="module")
def clip():
    return CLIP("package:mini/clip").requires_grad_(False)


@pytest.mark.parametrize("name", LISTS)
def test_a_shipped_list_describes_each_class_of_its_vocabulary_once(name):
    classes = vocabulary.load(LISTS[name]["of"])
    listed = LISTS[name]["attributes"]
    assert list(listed) == list(classes)
    numbers = {len(sentences) for sentences in listed.values()}
    assert numbers == {5 if name == "mini" else 20}
    sentences = attribute_sentences(name, classes)
    assert len(sentences) == len(set(sentences)) == numbers.pop() * len(classes)
    assert all(sentence.isascii() and len(sentence.split()) <= 30 for sentence in sentences)


def test_sentences_name_their_class_and_are_in_lower_case():
    sentence = attribute_sentences("voc", ["diningtable", "cat"])[0]
    assert sentence.startswith("a clean origami diningtable. ")
    assert sentence == sentence.lower()
    assert "cat" in attribute_sentences("voc", ["diningtable", "cat"])[20]


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_file_of_a_user_has_whole_sentences(tmp_path, suffix):
    file = tmp_path / f"mine{suffix}"
    file.write_text(json.dumps({"dog": ["A Dog barks."], "cat": ["cats purr", "a tail"], "other": ["x"]}))
    assert attribute_sentences(str(file), ["cat", "dog"]) == ["cats purr", "a tail", "a dog barks."]
    assert attribute_sentences({"cat": ["cats purr"]}, ["cat"]) == ["cats purr"]


@pytest.mark.parametrize("source", ["voc", {"bird": ["it flies"], "kettle": []}])
def test_a_class_without_sentences_is_refused(source):
    with pytest.raises(ValueError, match=r"no sentences for kettle, zebra; .*enrichment\.attributes"):
        attribute_sentences(source, ["bird", "kettle", "zebra"])


def test_a_list_that_does_not_exist_is_refused():
    with pytest.raises(FileNotFoundError, match=r"'vocc'; the lists are .*mini, voc"):
        attribute_sentences("vocc", ["bird"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "must map each class to a list of sentences, not list"),
        ("", "must map each class to a list of sentences, not NoneType"),
        ("bird: it flies", "the class bird needs a list of sentences, got 'it flies'"),
        ("bird: [1]", "the class bird needs a list"),
        ("bird: ['  ']", "the class bird needs a list"),
        ("bird: [", "is not YAML or JSON"),
    ],
)
def test_a_file_that_is_no_table_of_sentences_is_refused(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        attribute_sentences(str(file), ["bird"])
    assert "mine.yaml" in str(error.value)


def test_words_that_clip_does_not_know_are_refused(clip):
    with pytest.raises(ValueError, match=r"does not know all words of the attribute 'a photo of a zeppelin'"):
        require_readable(clip, ["a photo of a bird", "a photo of a zeppelin"])


def test_a_sentence_that_would_be_cut_is_refused(clip):
    fits = " ".join(["bird"] * (clip.text_length - 2))
    require_readable(clip, [fits])
    with pytest.raises(ValueError, match=rf"has more than the {clip.text_length} tokens"):
        require_readable(clip, [f"{fits} bird"])
