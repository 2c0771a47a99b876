"""ExCEL as a whole against the authors' code: forward pass, seeds, three phases of the training."""

import golden_excel
import pytest
import torch
import yaml
from golden_excel import TOLERANCE
from torch.nn import functional as F
from torch.testing import assert_close

from wsss_bench import vocabulary
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.excel import excel
from wsss_bench.methods.excel.class_maps import merge_mirrored
from wsss_bench.methods.excel.excel import DecoderConfig, ExCEL
from wsss_bench.methods.excel.feature_affinity import (
    affinity,
    calibration_bias,
    cosines,
    mean_of_batch,
)
from wsss_bench.methods.excel.text_enrichment import Enrichment
from wsss_bench.methods.excel.training_free import ExCELStatic
from wsss_bench.methods.optim import OptimConfig, poly_warmup
from wsss_bench.nn.clip import resize_bilinearly
from wsss_bench.nn.competing_texts import Texts
from wsss_bench.published_probabilities import published_probabilities
from wsss_bench.published_readout import PublishedReadout
from wsss_bench.shipped import CONFIGS
from wsss_bench.types import ImageBatch, InferenceSample

ARRAYS = golden_excel.tensors("model")
IMAGES = ARRAYS["images_u8"] / 255
LABELS = ARRAYS["labels"].float()
WORDS = Texts({name: f"<{name}>" for name in "1234"}, ["<5>", "<6>"], "mini")
STEPS = {"static": 0, "dynamic": 14000, "late": 24000}
MINI = {
    "clip": "package:mini/clip",
    "texts": Texts("mini", "mini", "mini"),
    "enrichment": Enrichment("mini", clusters=11),
    "calibrated_blocks": 2,
    "attention_blocks": 3,
}
TRAINED = {**MINI, "decoder": DecoderConfig(width=16, blocks=1, heads=2), "par_iterations": 2}
NAMES = vocabulary.load("mini")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The model of the arrays: radius 2, no dropout, class embeddings that are not those of its texts."""
    folder = golden_excel.write_tower(tmp_path_factory.mktemp("clip"), "model_tower")
    method = ExCEL(
        "1234",
        clip=str(folder),
        texts=WORDS,
        enrichment=Enrichment(clusters=None),
        decoder=DecoderConfig(width=16, dropout=0.0),
        affinity_radius=2,
    )
    method._embeddings = golden_excel.tensors("model_heads")["text"]
    missing, unexpected = method.load_state_dict(golden_excel.heads(), strict=False)
    assert (missing, unexpected) == (["trained_steps"], [])
    method.total_steps = 30000
    return method


@pytest.fixture(scope="module")
def mini():
    torch.manual_seed(0)
    return ExCEL(NAMES, **TRAINED).eval()


def mini_batch(number=2, size=96):
    torch.manual_seed(1)
    labels = torch.zeros(number, len(NAMES))
    labels[torch.arange(number), torch.arange(number) % 8] = 1
    return ImageBatch(
        [f"image{k}" for k in range(number)],
        torch.rand(number, 3, size, size),
        labels,
        torch.ones(number, size, size, dtype=torch.bool),
    )


def at(method, step):
    method.progress = min((step + 0.5) / method.total_steps, 1.0)
    assert method.global_step == step
    return method


def test_the_position_table_is_resized_bilinearly(published):
    table = published.clip.model.vision_model.embeddings.position_embedding.weight
    expected = golden_excel.tensors("model_tower")["position_table_after_resize"]
    assert_close(resize_bilinearly(table, (4, 4)), expected, **TOLERANCE)


@torch.no_grad()
def test_a_forward_pass_is_the_published_one(published):
    reading = published.read(IMAGES, "published")
    fused = published.fuse(reading)
    similarity = cosines(fused)
    mean = mean_of_batch(similarity)
    assert_close(fused.mT.unflatten(2, (4, 4)), ARRAYS["fused"], **TOLERANCE)
    assert_close(published.segmentation_logits(IMAGES), ARRAYS["seg"], **TOLERANCE)
    assert_close(reading.attention, ARRAYS["attention"][-6:, :, 1:, 1:], **TOLERANCE)
    assert_close(affinity(similarity, mean), ARRAYS["affinity"], **TOLERANCE)
    maps = published.maps(reading.calibrated, IMAGES)
    assert_close(maps.flatten(2).mT, ARRAYS["maps"], **TOLERANCE)
    learned = published.maps(reading.with_bias(calibration_bias(similarity, mean)), IMAGES)
    assert_close(learned.flatten(2).mT, ARRAYS["maps_dynamic"], **TOLERANCE)


@torch.no_grad()
def test_maps_of_images_with_their_mirror_images_are_the_published_ones(published):
    reading = published.read(torch.cat([IMAGES, IMAGES.flip(-1)]), "published")
    static = merge_mirrored(published.maps(reading.calibrated, IMAGES))
    assert_close(static.flatten(2).mT, ARRAYS["maps_flip_static"], **TOLERANCE)
    similarity = cosines(published.fuse(reading))
    bias = calibration_bias(similarity, mean_of_batch(similarity))  # published: over the batch of views
    learned = merge_mirrored(published.maps(reading.with_bias(bias), IMAGES))
    assert_close(learned.flatten(2).mT, ARRAYS["maps_dynamic_flip"], **TOLERANCE)


def training_loss(method, phase):
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    return at(method, STEPS[phase]).training_loss(ImageBatch(["a", "b"], IMAGES, LABELS, valid))


@pytest.mark.parametrize("phase", STEPS)
def test_losses_and_gradients_are_the_published_ones(published, phase, monkeypatch):
    """With the published labels: a pixel that 20 iterations of PAR leave undecided moves the gradients."""
    monkeypatch.setattr(excel, "pseudo_labels", lambda *_: ARRAYS[f"{phase}_label"].long())
    published.zero_grad()
    losses = training_loss(published, phase)
    assert_close(losses["seg"], ARRAYS[f"{phase}_seg_loss"], **TOLERANCE)
    assert_close(losses["affinity"] / 0.1, ARRAYS[f"{phase}_diversity_loss"], **TOLERANCE)
    total = sum(losses.values())
    assert_close(total, ARRAYS[f"{phase}_loss"], **TOLERANCE)
    total.backward()
    parameters = dict(published.named_parameters())
    found = 0
    for name, expected in ARRAYS.items():
        if name.startswith(f"{phase}_grad__"):
            gradient = parameters[golden_excel.our_name(name.removeprefix(f"{phase}_grad__"))].grad
            assert_close(gradient.flatten(), expected.flatten(), **TOLERANCE)
            found += 1
    assert found == 5


@pytest.mark.parametrize("phase", STEPS)
def test_labels_and_pairs_of_a_step_are_the_published_ones(published, phase, monkeypatch):
    seen = {}

    def remember(name, function):
        return lambda *args: seen.setdefault(name, function(*args))

    for name in ("pseudo_labels", "label_pairs"):
        monkeypatch.setattr(excel, name, remember(name, getattr(excel, name)))
    with torch.no_grad():
        losses = training_loss(published, phase)
    assert (seen["pseudo_labels"] != ARRAYS[f"{phase}_label"]).float().mean() <= 0.002
    assert (seen["label_pairs"] != ARRAYS[f"{phase}_pairs"]).float().mean() <= 0.002
    assert_close(sum(losses.values()), ARRAYS[f"{phase}_loss"], rtol=1e-3, atol=0.0)


@torch.no_grad()
@pytest.mark.parametrize("data", ["voc", "coco"])
def test_the_published_read_outs_are_those_of_the_authors(published, data):
    arrays = golden_excel.tensors("inference")
    name = "excel.yaml" if data == "voc" else "excel.coco.yaml"
    shipped = yaml.safe_load((CONFIGS / "methods" / name).read_text())
    keys = shipped["readouts"][f"excel-{data}"] | {"squash": int(arrays["resize"]), "crf": None}
    readout = PublishedReadout(**{name: tuple(v) if isinstance(v, list) else v for name, v in keys.items()})
    assert_close(torch.tensor(readout.scales), arrays["scales"].gather(0, torch.tensor([1, 0, 2, 3])))
    image = arrays["image_u8"][0].permute(1, 2, 0).numpy()
    sample = InferenceSample("a", image, None)
    (found,) = published_probabilities(published.eval(), [sample], readout, InferenceConfig())
    logits = arrays[f"infer_seg_{data}_logits"][0]
    if data == "coco":
        logits = F.interpolate(logits[None], image.shape[:2], mode="bilinear", align_corners=False)[0]
    step = 2 if data == "voc" else 1  # every second pixel is stored
    assert_close(found[:, ::step, ::step].log(), logits.log_softmax(0), **TOLERANCE)
    assert torch.equal(found.argmax(0), arrays[f"infer_seg_{data}_pred"].long())


@pytest.mark.parametrize("data", ["voc", "coco"])
def test_the_schedule_is_the_published_one(data):
    arrays = golden_excel.tensors("lr_schedule")
    keys = yaml.safe_load((CONFIGS / "methods" / "excel.yaml").read_text())["model"]["init_args"]["optim"]
    steps, warmup = (30000, 50) if data == "voc" else (100000, 200)
    optim = OptimConfig(**keys | {"warmup_steps": warmup})
    for step, published in zip(arrays[f"step_{data}"].tolist(), arrays[f"lr_{data}"][:, 1], strict=True):
        factor = poly_warmup(step, steps, optim.power, optim.warmup_steps, optim.warmup_ratio)
        assert_close(optim.lr * factor, float(published), rtol=1e-4, atol=1e-9)


def test_clip_has_no_gradient_and_is_not_saved(published):
    at(published, 0)
    assert not any(parameter.requires_grad for parameter in published.clip.parameters())
    assert all(name.startswith(("fusion.", "decoder.")) for name, _ in published.named_parameters())
    assert not any("model" in name for name in published.state_dict())


def test_seeds_before_the_learnable_calibration_need_no_training(mini):
    static = ExCELStatic(NAMES, **MINI).eval()
    image = mini_batch(1).image
    with torch.no_grad():
        assert torch.equal(mini.seed_maps(image), static.seed_maps(image))


def trained(mini, steps):
    mini.trained_steps.fill_(steps)
    return mini


@torch.no_grad()
def test_seeds_of_a_trained_method_differ_and_do_not_depend_on_the_batch(mini):
    image = mini_batch(3).image
    untrained = mini.seed_maps(image)
    try:
        seeds = trained(mini, 14000).seed_maps(image)
        alone = torch.cat([mini.seed_maps(one[None]) for one in image])
        state = mini.state_dict()
    finally:
        trained(mini, 0)
    assert not torch.allclose(seeds, untrained, atol=1e-2)
    assert_close(seeds, alone, rtol=1e-4, atol=1e-4)
    fresh = ExCEL(NAMES, **TRAINED).eval()
    fresh.load_state_dict(state)
    fresh.trained_steps.fill_(14000)
    assert_close(fresh.seed_maps(image), seeds)


@torch.no_grad()
def test_seeds_of_a_mirror_symmetric_image_are_their_own_mirror(mini):
    half = mini_batch(1).image[..., :48]
    image = torch.cat([half, half.flip(-1)], dim=-1)
    reading = mini.read(torch.cat([image, image.flip(-1)]))
    maps = merge_mirrored(mini.maps(reading.calibrated, image))
    assert_close(maps, maps.flip(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", [0, 15000, 25000])
@pytest.mark.parametrize("labels", ["some", "none"])
def test_losses_are_finite_on_images_that_are_not_square(mini, step, labels):
    batch = mini_batch()
    image = batch.image[..., :64, :]
    valid = batch.valid[:, :64].clone()
    valid[:, :20] = False
    batch = batch._replace(
        image=image, valid=valid, labels=batch.labels if labels == "some" else batch.labels * 0
    )
    mini.total_steps = 30000
    try:
        losses = at(mini, step).training_loss(batch)
    finally:
        mini.progress = None
    assert all(torch.isfinite(loss) and loss >= 0 for loss in losses.values())


@torch.no_grad()
@pytest.mark.parametrize("steps", [0, 14000])
@pytest.mark.parametrize("size", [(8, 8), (8, 40), (120, 72)])
def test_maps_of_any_grid_are_finite(mini, steps, size):
    try:
        seeds = trained(mini, steps).seed_maps(torch.rand(1, 3, *size))
    finally:
        trained(mini, 0)
    assert seeds.shape == (1, 8, size[0] // 8, size[1] // 8)
    assert torch.isfinite(seeds).all()
    assert seeds.amin() >= 0
    assert torch.isfinite(mini.segmentation_logits(torch.rand(1, 3, *size))).all()


def test_the_tokens_of_the_adapter_are_a_choice(mini):
    clean = ExCEL(NAMES, **TRAINED, tokens="clean").eval()
    clean.load_state_dict(mini.state_dict())
    image = mini_batch(1).image
    with torch.no_grad():
        difference = clean.segmentation_logits(image) - mini.segmentation_logits(image)
    assert difference.abs().max() > 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention_blocks": 6}, r"has 4 blocks: calibrated_blocks is 0 to 3 and attention_blocks 1 to 4"),
        ({"calibrated_blocks": 4}, r"has 4 blocks: .* got 4 and 3"),
        ({"box_threshold": 1.0}, r"box_threshold is 1.0; expected a number at least 0 and below 1"),
        ({"calibrated_blocks": 0}, r"set lvc_start: null, or calibrate some blocks"),
        ({"lvc_start": -1}, r"lvc_start is -1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ExCEL(NAMES, **{**TRAINED, **change})


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"decoder.width is 20; expected a multiple of decoder.heads, 8"):
        DecoderConfig(width=20)
