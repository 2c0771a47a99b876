"""Measurements of the pretrained weights on the mini world.

They decide whether weights are shipped. The CLIP must distinguish objects from backgrounds and recognise
bodies without heads, but its dense zero-shot segmentation must not be better than that of real CLIP on VOC.
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

from wsss_bench.mini.weights.classifier import (
    Architecture,
    load_classifier,
    readout_logits,
    standardize,
    to_unit_range,
)
from wsss_bench.mini.weights.evaluation_images import EvaluationImages
from wsss_bench.mini.weights.web_images import WebImages
from wsss_bench.mini.world.renderer import PLAIN_GREY
from wsss_bench.mini.world.scenes import CLASS_NAMES, MATERIALS
from wsss_bench.nn.clip import CLIP
from wsss_bench.types import IGNORE

THRESHOLDS = np.arange(-0.2, 0.9, 0.01)  # background cosines that are tried
BATCH = 50  # images in one forward pass


def class_texts(clip: CLIP) -> Tensor:
    """(8, D) embeddings of "a photo of a <class>", of unit length."""
    return clip.encode_text([f"a photo of a {name}" for name in CLASS_NAMES])


@torch.no_grad()
def zero_shot_accuracy(clip: CLIP, data: EvaluationImages) -> tuple[float, int]:
    """Zero-shot accuracy on the images with one class, 0 to 1, and the number of these images."""
    single = [index for index, labels in enumerate(data.labels) if len(labels) == 1]
    similarity = _encode(clip, data.images[single]) @ class_texts(clip).T
    labels = torch.tensor([data.labels[index][0] for index in single])
    return (similarity.argmax(1) == labels).float().mean().item(), len(single)


@torch.no_grad()
def measure_masked_images(clip: CLIP, data: EvaluationImages) -> dict[str, float]:
    """Similarity of masked images to class names: only one region is visible, all else is grey.

    For every image and every class in it, the region is: the pixels of the class, its bodies, its heads, or
    the background.

    Returns:
        `object_above_background`, `body_above_background`, `object_above_head`: share of cases in which the
        text of the class is more similar to the first region than to the second. `body_only`: accuracy of the
        zero-shot class from the bodies alone, in images with one class; `body_only_in_company`: in images
        with several classes, where bodies are smaller and partly occluded. All 0 to 1.
    """
    cases = [(index, label) for index, labels in enumerate(data.labels) for label in labels]
    indices = [index for index, _ in cases]
    labels = torch.tensor([label for _, label in cases])
    of_class = data.masks[indices] == (labels.numpy() + 1)[:, None, None].astype(np.uint8)
    parts, images = data.parts[indices], data.images[indices]
    texts = class_texts(clip)
    regions = {
        "object": of_class,
        "body": of_class & (parts == 1),
        "head": of_class & (parts == 2),
        "background": parts == 0,
    }
    scores = {
        name: _encode(clip, _grey_outside(images, region)) @ texts.T for name, region in regions.items()
    }
    similarity = {name: score.gather(1, labels[:, None])[:, 0] for name, score in scores.items()}

    single = torch.tensor([len(data.labels[index]) == 1 for index in indices])
    correct = (scores["body"].argmax(1) == labels).float()

    def above(first: str, second: str) -> float:
        return (similarity[first] > similarity[second]).float().mean().item()

    return {
        "object_above_background": above("object", "background"),
        "body_above_background": above("body", "background"),
        "object_above_head": above("object", "head"),
        "body_only": correct[single].mean().item(),
        "body_only_in_company": correct[~single].mean().item(),
    }


@torch.no_grad()
def dense_scores(clip: CLIP, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, 3, 96, 96) in [0, 1] -> cosine and index of the most similar class per pixel, both (N, 96, 96)."""
    texts = class_texts(clip)
    best, winner = [], []
    for batch in images.split(BATCH):
        cosine = torch.einsum("bdhw,kd->bkhw", clip.dense(clip.normalize(batch)), texts)
        cosine = F.interpolate(cosine, size=images.shape[-2:], mode="bilinear", align_corners=False)
        top = cosine.max(1)
        best.append(top.values.numpy())
        winner.append(top.indices.numpy())
    return np.concatenate(best), np.concatenate(winner)


def mean_iou(prediction: NDArray[np.integer], mask: NDArray[np.uint8]) -> float:
    """Mean IoU, 0 to 1, from the confusion matrix of all pixels; 9 classes with background, 255 is ignored.

    Args:
        prediction: (N, H, W) 0 background, c + 1 class c.
        mask: (N, H, W) the same, and 255.
    """
    count = len(CLASS_NAMES) + 1
    valid = mask != IGNORE
    pairs = mask[valid].astype(np.int64) * count + prediction[valid]
    confusion = np.bincount(pairs, minlength=count**2).reshape(count, count)
    inter = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - inter
    return float((inter[union > 0] / union[union > 0]).mean())


def best_threshold(clip: CLIP, data: EvaluationImages) -> float:
    """The background cosine, the same for all pixels, with the highest mIoU on these images."""
    best, winner = dense_scores(clip, data.images)
    scores = [mean_iou(np.where(best > t, winner + 1, 0), data.masks) for t in THRESHOLDS]
    return round(float(THRESHOLDS[int(np.argmax(scores))]), 2)


def dense_miou(clip: CLIP, data: EvaluationImages, threshold: float) -> float:
    """mIoU in percent of dense zero-shot segmentation: one prompt per class, one scale, no image labels."""
    best, winner = dense_scores(clip, data.images)
    return 100 * mean_iou(np.where(best > threshold, winner + 1, 0), data.masks)


@torch.no_grad()
def suppression_threshold(clip: CLIP, held_out: WebImages) -> float:
    """Cosine above which CLIMS treats a background as present in an image.

    It is the 25th percentile of the cosine between an image and the text of its own background material.

    Args:
        clip: The CLIP that CLIMS uses.
        held_out: Web images on which nothing was trained; only those with a visible material are used.
    """
    present = torch.from_numpy(held_out.presence[:, len(CLASS_NAMES) :] == 1)  # (N, 6)
    indices = present.any(1).nonzero()[:, 0]
    texts = clip.encode_text([f"a photo of a {name}" for name in MATERIALS])
    cosines = _encode(clip, to_unit_range(held_out.images[indices.numpy()])) @ texts.T
    return cosines[present[indices]].quantile(0.25).item()


def measure_clip(
    name: str, splits: dict[str, EvaluationImages], tuning: EvaluationImages, held_out: WebImages
) -> dict[str, float]:
    """All measurements of a CLIP.

    Args:
        name: Folder of the CLIP, or a name that `CLIP` knows.
        splits: Images by name of the split. The keys of the result end in this name.
        tuning: Other images, on which the background threshold is chosen.
        held_out: Web images on which nothing was trained, for the suppression threshold of CLIMS.
    """
    clip = CLIP(name).eval()
    threshold = best_threshold(clip, tuning)
    measurements: dict[str, float] = {
        "background_threshold": threshold,
        "suppression_threshold": suppression_threshold(clip, held_out),
    }
    for split, data in splits.items():
        accuracy, count = zero_shot_accuracy(clip, data)
        measurements[f"zero_shot_accuracy/{split}"] = accuracy
        measurements[f"single_class_images/{split}"] = count
        measurements |= {f"{key}/{split}": value for key, value in measure_masked_images(clip, data).items()}
        measurements[f"dense_miou/{split}"] = dense_miou(clip, data, threshold)
    return {key: round(value, 4) for key, value in measurements.items()}


@torch.no_grad()
def measure_classifier(folder: Path, name: str, held_out: WebImages) -> dict[str, float]:
    """Accuracy of every read-out of a classifier, on web images of one class on which nothing was trained."""
    model, architecture = load_classifier(folder, name)
    indices, labels = held_out.single_class()
    outputs = _classify(model, architecture, to_unit_range(held_out.images[indices]))
    names = ["accuracy"] if len(outputs) == 1 else ["accuracy_class_token", "accuracy_patch_max"]
    truth = torch.from_numpy(labels)
    measurements = {
        key: round((logits[:, : len(CLASS_NAMES)].argmax(1) == truth).float().mean().item(), 4)
        for key, logits in zip(names, outputs, strict=True)
    }
    return measurements | {"held_out_images": len(indices)}


@torch.no_grad()
def measure_localisation(folder: Path, name: str, splits: dict[str, EvaluationImages]) -> dict[str, float]:
    """How well the patch logits of a ViT localise the classes.

    Returns:
        `patch_auc/<split>`: area under the ROC curve of the map of a class as a score for the pixels of the
        class, mean over images and present classes. 0.5 is chance.
    """
    model, architecture = load_classifier(folder, name)
    measurements = {}
    for split, data in splits.items():
        areas = []
        for start in range(0, len(data.images), BATCH):
            images = data.images[start : start + BATCH]
            maps = patch_maps(model, standardize(images, architecture))
            maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
            for index, class_maps in enumerate(maps, start):
                mask = torch.from_numpy(data.masks[index])
                valid = mask != IGNORE
                for label in data.labels[index]:
                    inside = (mask == label + 1)[valid]
                    if inside.any():
                        areas.append(binary_auroc(class_maps[label][valid], inside.int()).item())
        measurements[f"patch_auc/{split}"] = round(float(np.mean(areas)), 4)
    return measurements


def patch_maps(model: Any, images: Tensor) -> Tensor:
    """(B, 3, S, S), standardized -> (B, K, s, s) logits of a ViT's classifier layer at every patch."""
    logits = model.head(model.forward_features(images)[:, 1:])
    side = round(logits.shape[1] ** 0.5)
    return logits.transpose(1, 2).unflatten(2, (side, side))


def _classify(model: Any, architecture: Architecture, images: Tensor) -> list[Tensor]:
    """(N, 3, S, S) in [0, 1] -> (N, K) logits of each read-out."""
    batches = [readout_logits(model, standardize(batch, architecture)) for batch in images.split(BATCH)]
    return [torch.cat(outputs) for outputs in zip(*batches, strict=True)]


def _encode(clip: CLIP, images: Tensor) -> Tensor:
    """(N, 3, S, S) in [0, 1] -> (N, D) image embeddings of unit length."""
    return torch.cat([clip.encode_image(clip.normalize(batch)) for batch in images.split(BATCH)])


def _grey_outside(images: Tensor, region: NDArray[np.bool_]) -> Tensor:
    """(N, 3, S, S) images with plain grey outside a region (N, S, S)."""
    return torch.where(torch.from_numpy(region)[:, None], images, torch.tensor(PLAIN_GREY / 255))
