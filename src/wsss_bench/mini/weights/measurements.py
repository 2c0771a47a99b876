"""What the pretrained weights can do, measured on the mini world.

The measurements decide whether weights are shipped: a CLIP that tells objects from backgrounds and names bodies
without heads, but whose dense zero-shot segmentation is no better than real CLIP's on VOC.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from wsss_bench.mini.weights.classifier import Architecture, load_classifier, readings, standardize, to_unit
from wsss_bench.mini.weights.probe import Probe
from wsss_bench.mini.weights.web import Web
from wsss_bench.mini.world.grammar import CLASS_NAMES, MATERIALS
from wsss_bench.nn.clip import CLIP
from wsss_bench.types import IGNORE

GREY = 115 / 255  # what masked-out pixels are set to
THRESHOLDS = np.arange(-0.2, 0.9, 0.01)
BATCH = 50


def class_texts(clip: CLIP) -> Tensor:
    """(8, D) one prompt per class."""
    return clip.encode_text([f"a photo of a {name}" for name in CLASS_NAMES])


@torch.no_grad()
def zero_shot_accuracy(clip: CLIP, probe: Probe) -> tuple[float, int]:
    """Share of the images with one class that CLIP names rightly, and their number."""
    single = [number for number, labels in enumerate(probe.labels) if len(labels) == 1]
    similarity = _encode(clip, probe.image[single]) @ class_texts(clip).T
    truth = torch.tensor([probe.labels[number][0] for number in single])
    return (similarity.argmax(1) == truth).float().mean().item(), len(single)


@torch.no_grad()
def measure_masked_images(clip: CLIP, probe: Probe) -> dict[str, float]:
    """How CLIP judges parts of an image alone, everything else grey.

    For every image and every class in it: the class's pixels, its bodies, its heads, and the background.
    Keys: `object_above_background`, `body_above_background`, `object_above_head` (share of cases in which the
    class's own text is closer to the first); `body_only` (accuracy of naming the class from its bodies, in
    images of one class) and `body_only_in_company` (in the others: smaller bodies, partly covered).
    """
    cases = [(number, label) for number, labels in enumerate(probe.labels) for label in labels]
    numbers = [number for number, _ in cases]
    labels = torch.tensor([label for _, label in cases])
    own = probe.mask[numbers] == (labels.numpy() + 1)[:, None, None].astype(np.uint8)
    part, image = probe.part[numbers], probe.image[numbers]
    texts = class_texts(clip)
    views = {"object": own, "body": own & (part == 1), "head": own & (part == 2), "background": part == 0}
    scores = {name: _encode(clip, _keep(image, view)) @ texts.T for name, view in views.items()}
    similarity = {name: score.gather(1, labels[:, None])[:, 0] for name, score in scores.items()}

    alone = torch.tensor([len(probe.labels[number]) == 1 for number in numbers])
    named = (scores["body"].argmax(1) == labels).float()

    def above(first: str, second: str) -> float:
        return (similarity[first] > similarity[second]).float().mean().item()

    return {
        "object_above_background": above("object", "background"),
        "body_above_background": above("body", "background"),
        "object_above_head": above("object", "head"),
        "body_only": named[alone].mean().item(),
        "body_only_in_company": named[~alone].mean().item(),
    }


@torch.no_grad()
def dense_scores(clip: CLIP, image: Tensor) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, 3, 96, 96) in [0, 1] -> best cosine and class index, both (N, 96, 96), no labels given."""
    texts = class_texts(clip)
    best, winner = [], []
    for pixels in image.split(BATCH):
        cosine = torch.einsum("bdhw,kd->bkhw", clip.dense(clip.normalize(pixels)), texts)
        cosine = F.interpolate(cosine, size=image.shape[-2:], mode="bilinear", align_corners=False)
        top = cosine.max(1)
        best.append(top.values.numpy())
        winner.append(top.indices.numpy())
    return np.concatenate(best), np.concatenate(winner)


def mean_iou(prediction: NDArray[np.integer], mask: NDArray[np.uint8]) -> float:
    """Mean IoU of the 9 classes from one pooled confusion matrix; mask 255 is ignored."""
    count = len(CLASS_NAMES) + 1
    valid = mask != IGNORE
    pairs = mask[valid].astype(np.int64) * count + prediction[valid]
    confusion = np.bincount(pairs, minlength=count**2).reshape(count, count)
    inter = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - inter
    return float((inter[union > 0] / union[union > 0]).mean())


def best_threshold(clip: CLIP, probe: Probe) -> float:
    """The constant background cosine with the highest mIoU on these images."""
    best, winner = dense_scores(clip, probe.image)
    scores = [mean_iou(np.where(best > t, winner + 1, 0), probe.mask) for t in THRESHOLDS]
    return round(float(THRESHOLDS[int(np.argmax(scores))]), 2)


def dense_miou(clip: CLIP, probe: Probe, threshold: float) -> float:
    """Zero-shot mIoU in percent: one prompt per class, one scale, constant background, no labels."""
    best, winner = dense_scores(clip, probe.image)
    return 100 * mean_iou(np.where(best > threshold, winner + 1, 0), probe.mask)


@torch.no_grad()
def suppression_threshold(clip: CLIP, held_out: Web) -> float:
    """Where CLIMS takes scenery as seen: the 25th percentile of the cosine of a scene with the text of its own material.

    Args:
        clip: The CLIP that CLIMS asks.
        held_out: Web images that no pretraining saw; those with a visible material count.
    """
    seen = torch.from_numpy(held_out.truth[:, len(CLASS_NAMES) :] == 1)  # (N, 6)
    index = seen.any(1).nonzero()[:, 0]
    texts = clip.encode_text([f"a photo of a {name}" for name in MATERIALS])
    cosines = _encode(clip, to_unit(held_out.image[index.numpy()])) @ texts.T
    return cosines[seen[index]].quantile(0.25).item()


def measure_clip(name: str, probes: dict[str, Probe], tuning: Probe, held_out: Web) -> dict[str, float]:
    """All measurements of a CLIP, by split name; the background threshold is chosen on `tuning`."""
    clip = CLIP(name).eval()
    threshold = best_threshold(clip, tuning)
    measurements: dict[str, float] = {
        "background_threshold": threshold,
        "suppression_threshold": suppression_threshold(clip, held_out),
    }
    for split, probe in probes.items():
        accuracy, count = zero_shot_accuracy(clip, probe)
        measurements[f"zero_shot_accuracy/{split}"] = accuracy
        measurements[f"single_class_images/{split}"] = count
        measurements |= {f"{key}/{split}": value for key, value in measure_masked_images(clip, probe).items()}
        measurements[f"dense_miou/{split}"] = dense_miou(clip, probe, threshold)
    return {key: round(value, 4) for key, value in measurements.items()}


@torch.no_grad()
def measure_classifier(folder: Path, name: str, held_out: Web) -> dict[str, float]:
    """Accuracy on web images of one class that no pretraining saw, for every read-out of the network."""
    model, architecture = load_classifier(folder, name)
    index, labels = held_out.single_class()
    outputs = _classify(model, architecture, to_unit(held_out.image[index]))
    names = ["accuracy"] if len(outputs) == 1 else ["accuracy_class_token", "accuracy_patch_max"]
    truth = torch.from_numpy(labels)
    measurements = {
        key: round((logits[:, : len(CLASS_NAMES)].argmax(1) == truth).float().mean().item(), 4)
        for key, logits in zip(names, outputs, strict=True)
    }
    return measurements | {"held_out_images": len(index)}


@torch.no_grad()
def measure_localisation(folder: Path, name: str, probes: dict[str, Probe]) -> dict[str, float]:
    """Where the classifier on the patches of a ViT sees a class: by split, the area under the ROC curve of its map for the
    pixels of the class, mean over images and present classes. 0.5 is chance."""
    model, architecture = load_classifier(folder, name)
    measurements = {}
    for split, probe in probes.items():
        areas = []
        for start in range(0, len(probe.image), BATCH):
            image = probe.image[start : start + BATCH]
            maps = patch_maps(model, standardize(image, architecture))
            maps = F.interpolate(maps, image.shape[-2:], mode="bilinear", align_corners=False)
            for number, scores in enumerate(maps, start):
                mask = torch.from_numpy(probe.mask[number])
                known = mask != IGNORE
                for label in probe.labels[number]:
                    inside = (mask == label + 1)[known]
                    if inside.any():
                        areas.append(binary_auroc(scores[label][known], inside.int()).item())
        measurements[f"patch_auc/{split}"] = round(float(np.mean(areas)), 4)
    return measurements


def patch_maps(model: Any, image: Tensor) -> Tensor:
    """(B, 3, S, S), standardized -> (B, K, s, s): the head of a ViT at every patch."""
    logits = model.head(model.forward_features(image)[:, 1:])
    side = round(logits.shape[1] ** 0.5)
    return logits.transpose(1, 2).unflatten(2, (side, side))


def _classify(model: Any, architecture: Architecture, image: Tensor) -> list[Tensor]:
    batches = [readings(model, standardize(pixels, architecture)) for pixels in image.split(BATCH)]
    return [torch.cat(outputs) for outputs in zip(*batches, strict=True)]


def _encode(clip: CLIP, image: Tensor) -> Tensor:
    return torch.cat([clip.encode_image(clip.normalize(pixels)) for pixels in image.split(BATCH)])


def _keep(image: Tensor, view: NDArray[np.bool_]) -> Tensor:
    return torch.where(torch.from_numpy(view)[:, None], image, torch.tensor(GREY))
