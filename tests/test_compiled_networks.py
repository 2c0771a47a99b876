"""Compiled networks compute what they did: losses, weights, predictions and checkpoints."""

from __future__ import annotations

from functools import cache

import paths
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from wsss_bench.artifacts.identity import differences
from wsss_bench.compiled_networks import CompiledNetworks, blocks_of
from wsss_bench.contract.configuration import CPU
from wsss_bench.contract.subject import Subject, total
from wsss_bench.contract.world import FEW
from wsss_bench.inference import predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.nn.frozen import Frozen
from wsss_bench.plan.reader import read_configs

FOLDER = read_configs(paths.CONFIGS)


class Residual(nn.Module):
    """A block with a short list of layers inside."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.layers(x)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)  # one layer is not worth compiling
        self.blocks = nn.ModuleList([Residual(), Residual()])

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x


class Holder(nn.Module):
    """As a method: it is no block, whatever it has."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return x


def test_blocks_of_lists_networks_without_lists_and_frozen_ones():
    network, frozen, plain = Network(), Network(), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    method = Holder(network=network, frozen=Frozen(frozen), plain=plain, head=nn.Linear(4, 4), mean=nn.ReLU())
    assert [*blocks_of(method)] == [*network.blocks, *frozen.blocks, plain]
    holds_a_frozen_one = Holder(one=nn.Linear(4, 4), two=nn.Linear(4, 4), clip=Frozen(Network()))
    assert len([*blocks_of(Holder(inner=holds_a_frozen_one))]) == 2


def mark(method, stage="fit", backend="eager"):
    CompiledNetworks(backend).setup(Trainer(accelerator="cpu", logger=False), method, stage)


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture(autouse=True)
def unchanged_settings():
    """Settings of torch and what it has compiled are those of the process, which has other tests."""
    import torch._inductor.config

    with torch._dynamo.config.patch(), torch._inductor.config.patch():
        torch._dynamo.reset()
        yield
    torch._dynamo.reset()


def test_the_trainer_file_is_that_of_a_gpu_and_makes_other_stages():
    plain, compiled = FOLDER.trainer("gpu"), FOLDER.trainer("gpu_compiled")
    name = f"{CompiledNetworks.__module__}.{CompiledNetworks.__qualname__}"
    assert compiled == {**plain, "callbacks": [{"class_path": name}]}
    assert differences({"trainer": plain}, {"trainer": compiled}).keys() == {"trainer.callbacks"}


def test_what_cannot_be_compiled_is_refused():
    with pytest.raises(ValueError, match=r"finds no block of a network to compile; leave it out"):
        mark(Holder(head=nn.Linear(4, 4)))
    with pytest.raises(ValueError, match=r"no backend 'inductr'; choose one of .*inductor"):
        mark(Holder(network=Network()), backend="inductr")


def test_blocks_of_one_structure_share_a_graph_in_all_sizes():
    method = Holder(network=Network()).eval()
    mark(method, "predict")
    before = graphs()
    for length in (7, 5, 9, 11, 30):
        method.network(torch.ones(length, 4))
    assert graphs() - before == 1


def test_more_structures_than_the_limit_of_torch_are_compiled():
    class Wide(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.one, self.two = nn.Linear(4, width), nn.Linear(width, 4)

        def forward(self, x):
            return self.two(self.one(x))

    method = Holder(blocks=nn.ModuleList(Wide(2 + n) for n in range(12)))
    mark(method)
    before = graphs()
    for block in method.blocks:
        block(torch.ones(3, 4))
    assert graphs() - before == 12


def test_a_hook_that_is_added_later_is_called():
    method, seen = Holder(network=Network()), []
    mark(method)
    method.network(torch.ones(3, 4))
    handle = method.network.blocks[1].layers[0].register_forward_hook(lambda *parts: seen.append(parts[2]))
    method.network(torch.ones(3, 4))
    handle.remove()
    method.network(torch.ones(3, 4))
    assert [output.shape for output in seen] == [(3, 4)]


@cache
def subject(name, world):
    return Subject(name, FOLDER.method(name, "mini", CPU), world)


def two_steps(method, batch):
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-4)
    losses = []
    for _ in range(2):
        loss = total(method.train().training_loss(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cam", "toco", "excel"])
def test_steps_and_predictions_are_those_without(name, mini_data):
    """A ResNet, a ViT with a teacher, and a frozen CLIP."""
    one = subject(name, mini_data / "mini")
    plain, compiled = one.fresh(late=True), one.fresh(late=True)
    mark(compiled, "fit", "aot_eager")
    before = graphs()
    assert two_steps(compiled, one.batch) == pytest.approx(two_steps(plain, one.batch), abs=1e-4)
    assert graphs() > before
    state = compiled.state_dict()
    assert state.keys() == plain.state_dict().keys()
    for key, value in plain.state_dict().items():
        assert torch.allclose(state[key].float(), value.float(), atol=1e-4), key

    one.data.predict_on(FEW, labelled=True)
    sample = next(iter(one.data.predict_dataloader()))[0]
    config = InferenceConfig(**{**one.content.inference, "scales": [1.0, 0.75], "multi_scales": [0.75]})
    mark(compiled, "predict")
    for product in one.products:
        before = graphs()
        with torch.inference_mode():
            found, expected = (
                scores_of(predict(method.eval(), [sample], product, config)[0])
                for method in (compiled, plain)
            )
        assert graphs() > before
        assert torch.allclose(found, expected, atol=1e-3)  # of float16


def scores_of(maps):
    return maps["ms"] if isinstance(maps, dict) else torch.from_numpy(maps.scores).float()
