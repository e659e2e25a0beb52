"""In an environment with the core dependencies alone: everything but files and the command line works."""

import importlib.util
import subprocess
import sys

import torch

import cclnn
from cclnn import CCLNBlock

for extra in ("PIL", "jaxtyping", "beartype", "skimage", "scipy"):  # huggingface_hub brings click and tqdm
    if importlib.util.find_spec(extra):
        sys.exit(f"{extra} is installed: this environment is not bare")

features, loss = CCLNBlock(32)(torch.rand(1, 32, 11, 13))
assert features.shape == (1, 32, 11, 13)
assert loss.ndim == 0
photo = torch.rand(1, 3, 23, 31)
assert cclnn.upscale(photo, model="cclnn-s-x2").shape == (1, 3, 46, 62)
for module in ("ops", "layers", "losses", "models", "metrics", "hub"):
    importlib.import_module(f"cclnn.{module}")

command = subprocess.run(
    [sys.executable, "-m", "cclnn.cli", "upscale", "photo.jpg"], capture_output=True, text=True, check=False
)
assert command.returncode == 1
assert 'pip install "cclnn[cli]"' in command.stderr, command.stderr
print("bare install: ok")
