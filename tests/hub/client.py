"""Processes with the real client, told once where the Hub is, that run snippets of code sent to them.

HF_ENDPOINT and HF_HUB_OFFLINE are read when huggingface_hub is imported, hence processes of their own; they are forked
from one that has imported torch, which takes seconds.
"""

import hashlib
import json
import os
import sys

from forked import FORKED


class Client:
    """One process and the pipe to it."""

    def __init__(self, home, **environment):
        settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self.pipe, end = FORKED.Pipe()
        self.process = FORKED.Process(target=serve, args=(end, {**settings, **environment}), daemon=True)
        self.process.start()
        end.close()

    def send(self, code, **values):
        self.pipe.send((code, values))

    def receive(self):
        """The `result` of the snippet, or a Failure with what it raised."""
        result, failure = self.pipe.recv()
        return result if failure is None else Failure(*failure)

    def run(self, code, **values):
        self.send(code, **values)
        return self.receive()

    def load(self, source, **options):
        """A fingerprint of the model that `cclnn.load` gives there."""
        return self.run("result = fingerprint(cclnn.load(source, **options))", source=source, options=options)

    def close(self):
        self.pipe.close()
        self.process.kill()
        self.process.join()
        self.process.close()


class Failure(str):
    """The message of an exception; `kinds` are the names of its class and bases."""

    def __new__(cls, message, kinds):
        failure = super().__new__(cls, message)
        failure.kinds = kinds
        return failure


def fingerprint(model):
    """One hash of class, configuration and every number."""
    state = hashlib.sha256(json.dumps([type(model).__name__, model.config], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return state.hexdigest()


def serve(pipe, environment):
    assert "huggingface_hub" not in sys.modules
    for name in [name for name in os.environ if name.startswith("HF_")]:
        del os.environ[name]
    os.environ.update(environment)
    import cclnn

    while True:
        code, values = pipe.recv()
        scope = {"cclnn": cclnn, "fingerprint": fingerprint, "result": None, **values}
        try:
            exec(code, scope)
            pipe.send((scope["result"], None))
        except Exception as error:  # noqa: BLE001  # the test asks which
            pipe.send((None, (str(error), [kind.__name__ for kind in type(error).__mro__])))
