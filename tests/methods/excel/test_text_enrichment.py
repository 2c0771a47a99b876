"""Enriched texts of ExCEL against the authors' code, and what is refused."""

import golden_excel
import pytest
import torch
from golden_excel import TOLERANCE
from torch.testing import assert_close

from wsss_bench import vocabulary
from wsss_bench.methods.excel.text_enrichment import ClassTexts, TextConfig, cluster, enrich
from wsss_bench.nn.clip import CLIP

ARRAYS = golden_excel.tensors("text_enrichment")
CLASSES, BACKGROUNDS = ARRAYS["foreground"], ARRAYS["background"]
MINI = TextConfig(templates="mini", fg_set="mini", bg_set="mini", attributes="mini", clusters=11)
NAMES = vocabulary.load("mini")


@pytest.fixture(scope="module")
def clip():
    return CLIP("package:mini/clip").requires_grad_(False)


@pytest.mark.parametrize("number", [24, 30, 112])
def test_hunting_is_the_published_one(number):
    centroids = ARRAYS[f"centroids_{number}"].T
    expected = ARRAYS[f"enriched_{number}"].T
    assert_close(torch.cat([enrich(CLASSES, centroids), BACKGROUNDS]), expected, **TOLERANCE)


@pytest.mark.parametrize("number", [10, 24, 30, 112])
def test_hunting_that_keeps_all_is_the_published_one(number):
    found = enrich(CLASSES, ARRAYS[f"centroids_{number}"].T, kept=1.0)
    assert_close(found, ARRAYS[f"enriched_{number}_keep_all"].T[:5], **TOLERANCE)


@pytest.mark.parametrize("number", [8, 10])
def test_few_centroids_are_all_kept_where_the_published_code_gives_nan(number):
    assert ARRAYS[f"enriched_{number}_is_nan"].any()
    centroids = ARRAYS[f"centroids_{number}"].T
    assert_close(enrich(CLASSES, centroids), enrich(CLASSES, centroids, kept=1.0))


def test_hunting_does_not_depend_on_the_order_of_the_clusters():
    centroids = ARRAYS["centroids_30"].T
    assert_close(enrich(CLASSES, centroids.flip(0)), enrich(CLASSES, centroids))


def test_equal_centroids_are_added_as_they_are():
    one = ARRAYS["centroids_24"].T[:1]
    expected = torch.nn.functional.normalize(CLASSES + one, dim=1)
    assert_close(enrich(CLASSES, one.repeat(24, 1)), expected)
    assert_close(enrich(CLASSES, one), expected)


def test_clusters_are_the_published_ones():
    arrays = golden_excel.tensors("clusters")
    vectors = torch.nn.functional.normalize(arrays["sentence_embeddings"], dim=1)
    found, expected = cluster(vectors, 6), arrays["centroids"].T
    nearest = torch.cdist(expected, found).argmin(dim=1)
    assert sorted(nearest.tolist()) == list(range(6))
    assert_close(found[nearest], expected, **TOLERANCE)
    own = torch.cdist(vectors, found[nearest]).argmin(dim=1)
    table = torch.zeros(3, 6)
    table[arrays["class_of_sentence"], own] = 1
    assert torch.equal(table, arrays["class_has_cluster"])
    assert torch.equal(cluster(vectors, 6), found)


def test_one_cluster_is_the_mean():
    vectors = torch.nn.functional.normalize(torch.arange(20.0).view(4, 5) % 7, dim=1)
    assert_close(cluster(vectors, 1)[0], vectors.mean(dim=0))


def test_classes_are_enriched_and_backgrounds_stay(clip):
    texts = ClassTexts(clip, NAMES, MINI)
    enriched = texts.encode(clip)
    plain = ClassTexts(clip, NAMES, TextConfig("mini", "mini", "mini", clusters=None)).encode(clip)
    assert enriched.shape == plain.shape == (len(NAMES) + len(texts.backgrounds), clip.embed_dim)
    assert_close(enriched[8:], plain[8:])
    assert (enriched[:8] * plain[:8]).sum(dim=1).max() < 0.99
    assert_close(enriched.norm(dim=1), torch.ones(len(enriched)))


def test_other_words_in_another_order_of_classes_change_their_rows(clip):
    forward, backward = (ClassTexts(clip, names, MINI).encode(clip) for names in (NAMES, NAMES[::-1]))
    assert_close(backward[:8].flip(0), forward[:8], rtol=1e-4, atol=1e-5)


def test_fewer_sentences_than_clusters_are_refused(clip):
    with pytest.raises(ValueError, match=r"40 attributes do not make text.clusters: 41"):
        ClassTexts(clip, NAMES, TextConfig("mini", "mini", "mini", "mini", clusters=41))


@pytest.mark.parametrize("change", [{"clusters": 0}, {"kept": 0.0}, {"kept": 1.1}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=r"text\.(clusters|kept) is"):
        TextConfig(**change)
