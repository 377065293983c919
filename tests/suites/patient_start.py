"""Lets the tests of tpm2-pytss wait for their simulators.

They sleep for three seconds and then look once whether it accepts, which a busy machine may not have got to by then; the next try finds
the state in use by the first.
"""

import sys
import time


def patient(ready):
    def until_ready(port):
        deadline = time.monotonic() + 60
        while not ready(port):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    return staticmethod(until_ready)


def pytest_collection_finish(session):
    for name, module in list(sys.modules.items()):
        if name.endswith("TSS2_BaseTest"):
            simulator = module.BaseTpmSimulator
            simulator.ready = patient(simulator.ready)
