"""Enriched texts of ExCEL against the authors' code, and what is refused."""

import golden_excel
import pytest
import torch
from golden_excel import TOLERANCE
from torch.testing import assert_close

from wsss_bench import vocabulary
from wsss_bench.methods.excel.text_enrichment import Enrichment, cluster, enriched, enrichment_sentences, hunt
from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.competing_texts import Texts, embed_competing_texts

ARRAYS = golden_excel.tensors("text_enrichment")
CLASSES, BACKGROUNDS = ARRAYS["foreground"], ARRAYS["background"]
MINI = Texts("mini", "mini", "mini")
NAMES = vocabulary.load("mini")


@pytest.fixture(scope="module")
def clip():
    return CLIP("package:mini/clip").requires_grad_(False)


@pytest.mark.parametrize("number", [24, 30, 112])
def test_hunting_is_the_published_one(number):
    centroids = ARRAYS[f"centroids_{number}"].T
    expected = ARRAYS[f"enriched_{number}"].T
    assert_close(torch.cat([hunt(CLASSES, centroids), BACKGROUNDS]), expected, **TOLERANCE)


@pytest.mark.parametrize("number", [10, 24, 30, 112])
def test_hunting_that_keeps_all_is_the_published_one(number):
    found = hunt(CLASSES, ARRAYS[f"centroids_{number}"].T, kept=1.0)
    assert_close(found, ARRAYS[f"enriched_{number}_keep_all"].T[:5], **TOLERANCE)


@pytest.mark.parametrize("number", [8, 10])
def test_few_centroids_are_all_kept_where_the_published_code_gives_nan(number):
    assert ARRAYS[f"enriched_{number}_is_nan"].any()
    centroids = ARRAYS[f"centroids_{number}"].T
    assert_close(hunt(CLASSES, centroids), hunt(CLASSES, centroids, kept=1.0))


def test_hunting_does_not_depend_on_the_order_of_the_clusters():
    centroids = ARRAYS["centroids_30"].T
    assert_close(hunt(CLASSES, centroids.flip(0)), hunt(CLASSES, centroids))


def test_equal_centroids_are_added_as_they_are():
    one = ARRAYS["centroids_24"].T[:1]
    expected = torch.nn.functional.normalize(CLASSES + one, dim=1)
    assert_close(hunt(CLASSES, one.repeat(24, 1)), expected)
    assert_close(hunt(CLASSES, one), expected)


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


def with_attributes(clip, names, enrichment):
    plain = embed_competing_texts(clip, names, MINI).classes
    return plain, enriched(clip, plain, enrichment_sentences(clip, names, enrichment), enrichment)


def test_classes_are_enriched(clip):
    plain, rich = with_attributes(clip, NAMES, Enrichment("mini", 11))
    assert (rich * plain).sum(dim=1).max() < 0.99
    assert_close(rich.norm(dim=1), torch.ones(8))
    plain, same = with_attributes(clip, NAMES, Enrichment(attributes="no such list", clusters=None))
    assert same is plain


def test_the_order_of_the_classes_does_not_matter(clip):
    one = with_attributes(clip, NAMES, Enrichment("mini", 1))[1]
    other = with_attributes(clip, NAMES[::-1], Enrichment("mini", 1))[1]
    assert_close(other.flip(0), one, rtol=1e-4, atol=1e-5)


def test_sentences_are_encoded_in_full_precision_and_outside_of_inference_mode(clip):
    plain, expected = with_attributes(clip, NAMES, Enrichment("mini", 11))
    sentences = enrichment_sentences(clip, NAMES, Enrichment("mini", 11))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = enriched(clip, plain, sentences, Enrichment("mini", 11))
    assert torch.equal(found, expected)
    assert not found.is_inference()


def test_fewer_sentences_than_clusters_are_refused(clip):
    with pytest.raises(ValueError, match=r"40 attributes do not make 41 clusters; .*enrichment\.clusters"):
        enrichment_sentences(clip, NAMES, Enrichment("mini", 41))


@pytest.mark.parametrize("change", [{"clusters": 0}, {"kept": 0.0}, {"kept": 1.1}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=r"enrichment\.(clusters|kept) is"):
        Enrichment(**change)
