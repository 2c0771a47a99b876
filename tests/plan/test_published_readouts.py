"""Which published read-outs a plan makes, and where."""

import paths
import pytest
import yaml
from project import METHODS

from wsss_bench.crf.densecrf import available
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs
from wsss_bench.plan.schema import ConfigError
from wsss_bench.vocabulary import load
from wsss_bench.vocabulary.synonyms import names_of_classes

TILES = {"scales": [0.5, 1.0]}


def write_method(project, **changes):
    """The method `full` with two read-outs and one published result."""
    result = {"dataset": "toy", "split": "val", "product": "segmentation", "miou": 70.0, "source": "Y"}
    content = {**METHODS["full"], "readouts": {"tiles": TILES, "other": {}}}
    content["bench"] = {**content["bench"], "paper": [{**result, "readout": "tiles", **changes}]}
    project.write("configs/methods/full.yaml", content)


def readouts(plan):
    """By title of the predict stage."""
    return {
        stage.title: stage.config["readouts"]
        for stage in plan.stages.values()
        if stage.kind == "predict" and "readouts" in stage.config
    }


def test_what_a_published_result_names_is_made_on_its_split(project):
    write_method(project)
    plan = make_plan(project.experiment(), project.runs)
    assert readouts(plan) == {"full-toy-s0-val": {"tiles": TILES}}


@pytest.mark.parametrize(
    "change",
    [{"dataset": "voc"}, {"split": "test"}, {"product": "seed"}, {"readout": "ms-crf"}, {"segmenter": "net"}],
)
def test_nothing_is_made_for_another_place_or_for_a_readout_of_the_suite(project, change):
    write_method(project, **change)
    assert readouts(make_plan(project.experiment(), project.runs)) == {}


def test_the_prediction_knows_of_a_published_crf_only_that_there_is_one(project):
    crf = {"iterations": 2}
    write_method(project, readout="other")
    content = yaml.safe_load((project.root / "configs/methods/full.yaml").read_text())
    content["readouts"]["other"] = {**TILES, "crf": crf, "crf_subtract": [1, 2, 3]}
    project.write("configs/methods/full.yaml", content)
    plan = make_plan(project.experiment(methods=["full"]), project.runs)
    made = {stage.name: stage.config.get("readouts") for stage in plan.stages.values()}
    assert made["predict full-toy-s0-val"] == {"other": {**TILES, "crf": True}}
    assert made["crf full-toy-s0-val"] == {"other": {"crf": crf, "crf_subtract": [1, 2, 3]}}
    assert made["predict full-toy-s0-val_ood"] is made["crf full-toy-s0-val_ood"] is None
    del content["readouts"]["other"]["crf"]
    project.write("configs/methods/full.yaml", content)
    with pytest.raises(ConfigError, match=r"other: crf_subtract .* leave it out, or add crf"):
        make_plan(project.experiment(methods=["full"]), project.runs)


def test_an_ablation_row_makes_none(project):
    write_method(project)
    variants = {"full_small": {"method": "full", "override": {"trainer": {"max_epochs": 1}}}}
    plan = make_plan(project.experiment(variants=variants), project.runs)
    assert list(readouts(plan)) == ["full-toy-s0-val"]


def test_an_unknown_name_is_refused_with_the_known_ones(project):
    write_method(project, readout="tile")
    with pytest.raises(
        ConfigError, match=r"full\.yaml: bench\.paper: readout 'tile' .* did you mean 'tiles'"
    ):
        make_plan(project.experiment(), project.runs)


DENSE = ("voc20", "context60", "context59", "coco_object", "coco_stuff", "cityscapes", "ade20k")
SHIPPED = {
    "voc": {"toco-voc-s0-val": {"toco-log", "toco-voc"},
            "weclip-voc-s0-val": {"weclip", "weclip-crf"},
            "excel-voc-s0-val": {"excel-log", "excel-voc"},
            "clims-voc-s0-irn-deeplabv2-val": {"deeplab-crf"}},
    "voc_saliency": {"mcis-voc-s0-saliency-largefov-val": {"mcis-tiles"}},
    "voc_largefov": {},
    "coco": {"toco-coco-s0-val": {"toco-coco"}, "weclip-coco-s0-val": {"weclip-crf"},
             "excel-coco-s0-val": {"excel-coco"}},
    "openvocab": {"tcl-voc-s0-val": {"mmseg-448"}, "codecomp-voc-s0-val": {"mmseg-448"},
                  "sclip-voc-s0-val": {"mmseg-area"}, "naclip-voc-s0-val": {"mmseg-pamr"},
                  **{f"sclip-{name}-s0-val": {"mmseg"} for name in DENSE},
                  **{f"naclip-{name}-s0-val": {"mmseg-pamr"} for name in DENSE}},
    "mini": {},
}  # fmt: skip


@pytest.mark.parametrize("experiment", SHIPPED)
def test_the_shipped_experiments_make_what_their_papers_measured(experiment, tmp_path):
    plan = make_plan(paths.ROOT / "experiments" / f"{experiment}.yaml", tmp_path)
    # without the CRF there are no labels for IRNet, so no masks to train on
    expected = {
        title: names for title, names in SHIPPED[experiment].items() if "-irn-" not in title or available()
    }
    assert {title: set(names) for title, names in readouts(plan).items()} == expected


@pytest.mark.parametrize(
    ("name", "dataset", "short_side", "window"),
    [
        *[("naclip", name, 336, None) for name in ("voc", "voc20")],
        *[("naclip", name, 336, 224) for name in ("context60", "coco_object", "coco_stuff", "ade20k")],
        *[(name, "cityscapes", 560, 224) for name in ("sclip", "naclip", "maskclip")],
        *[("sclip", "voc", 336, 224), ("sclip", "coco_stuff", 448, 224)],
        *[("clearclip", "voc", 448, 448), ("clearclip", "cityscapes", 448, 224)],
    ],
)
def test_dense_methods_see_the_published_sizes(name, dataset, short_side, window):
    inference = read_configs(paths.CONFIGS).method(name, dataset, {}).inference
    assert (inference["short_side"], inference["window"]) == (short_side, window)


@pytest.mark.parametrize("dataset", ["voc", "voc20"])
def test_clearclip_says_one_name_for_each_class_of_voc(dataset):
    arguments = read_configs(paths.CONFIGS).method("clearclip", dataset, {}).model.init_args
    names = names_of_classes(arguments["prompt_names"], load("voc"))
    assert all(len(own) == 1 for own in names)
    assert [own[0] for own in names][-6:] == ["person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"]


def test_a_name_means_the_same_everywhere():
    found = {}
    for key, content in read_configs(paths.CONFIGS).contents.items():
        for name, readout in content.get("readouts", {}).items():
            assert found.setdefault(name, readout) == readout, f"{key}: {name}"
    assert {
        *("excel-log", "excel-voc", "excel-coco"),
        *("toco-voc", "toco-log", "toco-coco", "mcis-tiles", "deeplab-crf"),
        *("mmseg-448", "mmseg", "mmseg-area", "mmseg-pamr"),
        *("weclip", "weclip-crf"),
    } == set(found)


def test_a_published_segmentation_of_a_multi_stage_method_names_its_segmenter():
    folder = read_configs(paths.CONFIGS)
    for name in folder.methods():
        hints = folder.method(name, "voc", {}).bench
        for result in hints.paper:
            if result.product == "segmentation" and hints.pipeline == "multi_stage":
                assert result.segmenter in folder.names("segmenters"), name
