"""Trained methods in Python and on single images: exactly what the predict stage writes."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import paths
import pytest
import torch
import yaml
from conftest import write_voc
from PIL import Image

import wsss_bench
from wsss_bench.artifacts.files import read_mask
from wsss_bench.artifacts.images import read_image
from wsss_bench.artifacts.layout import LAST
from wsss_bench.artifacts.seeds import read_seed
from wsss_bench.cli import main
from wsss_bench.data.sources import VOC
from wsss_bench.methods import CAM, CLIMS, Method
from wsss_bench.methods.hyperparameters import plain_arguments
from wsss_bench.methods.named_code import refuse_foreign
from wsss_bench.nn import timm_models
from wsss_bench.nn.frozen import Frozen
from wsss_bench.nn.timm_models import create_timm
from wsss_bench.plan.reader import read_configs
from wsss_bench.readout import threshold_mask
from wsss_bench.stages import fit, predict

pytestmark = pytest.mark.slow

FOLDER = read_configs(paths.CONFIGS)
SPLITS = {"seed": "train", "segmentation": "val"}
SIZES = (187, 250), (40, 56)
"""Sizes of the images: half of that of VOC, which no stride divides, and a small one."""


class World:
    """A folder with two training and two validation images, and the stages made there."""

    def __init__(self, root):
        self.root = root
        self.voc = write_voc(root / "voc")
        for split in SPLITS.values():
            listed = self.voc / "ImageSets/Segmentation" / f"{split}.txt"
            ids = listed.read_text().split()[:2]
            listed.write_text("\n".join(ids))
            for image_id, (height, width) in zip(ids, SIZES, strict=True):
                picture, mask = self.picture(image_id), self.voc / f"SegmentationClass/{image_id}.png"
                Image.open(picture).resize((width, height)).save(picture)
                Image.open(mask).resize((width, height), Image.Resampling.NEAREST).save(mask)
        names = {path.stem: ["a bird"] for path in (self.voc / "JPEGImages").iterdir()}
        (self.voc / "captions.json").write_text(json.dumps(names))
        self.source = VOC(self.voc, vocabulary="mini")

    def picture(self, image_id):
        return self.voc / f"JPEGImages/{image_id}.jpg"

    def config(self, name, out, kind="methods"):
        """Configuration of a short stage; the class of the model is named in short."""
        content = FOLDER.method(name, "mini", {}) if kind == "methods" else FOLDER.segmenter(name, "mini", {})
        return content, {
            "seed_everything": 0,
            "model": {
                "class_path": content.model.class_path.rpartition(".")[2],
                "init_args": content.model.init_args,
            },
            "data": {
                **content.data,
                "source": {"class_path": "VOC", "init_args": {"root": str(self.voc), "vocabulary": "mini"}},
                "global_batch_size": 2,
                "val_split": None,
            },
            "trainer": {"accelerator": "cpu", "devices": 1},
            "inference": {**content.inference, "scales": [0.5, 0.75]},
            "out": str(out),
        }

    def run(self, stage, config):
        file = self.root / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        assert stage.main(["--config", str(file)]) == 0

    def train(self, name, kind="methods"):
        """A train stage without a step, whose network is as it was initialised."""
        content, config = self.config(name, self.root / f"train-{name}", kind)
        config["trainer"]["max_epochs"] = 0
        config["protocol"] = {"scales": [1.0, 0.5]}
        config["bench"] = {"threshold": getattr(content.bench, "threshold", None)}
        if not (self.root / f"train-{name}" / LAST).is_file():
            self.run(fit, config)
        return self.root / f"train-{name}"

    def predicted(self, name, product, kind="methods"):
        """The folder of seeds, or of masks, of a predict stage."""
        _, config = self.config(name, self.root / f"{product}-{name}", kind)
        config |= {"checkpoint": str(self.train(name, kind)), "product": product, "split": SPLITS[product]}
        config |= {"scales": [1.0, 0.5]}
        self.run(predict, config)
        return self.root / f"{product}-{name}" / ("seeds" if product == "seed" else "masks")

    def labels(self, image_id):
        return [self.source.class_names[c] for c in np.flatnonzero(self.source.labels(image_id))]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("library"))


class WithFrozenNetwork(Method):
    """Holds a pretrained network that is in no checkpoint."""

    supervision = "none"
    batch_type = None

    def __init__(self, class_names, weights="imagenet"):
        super().__init__(class_names)
        self.net = Frozen(create_timm("package:mini2/resnet.json", weights))


@pytest.mark.parametrize("name", ["cam", "toco", "tcl"])
def test_seeds_are_those_of_the_predict_stage(name, world, tmp_path):
    seeds = world.predicted(name, "seed")
    shutil.copy(world.train(name) / LAST, tmp_path / "copy.ckpt")
    method = wsss_bench.load(tmp_path / "copy.ckpt")
    for image_id in world.source.ids("train"):
        maps, labels = read_seed(seeds, image_id), world.labels(image_id)
        found = method.predict(world.picture(image_id), labels, product="seed")
        assert list(found.scores) == labels
        np.testing.assert_allclose(np.stack(list(found.scores.values())), maps.scores, atol=1 / 125)
        threshold = FOLDER.method(name, "mini", {}).bench.threshold
        np.testing.assert_array_equal(found.mask, threshold_mask(maps, threshold))
        assert found.mask.shape == found.scores[labels[0]].shape == world.source.image(image_id).shape[:2]
        assert set(found.found) <= set(labels)


@pytest.mark.parametrize(
    ("name", "kind"), [("toco", "methods"), ("tcl", "methods"), ("deeplabv2", "segmenters")]
)
def test_segmentations_are_those_of_the_predict_stage(name, kind, world):
    masks = world.predicted(name, "segmentation", kind)
    method = wsss_bench.load(str(world.train(name, kind)))
    for image_id in world.source.ids("val"):
        image = world.source.image(image_id)
        for scales in ("ss", "ms"):
            found = method.predict(Image.fromarray(image), scales=scales)
            np.testing.assert_array_equal(found.mask, read_mask(masks / f"{scales}-raw" / f"{image_id}.png"))
        assert list(found.scores) == ["background", *world.source.class_names]
        np.testing.assert_array_equal(np.stack(list(found.scores.values())).argmax(0), found.mask)
        np.testing.assert_allclose(sum(found.scores.values()), 1, rtol=1e-5)


def test_a_checkpoint_holds_plain_arguments_and_settings(world):
    checkpoint = torch.load(world.train("toco") / LAST, weights_only=True)
    arguments = checkpoint["hyper_parameters"]
    assert json.loads(json.dumps(arguments)) == arguments
    assert arguments["optim"]["name"] == "adamw"
    assert arguments["class_names"] == list(world.source.class_names)
    record = checkpoint["wsss_bench"]
    assert json.loads(json.dumps(record)) == record
    assert record["method"] == "wsss_bench.methods.single_stage.toco.ToCo"
    assert record["prediction"]["threshold"] == 0.15
    assert record["prediction"]["inference"]["multi_scales"] == [1.0, 0.5]


def test_one_class_or_any_is_loaded_from_a_checkpoint(world):
    place = world.train("cam")
    for kind, path in ((CAM, place / LAST), (Method, place), (CAM, str(place / LAST))):
        method = kind.load_from_checkpoint(path)
        assert type(method) is CAM
        assert not method.training
        assert method.hparams["output_stride"] == 8
        assert method.optim.name == "adamw"
    with pytest.raises(ValueError, match=r"is of wsss_bench\.methods\.cam\.CAM, which is no CLIMS"):
        CLIMS.load_from_checkpoint(place)


def test_weights_are_not_read_and_a_clip_is(world, monkeypatch):
    def read(*arguments, **options):
        raise AssertionError("weights are read")

    monkeypatch.setattr(timm_models, "load_weights", read)
    monkeypatch.setattr(timm_models.timm, "load_pretrained", read, raising=False)
    for name in ("cam", "toco"):
        wsss_bench.load(world.train(name))
        with pytest.raises(AssertionError):
            CAM(["a"], backbone="package:mini2/resnet.json", weights="package:mini2/resnet.safetensors")
    with pytest.raises(FileNotFoundError, match=r"TCL needs its frozen CLIP '/moved/clip', which is not in"):
        wsss_bench.load(world.train("tcl"), clip="/moved/clip")


def test_a_frozen_network_that_is_no_clip_gets_its_weights(tmp_path):
    """It is in no checkpoint: with random weights it would be another one."""
    method = WithFrozenNetwork(["a"], weights="package:mini2/resnet.safetensors")
    checkpoint = {"state_dict": method.state_dict()}
    method.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "own.ckpt")
    loaded = WithFrozenNetwork.load_from_checkpoint(tmp_path / "own.ckpt")
    for own, other in zip(method.net.network.parameters(), loaded.net.network.parameters(), strict=True):
        assert torch.equal(own, other)


OWN_MODULE = """
from enum import Enum
from typing import Any

from torch import nn

from wsss_bench.methods.base import Method

Kind = Enum("Kind", "A B")


class Own(Method):
    supervision = "none"
    batch_type = None

    def __init__(self, class_names, kind: Kind = Kind.A, part: Any = None, weights: str | None = None):
        super().__init__(class_names)
        assert weights is None
        self.kind, self.part, self.layer = kind, part, nn.Linear(1, 1)

    def seed_maps(self, image, labels=None, references=()):
        return image[:, :1] * float("nan" if self.kind is Kind.B else 1)


class Passing(Own):
    def __init__(self, class_names, **kwargs):
        super().__init__(class_names, **kwargs)
"""


@pytest.fixture
def own_checkpoint(tmp_path, monkeypatch):
    """A function that writes a checkpoint of a class in the working directory, which is not imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strange_methods.py").write_text(OWN_MODULE)
    monkeypatch.delitem(sys.modules, "strange_methods", raising=False)

    def write(name="Own", /, **arguments):
        settings = {"threshold": 0.5, "inference": {"flip": False}}
        record = {"method": f"strange_methods.{name}", "class_names": ["a"], "prediction": settings}
        state = {f"layer.{key}": value for key, value in torch.nn.Linear(1, 1).state_dict().items()}
        torch.save({"state_dict": state, "hyper_parameters": arguments, "wsss_bench": record}, "own.ckpt")
        return tmp_path / "own.ckpt"

    return write


def test_a_checkpoint_does_not_choose_the_code_that_runs(own_checkpoint):
    with pytest.raises(ValueError, match=r"names strange_methods\.Own, .* modules=\['strange_methods'\]"):
        wsss_bench.load(own_checkpoint())
    assert "strange_methods" not in sys.modules
    assert type(wsss_bench.load(own_checkpoint(), modules="strange_methods")).__name__ == "Own"
    assert wsss_bench.load(own_checkpoint()).kind.name == "A"  # it is imported now
    kind = sys.modules["strange_methods"].Own
    assert kind.load_from_checkpoint(own_checkpoint(kind="B")).kind.name == "B"


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "planted"]}}, "subprocess.Popen"),
        ({"class_path": "wsss_bench.bench.launchers.subprocess.Popen"}, "subprocess.Popen"),
        ([{"key": "this.s"}], "this.s"),
        ({"class_path": "torch.hub.load"}, "torch.hub.load"),
        ({"class_path": "torch.nn.GELU"}, None),
        ("resnet50.tv_in1k", None),
        ("not a path", None),
    ],
)
def test_hyper_parameters_name_admitted_code_only(part, named, own_checkpoint, tmp_path):
    path = own_checkpoint(part=part)
    if named is None:
        refuse_foreign({"part": part}, ["strange_methods"], path)
        return
    with pytest.raises(ValueError, match=rf"names {re.escape(named)}, which is code of neither"):
        wsss_bench.load(path, modules=["strange_methods"])
    assert not (tmp_path / "planted").exists()
    assert "this" not in sys.modules
    wsss_bench.load(path, modules=["strange_methods"], part=None)  # what the caller gives is not checked


def test_weights_are_not_read_either_where_a_class_passes_them_on(own_checkpoint):
    for kind in ("Own", "Passing"):
        wsss_bench.load(own_checkpoint(kind, weights="nowhere.safetensors"), modules=["strange_methods"])


def test_maps_of_one_image_are_checked_as_those_of_a_stage(own_checkpoint):
    image = np.zeros((5, 7, 3), np.uint8)
    method = wsss_bench.load(own_checkpoint(kind="B"), modules=["strange_methods"])
    assert plain_arguments(method.hparams)[0]["kind"] == "B"
    with pytest.raises(ValueError, match=r"scores of Own\.seed_maps are not finite"):
        method.predict(image, ["a"])
    method.seed_maps = lambda image, labels=None, references=(): image
    with pytest.raises(ValueError, match=r"Own\.seed_maps returned \(1, 3, 5, 7\) for 1 images; expected"):
        method.predict(image, ["a"])


def test_other_classes_for_an_open_vocabulary_and_only_for_it(world):
    image = world.picture("train_0")
    method = wsss_bench.load(world.train("tcl"), class_names=["sheep", "car"])
    found = method.predict(image)
    assert list(found.scores) == ["background", "sheep", "car"]
    with pytest.raises(
        ValueError, match=r"CAM predicts the classes of its training \(aeroplane, .*got sheep"
    ):
        wsss_bench.load(world.train("cam"), class_names=["sheep"])
    with pytest.raises(ValueError, match=r"TCL was trained without classes; give class_names"):
        wsss_bench.load(world.train("tcl"), class_names=[]).predict(image)


def test_without_labels_the_classifier_decides(world):
    method = wsss_bench.load(world.train("cam"))
    image = world.picture("train_1")
    with torch.inference_mode():
        method.head.weight.zero_()
        method.head.weight[2] = 1.0  # features are positive
        method.head.weight[1] = -1.0
    assert list(method.predict(image).scores) == ["boat"]
    assert method.predict(image, labels=[]).scores == {}
    method.class_logits = lambda image: None
    with pytest.warns(UserWarning, match="CAM has no classifier and got no labels"):
        assert list(method.predict(image).scores) == list(method.class_names)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((5, 5), np.uint8), ValueError, r"an array \(5, 5\) uint8; expected \(H, W, 3\) uint8 RGB"),
        (np.zeros((5, 5, 4), np.uint8), ValueError, r"\(5, 5, 4\)"),
        (np.zeros((5, 5, 3)), ValueError, "float64"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, r"\(0, 5, 3\)"),
        ([1], TypeError, "image is a list"),
        (Image.new("I;16", (5, 5)), ValueError, "a I;16 image; expected 8 bits"),
        ("nowhere.png", FileNotFoundError, "no image nowhere.png"),
    ],
)
def test_what_is_no_image(image, error, message, world):
    with pytest.raises(error, match=message):
        wsss_bench.load(world.train("cam")).predict(image)


def test_grey_images_and_transparency_are_read_as_by_sources(world):
    method = wsss_bench.load(world.train("cam"))
    picture = Image.open(world.picture("train_1"))
    grey = picture.convert("L")
    one = method.predict(grey, ["bird"]).scores["bird"]
    np.testing.assert_array_equal(one, method.predict(grey.convert("RGB"), ["bird"]).scores["bird"])
    two = method.predict(picture.convert("RGBA"), "bird").scores["bird"]
    np.testing.assert_array_equal(two, method.predict(np.asarray(picture), ["bird"]).scores["bird"])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "cam",
            {"labels": ["burd"]},
            r"label 'burd' is no class of this CAM; did you mean 'bird'\? Known: aero",
        ),
        ("cam", {"product": "segmentation"}, "CAM makes no segmentation"),
        ("cam", {"product": "mask"}, "product is 'mask'; expected 'seed' or 'segmentation'"),
        ("cam", {"scales": "s"}, "scales is 's'; expected 'ss' or 'ms'"),
        ("cam", {"threshold": 2}, "threshold is 2; expected"),
        ("supervised", {"labels": ["bird"]}, "Supervised makes no seeds"),
    ],
)
def test_what_cannot_be_predicted(name, arguments, message, world):
    with pytest.raises(ValueError, match=message):
        wsss_bench.load(world.train(name)).predict(world.picture("train_1"), **arguments)


def test_settings_can_be_replaced(world):
    method = wsss_bench.load(world.train("cam"))
    image, settings = world.picture("train_1"), method.prediction_settings
    method.prediction_settings = replace(settings, inference=replace(settings.inference, scales=(1.0,)))
    single = method.predict(image, ["bird"]).scores["bird"]
    method.prediction_settings = replace(settings, threshold=None)
    assert not np.array_equal(single, method.predict(image, ["bird"], threshold=0.0).scores["bird"])
    with pytest.raises(ValueError, match="no background threshold is known for the seeds of this CAM"):
        method.predict(image, ["bird"])


def test_scores_that_are_not_finite_are_refused(world):
    method = wsss_bench.load(world.train("cam"))
    with torch.inference_mode():
        method.head.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="are not finite; the checkpoint has diverged"):
        method.predict(world.picture("train_1"), ["bird"])


@pytest.fixture
def earlier(world, tmp_path):
    """A stage of an earlier version, whose checkpoint does not say how its method is built."""
    shutil.copytree(world.train("cam"), tmp_path / "earlier")
    manifest = json.loads((tmp_path / "earlier/stage.json").read_text())
    del manifest["files"]
    (tmp_path / "earlier/stage.json").write_text(json.dumps(manifest))
    checkpoint = torch.load(tmp_path / "earlier" / LAST, weights_only=True)
    del checkpoint["hyper_parameters"]
    checkpoint["wsss_bench"] = {key: checkpoint["wsss_bench"][key] for key in ("method", "class_names")}
    torch.save(checkpoint, tmp_path / "earlier" / LAST)
    return tmp_path / "earlier"


def test_an_earlier_checkpoint_is_built_as_its_stage_says(earlier, world, tmp_path):
    image = world.picture("train_1")
    expected = wsss_bench.load(world.train("cam")).predict(image, ["bird"])
    for place in (earlier, earlier / LAST):
        np.testing.assert_array_equal(wsss_bench.load(place).predict(image, ["bird"]).mask, expected.mask)
    shutil.copy(earlier / LAST, tmp_path / "copy.ckpt")
    with pytest.raises(
        ValueError, match=r"copy\.ckpt was written by an earlier version .* name its stage folder"
    ):
        wsss_bench.load(tmp_path / "copy.ckpt")
    for file in ("stage.json", "config.yaml"):
        content = (earlier / file).read_text()
        (earlier / file).write_text(re.sub(r'("?)inference\1:', r"\1other\1:", content))
    with pytest.warns(UserWarning, match="does not say how its method predicts: the defaults"):
        wsss_bench.load(earlier)


def test_the_limit_of_the_long_side_in_earlier_checkpoints_resizes_nothing(world, tmp_path):
    checkpoint = torch.load(world.train("cam") / LAST, weights_only=True)
    inference = checkpoint["wsss_bench"]["prediction"]["inference"]
    for given, kept in ((None, None), (448, 2048)):
        earlier = {key: value for key, value in inference.items() if key not in ("stretch_to", "squash")}
        earlier |= {"short_side": given, "long_side": 2048}
        checkpoint["wsss_bench"]["prediction"]["inference"] = earlier
        torch.save(checkpoint, tmp_path / "earlier.ckpt")
        found = wsss_bench.load(tmp_path / "earlier.ckpt").prediction_settings.inference
        assert (found.short_side, found.long_side) == (given, kept)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.pop("wsss_bench"), ValueError, "was not written by wsss_bench"),
        (lambda c: c.update(wsss_bench=[1]), ValueError, "was not written by wsss_bench"),
        (
            lambda c: c["wsss_bench"].update(method="gone.CAM"),
            ValueError,
            "names gone.CAM, which is code of neither",
        ),
        (lambda c: c["wsss_bench"].update(method="os.path"), ValueError, "os.path is no class; name one"),
        (lambda c: c["hyper_parameters"].update(color=1), ValueError, "cannot be built .* option 'color'"),
        (lambda c: c["state_dict"].popitem(), ValueError, "1 tensors missing"),
        (lambda c: c["wsss_bench"]["prediction"].update(threshold=7), ValueError, "threshold"),
        (lambda c: c["wsss_bench"].update(not_kept=["net"]), ValueError, "cannot hold; give net again"),
    ],
)
def test_a_checkpoint_that_cannot_be_loaded(change, error, message, world, tmp_path):
    checkpoint = torch.load(world.train("cam") / LAST, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "bad.ckpt")
    with pytest.raises(error, match=rf"(?s)bad\.ckpt.*{message}"):
        wsss_bench.load(tmp_path / "bad.ckpt")


def test_places_without_a_checkpoint(world, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere"):
        wsss_bench.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no checkpoints/last\.ckpt; name a train stage"):
        wsss_bench.load(tmp_path)
    (tmp_path / "plan.yaml").write_text("checkpoint: runs/stages/train-x\n")
    with pytest.raises(FileNotFoundError, match=r"predicts with runs/stages/train-x; name that one"):
        wsss_bench.load(tmp_path)
    with pytest.raises(ValueError, match="device 'gpu0' cannot be used"):
        wsss_bench.load(world.train("cam"), device="gpu0")


def test_arguments_that_have_no_plain_form_are_named():
    given = {"net": torch.nn.Identity(), "sizes": (1, 2), "scale": np.float64(0.5), "root": paths.ROOT}
    plain, other = plain_arguments(given)
    assert plain == {"sizes": [1, 2], "scale": 0.5, "root": str(paths.ROOT)}
    assert type(plain["scale"]) is float
    assert other == ["net"]


def test_images_on_the_command_line(world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = ["--checkpoint", str(world.train("cam"))]
    one = ["predict", "--image", str(world.picture("train_1")), *checkpoint, "--labels", "bird, car"]
    assert main([*one, "--out", "y.png", "--scores", "y.npz"]) == 0
    expected = wsss_bench.load(world.train("cam")).predict(world.picture("train_1"), ["bird", "car"])
    np.testing.assert_array_equal(read_mask(tmp_path / "y.png"), expected.mask)
    assert Image.open("y.png").mode == "P"
    assert Image.open("y.png").getpalette()[3:6] == [128, 0, 0]
    printed = capsys.readouterr().out
    assert f"{world.picture('train_1')}: {', '.join(expected.found) or 'background only'} -> y.png" in printed
    with np.load("y.npz", allow_pickle=False) as scores:
        assert scores["classes"].tolist() == ["bird", "car"]
        np.testing.assert_array_equal(scores["scores"][1], expected.scores["car"])
    (tmp_path / "pictures").mkdir()
    for image_id in ("train_1", "val_1"):
        shutil.copy(world.picture(image_id), tmp_path / f"pictures/{image_id}.JPG")
    (tmp_path / "pictures/readme.txt").write_text("no image")
    several = ["predict", "--image=pictures", "--checkpoint", str(world.train("tcl"))]
    assert main([*several, "--out", "masks", "--classes", "sheep,car", "--scales", "ms"]) == 0
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["train_1.png", "val_1.png"]
    assert set(np.unique(read_mask(tmp_path / "masks/val_1.png"))) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--image no.jpg --out y.png", "no.jpg cannot be read"),
        ("--image deep.png --out y.png", "deep.png is a I;16 image"),
        ("--image gone.jpg --out y.png", "gone.jpg does not exist"),
        ("--image empty --out y.png", "the folder empty holds no images"),
        ("--image --out y.png", "--image names nothing"),
        ("--image a.png --out folder.png", "folder.png is a folder; name a file"),
        ("--image a.png --out y.jpg", "y.jpg does not end with .png"),
        ("--image a.png --out y.png --scores y.npy", "--scores: y.npy does not end with .npz"),
        ("--image a.png b/a.png --out y.png", "y.png is one file for 2 images"),
        ("--image a.png b/a.png --out masks", "several images are named a"),
        ("--image a.png --out a.png", "--out would replace the image a.png"),
    ],
)
def test_wrong_options_are_one_sentence_before_anything_is_loaded(
    options, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "folder.png", "b"):
        (tmp_path / folder).mkdir()
    for name in ("a.png", "b/a.png"):
        Image.new("RGB", (4, 4)).save(name)
    Image.new("I;16", (4, 4)).save("deep.png")
    (tmp_path / "no.jpg").write_text("no image")
    assert main(["predict", *options.split(), "--checkpoint", "nowhere"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("wsss-bench predict: ")
    assert message in said
    assert said.count("\n") == 1


def test_the_page_runs(world, tmp_path, monkeypatch):
    """docs/library.md, with a stage and an image of these names."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(world.train("cam"), tmp_path / "runs/stages/train-cam")
    shutil.copy(world.train("cam") / LAST, "last.ckpt")
    shutil.copy(world.picture("train_1"), "dog.jpg")
    (tmp_path / "photos").mkdir()
    shutil.copy("dog.jpg", "photos")
    shutil.copy("dog.jpg", "more.jpg")
    page = (paths.ROOT / "docs/library.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert names["prediction"].mask.shape == read_image(tmp_path / "dog.jpg").shape[:2]
    for command in re.findall(r"^    wsss-bench (.* --checkpoint .*)$", page, re.MULTILINE):
        assert main(command.split()) == 0
    assert read_mask(tmp_path / "masks/more.png").shape == names["prediction"].mask.shape


def test_importing_the_package_is_cheap_and_the_version_is_that_of_the_metadata():
    code = (
        "import sys, wsss_bench, wsss_bench.methods, wsss_bench.data.sources; print(wsss_bench.__version__);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0
    assert found.stdout.strip() == wsss_bench.__version__
    setup = (paths.ROOT / "setup.cfg").read_text()
    assert "version = attr: wsss_bench.__version__" in setup
