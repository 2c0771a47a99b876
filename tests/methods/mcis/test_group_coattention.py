import numpy as np
import paths
import torch

from wsss_bench.methods.mcis.group_coattention import GroupCoAttention

GOLDEN = paths.GOLDEN / "mcis" / "group3_experimental.npz"


def test_three_rounds_of_messages():
    with np.load(GOLDEN, allow_pickle=False) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    module = GroupCoAttention(8, 20, int(arrays["rounds"])).double()
    names = {
        "coattention.affinity.weight": "W_linear_e",
        "coattention.classifier.weight": "W_gate1",
        "fusion.weight": "W_fusion",
        "update.weight": "W_update",
    }
    module.load_state_dict({own: arrays[name] for own, name in names.items()})
    maps = module([arrays[f"feature{k}"] for k in (1, 2, 3)])
    for k, found in enumerate(maps, 1):
        torch.testing.assert_close(found, arrays[f"co_map{k}"], rtol=0, atol=1e-9)
    scores = torch.cat([found.mean((2, 3)) for found in maps])
    torch.testing.assert_close(scores, arrays["co_logits"], rtol=0, atol=1e-9)
