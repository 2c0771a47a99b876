"""Which images the page shows: each once, by three rules."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_bench.metrics.per_image import ConfusionWriter, read_per_image
from wsss_bench.report.html.choice import choose, image_scores

IDS = [f"i{k:02}" for k in range(60)]


def scores(random_seed):
    values = np.random.default_rng(random_seed).uniform(0, 1, len(IDS))
    return dict(zip(IDS, values.tolist(), strict=True))


def by_rule(chosen, rule):
    return [one.image_id for one in chosen if one.rule == rule]


def test_the_score_of_an_image_is_the_mean_over_its_classes(tmp_path):
    with ConfusionWriter(1) as writer:
        writer.add(0, 0, np.array([[6, 2, 0], [0, 4, 0], [0, 0, 0]]))  # 6/8 and 4/6; the third does not occur
        writer.add(0, 1, np.array([[10, 0, 0], [0, 0, 0], [0, 0, 0]]))
        writer.save(tmp_path / "c.npz", ["a", "b", "ignored"])  # no pixel of the last one counts
    found = image_scores(read_per_image(tmp_path / "c.npz", 0, 3))
    assert found == {"a": pytest.approx((0.75 + 2 / 3) / 2), "b": 1.0}


def test_eight_of_each_rule_and_no_image_twice():
    chosen = choose({"a": scores(1), "b": scores(2), "c": scores(3)})
    assert [one.rule for one in chosen] == ["random"] * 8 + ["worst"] * 8 + ["disagreement"] * 8
    assert len({one.image_id for one in chosen}) == 24


def test_random_images_depend_on_nothing_but_the_images():
    one = by_rule(choose({"a": scores(1)}), "random")
    other = by_rule(choose({"x": scores(5), "y": dict(reversed(scores(6).items()))}), "random")
    assert one == other
    assert one != sorted(one)


def test_methods_take_turns_with_their_worst_images():
    found = {"a": scores(1), "b": scores(2)}
    chosen = choose(found)
    left = [name for name in IDS if name not in by_rule(chosen, "random")]
    for place, image_id in enumerate(by_rule(chosen, "worst")):
        of = found["ab"[place % 2]]
        assert image_id == min(left, key=of.get)
        left.remove(image_id)
    reason = next(one.reason for one in chosen if one.rule == "worst")
    worst = by_rule(chosen, "worst")[0]
    assert reason == f"the worst of a that is not shown yet, mIoU {100 * found['a'][worst]:.1f}"


def test_disagreement_leaves_out_bounds_while_two_methods_remain():
    low, high = dict.fromkeys(IDS, 0.1), dict.fromkeys(IDS, 0.9)
    near = {name: 0.5 + (0.3 if name == "i33" else 0.0) for name in IDS}
    found = {"floor": low, "ceiling": high, "m": dict.fromkeys(IDS, 0.5), "n": near}
    (only,) = (one for one in choose(found, ["floor", "ceiling"]) if one.rule == "disagreement")
    assert only.image_id == "i33"
    assert only.reason == "n and m disagree, mIoU 80.0 and 50.0"
    del found["n"]
    reasons = {one.reason for one in choose(found, ["floor", "ceiling"]) if one.rule == "disagreement"}
    assert reasons == {"ceiling and floor disagree, mIoU 90.0 and 10.0"}


def test_one_method_has_no_disagreement_and_few_images_are_shown_once():
    assert len(choose({"a": scores(1)})) == 16
    few = dict.fromkeys(IDS[:5], 0.5)
    assert sorted(one.image_id for one in choose({"a": few, "b": {**few, "i01": 0.2}})) == IDS[:5]
    assert choose({}) == []
