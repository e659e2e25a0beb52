"""Not a test: started in one or two processes by test_gradients.py. Saves the gradient of one step of train.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "train"))

import torch
from accelerate import Accelerator
from cclnn_training import loop, patches
from cclnn_training import settings as configuration

from cclnn.losses import CCLNNLoss


def main():
    target, *arguments = sys.argv[1:]
    settings = configuration.parse([*arguments, "--precision", "fp32", "--cpu"])
    accelerator = Accelerator(cpu=True)
    training, _ = loop.read_data(settings, accelerator)
    run = loop.build(settings, accelerator)
    run.model.double()
    network = accelerator.prepare(run.model)
    step = 7
    numbers = patches.sample_numbers(
        step, step, batch=settings.batch, parts=settings.accumulate,
        rank=accelerator.process_index, ranks=accelerator.num_processes,
    )  # fmt: skip
    parts = ((lr.double(), hr.double()) for lr, hr in patches.batches(training, numbers, workers=0))
    objective = CCLNNLoss(weight=settings.contrastive_weight, warmup=settings.contrastive_after)
    losses = loop.backward(network, run, parts, objective, step, accelerator)
    losses, stopping = loop.agree(losses, accelerator.process_index == 1, accelerator)
    if accelerator.is_main_process:
        gradients = {name: parameter.grad for name, parameter in run.model.named_parameters()}
        torch.save({"gradients": gradients, "losses": losses, "stopping": stopping}, target)
    loop.leave(accelerator)


if __name__ == "__main__":
    main()
