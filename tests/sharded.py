"""A block as FSDP2 shards it: other processes import this, which cannot import a test module."""

import torch

from cclnn import CCLNBlock


def block():
    torch.manual_seed(3)
    return CCLNBlock(8, reduction=2, ratio=0.2, match_reduction=2, n_hashes=2, chunk_size=13).eval()


def sharded(rank, port, results):
    """One training step of a sharded block, on half of the batch; the gradients, gathered."""
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.fsdp import fully_shard

    init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    module = block()
    for child in module.children():
        fully_shard(child)
    fully_shard(module)
    torch.manual_seed(5)
    x = torch.randn(2, 8, 11, 7)[rank : rank + 1]
    y, loss = module(x)
    (y.square().sum() + loss).backward()
    gradients = {name: p.grad.full_tensor().numpy() for name, p in module.named_parameters()}
    if rank == 0:
        results.put(gradients)
    destroy_process_group()
