"""Methods with one mistake each, which the contract must name, and ordinary ones, which must pass."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional as F

from wsss_bench.losses.classification import multilabel_soft_margin
from wsss_bench.losses.ranks import image_dropout
from wsss_bench.methods.base import Method
from wsss_bench.methods.cam import CAM
from wsss_bench.methods.optim import OptimConfig
from wsss_bench.transfer import to_device
from wsss_bench.types import ImageBatch

REMEMBERED = {}


class Segmenting(CAM):
    """CAM whose maps, with a constant background, are its segmentation."""

    def segmentation_logits(self, image):
        maps = self._class_maps(image)
        return torch.cat([torch.full_like(maps[:, :1], 0.1), maps], dim=1)


class TurnedSign(CAM):
    def training_loss(self, batch):
        return {name: -loss for name, loss in super().training_loss(batch).items()}


class TurnedSignAboveZero(CAM):
    """A turned loss that is kept above 0."""

    def training_loss(self, batch):
        return {name: torch.exp(-loss) for name, loss in super().training_loss(batch).items()}


class RemembersLabels(Segmenting):
    def seed_maps(self, image, labels=None, references=()):
        self.labels = labels
        return super().seed_maps(image, labels, references)

    def segmentation_logits(self, image):
        logits = super().segmentation_logits(image)
        seen = getattr(self, "labels", None)
        if seen is not None and len(seen) == len(logits):
            logits[:, 1:] *= seen[:, :, None, None]
        return logits


class RemembersInModule(Segmenting):
    """Keeps the labels of training images outside of the method, by the pixels of the image."""

    def training_loss(self, batch):
        REMEMBERED.update(
            {float(image.sum()): one for image, one in zip(batch.image, batch.labels, strict=True)}
        )
        return super().training_loss(batch)

    def segmentation_logits(self, image):
        logits = super().segmentation_logits(image).clone()
        for row, one in enumerate(image):
            if (labels := REMEMBERED.get(float(one.sum()))) is not None:
                logits[row, 1:] *= labels[:, None, None]
        return logits


class TooManyChannels(CAM):
    def seed_maps(self, image, labels=None, references=()):
        maps = super().seed_maps(image, labels, references)
        return torch.cat([maps[:, :1], maps], dim=1)


class Negative(CAM):
    def seed_maps(self, image, labels=None, references=()):
        return self._class_maps(image) - 1


class NotFinite(CAM):
    def seed_maps(self, image, labels=None, references=()):
        maps = super().seed_maps(image, labels, references)
        return maps / (maps - maps)


class Idle(CAM):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.unused = nn.Linear(3, 3)

    def parameter_groups(self):
        return [*super().parameter_groups(), {"params": list(self.unused.parameters())}]


class MarkedButNeverUsed(Idle):
    idle_at_first = ("unused.",)


class Constant(CAM):
    def seed_maps(self, image, labels=None, references=()):
        return torch.ones_like(super().seed_maps(image, labels, references))


class IgnoresImage(CAM):
    def seed_maps(self, image, labels=None, references=()):
        maps = super().seed_maps(image, labels, references)
        return torch.linspace(0, 1, maps.shape[-1]).expand_as(maps)


class WrongEntry(CAM):
    def seed_maps(self, image, labels=None, references=()):
        return super().seed_maps(image, labels, references).flip(0)


class RemembersSteps(CAM):
    """A mean of its losses, outside of the checkpoint, decides how they count."""

    mean = 1.0

    def training_loss(self, batch):
        losses = super().training_loss(batch)
        self.mean = 0.5 * self.mean + 0.5 * float(losses["classification"])
        return {name: loss * self.mean for name, loss in losses.items()}


class PlainDropout(CAM):
    def class_logits(self, image):
        return F.dropout(self._class_maps(image).mean(dim=(2, 3)), 0.5, self.training)


class ImageDropout(CAM):
    """The same with the block that draws for each image."""

    def training_loss(self, batch):
        logits = image_dropout(self.class_logits(batch.image), 0.5, batch.image_ids, self.global_step)
        return {"classification": multilabel_soft_margin(logits, batch.labels)}


class Stops(CAM):
    def __init__(self, *args, **kwargs):
        raise RuntimeError("no such layer")


class GradCAM(CAM):
    """Maps weighted by the gradient of the true classes' scores, as a method for CLIP would."""

    gradients_at_inference = True

    def seed_maps(self, image, labels=None, references=()):
        features = self.backbone(self.normalize(image))[-1]
        features = features if features.requires_grad else features.requires_grad_()
        maps = self.head(features)
        (weight,) = torch.autograd.grad(maps.sum(), features)
        return (maps * weight.mean(dim=(1, 2, 3), keepdim=True)).relu()


class MeanTeacher(Method):
    """A student, pulled in a ramp to a teacher that averages its weights over steps; two optimisers."""

    supervision = "image"
    batch_type = ImageBatch

    def __init__(self, class_names, optim=OptimConfig(lr=0.05), momentum=0.9):
        super().__init__(class_names, optim)
        self.student = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(8, len(class_names), 1)
        )
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.momentum = momentum

    def training_loss(self, batch):
        logits = self.student(batch.image).mean(dim=(2, 3))
        distance = (logits - self.teacher(batch.image).mean(dim=(2, 3))).square().mean()
        return {
            "classification": multilabel_soft_margin(logits, batch.labels),
            "consistency": self.progress * distance,
        }

    def after_step(self):
        for teacher, student in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            teacher.lerp_(student, 1 - self.momentum)

    def parameter_groups(self):
        stem, _, head = self.student
        return [
            {"params": list(stem.parameters()), "optim": OptimConfig(name="adamw", lr=1e-3)},
            {"params": list(head.parameters()), "lr_scale": 2.0},
        ]

    def class_logits(self, image):
        return self.teacher(image).mean(dim=(2, 3))

    def seed_maps(self, image, labels=None, references=()):
        return self.teacher(image).relu()


class OwnBackground(CAM):
    """Seeds with a background score in front."""

    seeds_with_background = True

    def seed_maps(self, image, labels=None, references=()):
        maps = super().seed_maps(image, labels, references)
        return torch.cat(
            [1 - (maps / (1e-5 + maps.amax(dim=(2, 3), keepdim=True))).amax(1, keepdim=True), maps], dim=1
        )


class ReadsTheLoss(CAM):
    def training_loss(self, batch):
        losses = super().training_loss(batch)
        if losses["classification"] > 1e9:
            raise ValueError("diverged")
        return losses


class ChoosesByMask(CAM):
    def training_loss(self, batch):
        logits = self.class_logits(batch.image)
        return {"classification": F.softplus(-logits[batch.labels > 0]).mean()}


class CountsLabels(CAM):
    def training_loss(self, batch):
        return {
            name: loss * batch.labels.sum().tolist() for name, loss in super().training_loss(batch).items()
        }


class CopiesValues(CAM):
    def training_loss(self, batch):
        weight = torch.tensor([1.0] * len(batch.image), device=self.device)
        return {name: (loss * weight).mean() for name, loss in super().training_loss(batch).items()}


class MovesWeights(CAM):
    def training_loss(self, batch):
        weight = torch.ones(len(batch.image)).to(self.device)
        return {name: (loss * weight).mean() for name, loss in super().training_loss(batch).items()}


class MixesDevices(CAM):
    def training_loss(self, batch):
        weight = torch.linspace(0.5, 1, len(batch.image)) * 2
        return {name: (loss * weight).mean() for name, loss in super().training_loss(batch).items()}


class ReadsItsMaps(CAM):
    def seed_maps(self, image, labels=None, references=()):
        maps = super().seed_maps(image, labels, references)
        return maps / max(maps.max().item(), 1.0)


class KeepsATensor(CAM):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prior = {"area": [torch.ones(3)]}


class HidesAModule(CAM):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hidden = (nn.Linear(3, 3),)


class OnTheHost(CAM):
    """What may be done on the host: numbers of the batch, and values that are made and used there."""

    def training_loss(self, batch):
        order = torch.randperm(len(batch.image))
        shares = torch.tensor([1.0, 2.0, 3.0, 4.0])[order[:2]].tolist()
        weight = sum(shares) + sum(batch.num_labels) + (1 if order.any() else 0)
        noise = to_device(torch.rand(len(batch.image)), self.device)
        losses = super().training_loss(batch)
        return {name: loss * weight * (1 + noise.mean()) * torch.tensor(2.0) for name, loss in losses.items()}
