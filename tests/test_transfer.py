"""Copies between host and device; on a CPU they are the tensors themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from wsss_bench.transfer import HostCopy, to_device, to_host

CPU = torch.device("cpu")


def test_tensors_arrive_on_the_host_with_shape_type_and_values():
    tensors = [torch.arange(6).view(2, 3).half(), torch.tensor(7.0).half(), torch.zeros(0, 4).half()]
    for given in (tensors, tensors[:1]):
        with torch.autocast("cpu", torch.bfloat16):
            arrays = to_host(given)
        for tensor, array in zip(given, arrays, strict=True):
            assert array.dtype == np.float16
            assert array.shape == tuple(tensor.shape)
            np.testing.assert_array_equal(array, tensor.numpy())


def test_a_tensor_of_the_host_arrives_on_the_device():
    host = torch.arange(3)
    assert torch.equal(to_device(host, CPU), host)
    assert to_device(host, torch.device("meta")).is_meta


def test_a_number_is_read_again_when_it_has_changed():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.tensor(3))

    holder, copy = Holder(), HostCopy()
    assert copy.of(holder.steps) == 3
    holder.steps.fill_(5)
    assert copy.of(holder.steps) == 5
    holder.load_state_dict({"steps": torch.tensor(8)})
    assert copy.of(holder.steps) == 8
    with torch.inference_mode():
        assert copy.of(holder.steps) == 8
        moved = holder.steps.clone()
        assert copy.of(moved) == 8
        moved.fill_(9)
        assert copy.of(moved) == 9


def test_a_number_that_has_not_changed_is_not_read(monkeypatch):
    number, copy = torch.tensor(4), HostCopy()
    copy.of(number)
    monkeypatch.setattr(torch.Tensor, "__int__", lambda tensor: pytest.fail("was read"))
    assert copy.of(number) == 4
