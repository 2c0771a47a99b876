"""CoDe's gathered terms on the golden inputs, as one of two ranks computes them."""

import numpy as np
import paths
import torch
from torch.nn import functional as F

from wsss_bench.losses.ranks import gather_rows, mean_over_ranks, rows_before
from wsss_bench.methods.text_grounding.image_segmenter import hard_masks
from wsss_bench.methods.text_grounding.info_nce import (
    INITIAL_LOG_SCALE,
    info_nce,
    info_nce_of_cosines,
    inverse_temperature,
    symmetric_cross_entropy,
)
from wsss_bench.methods.text_grounding.losses import area_loss

GOLDEN = paths.GOLDEN / "code" / "two_rank.npz"
OWN = 3  # rows of a rank


def gathered_terms(rank: int) -> dict[str, np.ndarray]:
    """Losses, masks and gradients by the names of the golden file."""
    arrays = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN).items()}

    def leaf(name: str) -> torch.Tensor:
        return arrays[f"all_{name}"][OWN * rank : OWN * (rank + 1)].clone().requires_grad_()

    results: dict[str, torch.Tensor] = {}
    image, text, scale = leaf("IE"), leaf("TE"), torch.tensor(INITIAL_LOG_SCALE, requires_grad=True)
    loss = info_nce(image, text, scale).mean()
    loss.backward()
    results |= {
        "info_loss": loss,
        "info_grad_img": image.grad,
        "info_grad_txt": text.grad,
        "info_grad_ls": scale.grad,
    }

    # the official code compares a text with the other rank's image as masked by the text at the same index
    # there
    image, text = leaf("EX"), leaf("TE")
    unit_image, unit_text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    sharp = inverse_temperature(torch.tensor(INITIAL_LOG_SCALE))
    first = rows_before(text)
    rows = sharp * torch.einsum("bqc,qc->bq", unit_image, gather_rows(unit_text))
    theirs = gather_rows(unit_image[:, first : first + OWN])
    loss = symmetric_cross_entropy(rows, sharp * torch.einsum("nbc,bc->bn", theirs, unit_text), first).mean()
    loss.backward()
    results |= {"ext_loss": loss, "ext_grad_img": image.grad, "ext_grad_txt": text.grad}
    with torch.no_grad():  # ours compares it with that image as masked by the text itself
        cosines = torch.einsum("bqc,qc->bq", unit_image, gather_rows(unit_text))
        results["exact_loss"] = mean_over_ranks(info_nce_of_cosines(cosines, torch.tensor(INITIAL_LOG_SCALE)))

    # unit vectors are the leaves here, as they are the input of the official mask function
    pixels, text = (
        F.normalize(leaf(name).detach(), dim=1, eps=1e-6).requires_grad_() for name in ("FM", "TE")
    )
    logits = 10 * torch.einsum("bdhw,qd->bqhw", pixels, gather_rows(text)) - 2.5
    own = torch.arange(OWN), torch.arange(first, first + OWN)
    soft = logits.sigmoid()
    other = torch.ones(OWN, 2 * OWN, dtype=torch.bool)
    other[own] = False
    negative = soft[other].unflatten(0, (OWN, -1))
    (soft[own].mean() + negative.mean()).backward()
    noise = arrays["all_U"][OWN * rank : OWN * (rank + 1)][own]
    results |= {
        "mask_pos": hard_masks(logits[own], noise)[:, None], "soft_pos": soft[own][:, None],
        "soft_neg": negative, "soft_all": soft, "masker_grad_txt": text.grad, "masker_grad_fm": pixels.grad,
    }  # fmt: skip

    # ranks with 1 and 0 rows
    rows = torch.full((1 - rank, 2), 5.0, requires_grad=True)
    gathered = gather_rows(rows)
    (gathered.sum() * (rank + 1)).backward()
    results |= {"uneven": gathered, "uneven_grad": rows.grad, "uneven_first": torch.tensor(rows_before(rows))}
    results["area"] = area_loss(torch.full((1 + rank,), 0.1 + 0.3 * rank), torch.ones(1 + rank), 0.25)
    return {key: value.detach().numpy() for key, value in results.items()}
