"""After a fork a network runs, or says why it cannot: it never waits for ever."""

import json
import os
import subprocess
import sys

import pytest

# Each case runs in a fork of a process that has imported torch and computed nothing. It prints what its child says, and
# the child's exit code; a child that waits for ever ends by the alarm, as -14.
PROGRAM = """
import json, os, signal, sys, threading, time, warnings
import torch
import cclnn

warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, which tell of the danger
photo = torch.rand(1, 3, 24, 40)

def upscale():
    return cclnn.Upscaler("cclnn-s-x2", tile=64, precision="fp32")(photo)

def in_a_thread():
    thread = threading.Thread(target=upscale)
    thread.start()
    thread.join()

def threads():
    return len(os.listdir("/proc/self/task"))

def until_they_ended():  # OpenMP's threads, a little after the one that they computed for
    while threads() > at_first:
        time.sleep(0.01)

def code_of(work):
    child = os.fork()
    if not child:
        try:
            work()
        except RuntimeError as error:
            print(error, flush=True)
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def parent(before, after):
    global at_first
    torch.set_num_threads(2)
    at_first = threads()
    exec(before, globals())

    def work():
        signal.alarm(120)
        exec(after, globals())

    print(code_of(work), flush=True)

for case in json.loads(sys.argv[1]):
    code_of(lambda: parent(*case))
    print("", flush=True)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no fork, or OpenMP survives it")
LOST = [
    ("upscale()", "upscale()"),
    ('cclnn.load("cclnn-s-x2")', "upscale()"),
    ('made = cclnn.Upscaler("cclnn-s-x2", tile=64)', "made(photo)"),
]
FINE = [
    ("", "upscale()"),  # the first call is the child's
    ("upscale()", "torch.set_num_threads(1); upscale()"),
    ("torch.set_num_threads(1); upscale(); torch.set_num_threads(2)", "upscale()"),
    ("upscale()", "in_a_thread()"),
    ("in_a_thread(); until_they_ended()", "upscale()"),
]


@pytest.fixture(scope="module")
def said():
    """What each case printed; one process runs them all, as it imports torch for seconds."""
    command = [sys.executable, "-c", PROGRAM, json.dumps([*LOST, *FINE])]
    patient = {**os.environ, "GOMP_SPINCOUNT": "0"}  # threads that wait leave the processor to others
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=patient)
    return done.stdout.removesuffix("\n\n").split("\n\n")


def test_a_fork_after_a_call_is_an_error(said):
    for lines in said[: len(LOST)]:
        message, code = lines.splitlines()
        assert code == "3"
        assert message.startswith("this process was forked after networks had run, and torch's CPU threads do not surv")
        assert "multiprocessing.get_context('spawn')" in message


def test_a_fork_that_lost_nothing_works(said):
    assert said[len(LOST) :] == ["0"] * len(FINE)
