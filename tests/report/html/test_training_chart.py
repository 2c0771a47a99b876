"""Curves of trainings: what is drawn, and how long ones become short."""

from __future__ import annotations

from hand_made import World

from wsss_bench.report.html.training_chart import MOST_POINTS, read_trainings, training_chart


def add_training(world, text, random_seed=0):
    stage = world.stage("train", world.cell("cam", random_seed), {}, config={"seed_everything": random_seed})
    (stage.path / "curves.csv").write_text(text)


def figures(world):
    return {
        (one["label"], value["label"]): value["figure"]["data"]
        for one in training_chart(read_trainings(world.plan))
        for value in one["options"]
    }


def test_a_line_for_each_random_seed_and_losses_first(tmp_path):
    world = World(tmp_path)
    for random_seed in (0, 3):
        add_training(world, "step,epoch,lr/0,monitor/mAP,train/loss\n1,0,.1,,2\n2,0,.1,0.5,1\n", random_seed)
    found = figures(world)
    assert list(found) == [("train cam-toy", name) for name in ("train/loss", "monitor/mAP", "lr/0")]
    lines = found["train cam-toy", "train/loss"]
    assert [line["name"] for line in lines] == ["random seed 0", "random seed 3"]
    assert (lines[0]["x"], lines[0]["y"]) == ([1, 2], [2.0, 1.0])
    assert found["train cam-toy", "monitor/mAP"][0]["x"] == [2]


def test_texts_and_what_is_not_finite_are_left_out_and_damaged_files_cost_nothing(tmp_path):
    world = World(tmp_path)
    add_training(world, "step,epoch,a,b,c\n1,0,nan,x,1\n2,0,inf,,3\n")
    add_training(world, "no steps\n1\n", random_seed=1)
    (data,) = figures(world).values()
    assert [line["y"] for line in data] == [[1.0, 3.0]]


def test_long_curves_are_thinned_out_from_the_first_to_the_last_point(tmp_path):
    world = World(tmp_path)
    rows = "".join(f"{step},0,{step * 2}\n" for step in range(1, 5001))
    add_training(world, f"step,epoch,loss\n{rows}")
    ((line,),) = figures(world).values()
    assert len(line["x"]) == len(line["y"]) == MOST_POINTS
    assert (line["x"][0], line["x"][-1], line["y"][-1]) == (1, 5000, 10000.0)
