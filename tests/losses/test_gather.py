"""Losses and masks on two ranks: equal to the official two-rank run, and to the values of one process."""

import numpy as np
import pytest
import torch
from gathered_terms import gathered_terms
from golden_clip import golden
from torch.nn import functional as F

from wsss_bench.losses.ranks import gather_rows, rows_before
from wsss_bench.methods.text_grounding.info_nce import INITIAL_LOG_SCALE, info_nce, info_nce_of_cosines


@pytest.fixture(scope="module")
def ranks(rank_pair):
    """What each of two processes computes."""
    return rank_pair.call(gathered_terms)


@pytest.mark.parametrize("rank", range(2))
def test_two_ranks_give_the_official_losses_masks_and_gradients(ranks, rank):
    arrays = golden("two_rank")
    names = [key.removeprefix(f"rank{rank}__") for key in arrays if key.startswith(f"rank{rank}__")]
    assert len(names) == 13
    for name in names:
        np.testing.assert_allclose(
            ranks[rank][name], arrays[f"rank{rank}__{name}"], rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_the_mean_over_ranks_is_the_loss_of_one_process(ranks):
    arrays = {
        key: torch.from_numpy(value) for key, value in golden("two_rank").items() if key.startswith("all")
    }
    whole = info_nce(arrays["all_IE"], arrays["all_TE"], torch.tensor(INITIAL_LOG_SCALE)).mean()
    assert np.mean([result["info_loss"] for result in ranks]) == pytest.approx(whole.item(), rel=1e-5)
    cosines = torch.einsum(
        "bqc,qc->bq", F.normalize(arrays["all_EX"], dim=-1), F.normalize(arrays["all_TE"], dim=-1)
    )
    whole = info_nce_of_cosines(cosines, torch.tensor(INITIAL_LOG_SCALE)).mean()
    assert np.mean([result["exact_loss"] for result in ranks]) == pytest.approx(whole.item(), rel=1e-5)
    # the official way of gathering does not have this property
    assert np.mean([result["ext_loss"] for result in ranks]) != pytest.approx(whole.item(), rel=0.05)


def test_ranks_may_have_different_numbers_of_rows(ranks):
    assert all(result["uneven"].tolist() == [[5, 5]] for result in ranks)
    assert [int(result["uneven_first"]) for result in ranks] == [0, 1]
    assert ranks[0]["uneven_grad"].tolist() == [[3, 3]]  # 1 from rank 0, 2 from rank 1
    assert ranks[1]["uneven_grad"].shape == (0, 2)
    # areas .1 on one rank and .4, .4 on the other: the mean of the global batch is .3
    assert [float(result["area"]) for result in ranks] == pytest.approx([0.05, 0.05])


def gather_of_shape(rank, *shapes):
    return list(gather_rows(torch.full(shapes[rank], float(rank))).shape)


def test_rows_of_different_shapes_are_refused_on_all_ranks(rank_pair):
    sentence = "the ranks have rows of shapes 2x3x0, 2x4x0; only the first number may differ"
    with pytest.raises(RuntimeError, match=sentence):
        rank_pair.call(gather_of_shape, (2, 3, 0), (2, 4, 0))
    with pytest.raises(RuntimeError, match="shapes 2x3, 2x3x1"):
        rank_pair.call(gather_of_shape, (2, 3), (2, 3, 1))
    # the ranks are still there, and go on
    assert rank_pair.call(gather_of_shape, (0, 3, 2), (5, 3, 2)) == [[5, 3, 2], [5, 3, 2]]


def test_with_one_process_rows_are_returned_unchanged():
    rows = torch.ones(2, 3)
    assert gather_rows(rows) is rows
    assert rows_before(rows) == 0
