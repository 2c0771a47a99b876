"""The ranks of a stage succeed or fail together."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import time

import pytest
import yaml
from test_fit_predict import SOURCE, fit_config, predict_config, run

from wsss_bench.artifacts.files import is_complete, read_manifest
from wsss_bench.artifacts.seeds import seed_ids
from wsss_bench.data.sources.voc import VOC
from wsss_bench.stages import fit, predict
from wsss_bench.stages.ranks import RankFailed, Ranks


class Moody(VOC):
    """A source that is slow with every image, or cannot read one; on one rank only."""

    def __init__(self, root: str, vocabulary: str, slow: float = 0.0, broken: int = -1) -> None:
        super().__init__(root, vocabulary=vocabulary)
        self.slow, self.broken = slow, broken

    def image(self, image_id: str):
        if os.environ["LOCAL_RANK"] == "1":
            time.sleep(self.slow)
        if int(image_id.rpartition("_")[2]) == self.broken:
            raise ValueError(f"image {image_id!r} is broken")
        return super().image(image_id)


def predict_on_a_rank(rank, config):
    """Error of `predict`, seconds that it took, and number of seeds at its end."""
    start = time.monotonic()
    error = ""
    try:
        predict.main(["--config", config])
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    with open(config) as file:
        seeds = f"{yaml.safe_load(file)['out']}/seeds"
    return error, time.monotonic() - start, len(seed_ids(seeds))


def fit_on_a_rank(rank, config):
    """What `fit` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        fit.main(["--config", config])
    return printed.getvalue()


@pytest.fixture(scope="module")
def start(tmp_path_factory, mini_data):
    """A train stage of no epoch."""
    folder = tmp_path_factory.mktemp("start")
    run(fit, folder, fit_config(folder / "train", epochs=0))
    return folder / "train"


def split_of(mini_data, count):
    lists = mini_data / "mini/voc/ImageSets/Segmentation"
    (lists / f"few_{count}.txt").write_text("\n".join(f"val_{k:06d}" for k in range(count)))
    return f"few_{count}"


def two_ranks(tmp_path, start, split, **behaviour):
    config = predict_config(tmp_path / "out", start, split=split)
    config["trainer"] |= {"devices": 2, "strategy": "ddp"}
    config["data"]["source"] = {
        "class_path": f"{__name__}.Moody",
        "init_args": {**SOURCE["init_args"], **behaviour},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_a_stage_is_complete_when_the_slowest_rank_is(tmp_path, mini_data, start, rank_pair):
    config = two_ranks(tmp_path, start, split_of(mini_data, 7), slow=0.2)
    (error, _, count), (other_error, _, _) = rank_pair.call(predict_on_a_rank, config)
    assert (error, other_error, count) == ("", "", 7)
    assert read_manifest(tmp_path / "out")["image_count"] == 7


def test_a_broken_image_on_one_rank_fails_all_ranks_at_once(tmp_path, mini_data, start, rank_pair):
    config = two_ranks(tmp_path, start, split_of(mini_data, 16), broken=1, slow=0.0)
    (first, seconds, count), (second, _, _) = rank_pair.call(predict_on_a_rank, config)
    assert first == "RankFailed: rank 1 failed: ValueError: image 'val_000001' is broken"
    assert second == "ValueError: image 'val_000001' is broken"
    assert count < 16
    assert seconds < 60  # the other rank would wait for half an hour
    assert not is_complete(tmp_path / "out")


def test_an_error_of_rank_0_ends_the_others(tmp_path, mini_data, start, rank_pair):
    config = two_ranks(tmp_path, start, split_of(mini_data, 16), broken=2, slow=0.1)
    (first, _, _), (second, seconds, _) = rank_pair.call(predict_on_a_rank, config)
    assert first == "ValueError: image 'val_000002' is broken"
    assert second == "RankFailed: rank 0 failed: ValueError: image 'val_000002' is broken"
    assert seconds < 60  # the other rank would wait for half an hour


def test_fewer_images_than_ranks(tmp_path, mini_data, start, rank_pair):
    config = two_ranks(tmp_path, start, split_of(mini_data, 1))
    assert [answer[::2] for answer in rank_pair.call(predict_on_a_rank, config)] == [("", 1)] * 2
    assert is_complete(tmp_path / "out")


def test_fewer_validation_images_than_ranks(tmp_path, mini_data, rank_pair):
    config = fit_config(tmp_path / "out", epochs=2)
    config["data"]["val_split"] = split_of(mini_data, 1)
    config["trainer"] |= {"devices": 2, "strategy": "ddp", "limit_train_batches": 1}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    printed, _ = rank_pair.call(fit_on_a_rank, str(path))
    assert read_manifest(tmp_path / "out")["world_size"] == 2
    assert printed.count("monitor/mAP") == 2


def test_images_that_were_left_out_are_named(tmp_path, mini_data, start):
    config = predict_config(tmp_path / "out", start, split=split_of(mini_data, 7))
    config["trainer"]["limit_predict_batches"] = 5
    with pytest.raises(ValueError, match="2 seeds of this stage are missing or cut off: val_000005"):
        run(predict, tmp_path, config)
    assert not is_complete(tmp_path / "out")


def connected():
    """The `Ranks` of rank 0 and of rank 1 of a stage."""
    first, second = Ranks(), Ranks()
    second._rank = 1
    first._others[1], second._others[0] = multiprocessing.Pipe()
    return first, second


def test_a_killed_rank_is_noticed_before_the_next_image():
    first, second = connected()
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    process.start()  # it holds the other end too
    second._others[0].close()
    first.on_predict_batch_start(None, None)
    process.kill()
    process.join()
    with pytest.raises(RankFailed, match="rank 1 of this stage was killed"):
        first.on_predict_batch_start(None, None)


def test_rank_0_verifies_after_all_others_are_done():
    first, second = connected()
    process = multiprocessing.get_context("fork").Process(target=second.finish, args=(None,))
    process.start()
    calls = []
    first.finish(lambda: calls.append(process.is_alive()))
    process.join()
    assert calls == [True]
    assert process.exitcode == 0


def test_what_rank_0_finds_missing_fails_the_others_too():
    first, second = connected()

    def verify():
        raise ValueError("2 files are missing")

    second._tell("")
    with pytest.raises(ValueError, match="2 files"):
        first.finish(verify)
    with pytest.raises(RankFailed, match="rank 0 failed: ValueError: 2 files are missing"):
        second._hear_all()


def test_a_failure_of_a_third_rank_is_passed_on_as_it_is():
    first, second = connected()
    first.on_exception(None, None, RankFailed("rank 2 failed: ValueError: broken"))
    with pytest.raises(RankFailed, match=r"^rank 2 failed: ValueError: broken$"):
        second._hear_all()


def variable(rank: int, name: str) -> str | None:
    """An environment variable of a rank."""
    return os.environ.get(name)


def test_ranks_have_the_environment_of_the_caller(rank_pair, monkeypatch):
    for value in ("first", "second"):
        monkeypatch.setenv("WSSS_TEST_VALUE", value)
        assert rank_pair.call(variable, "WSSS_TEST_VALUE") == [value, value]
