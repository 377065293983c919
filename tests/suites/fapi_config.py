"""Lets the FAPI tests of tpm2-pytss learn their profile's name from the configuration file that they wrote.

They ask Fapi_GetInfo for it, which fails before tpm2-tss 4.1 if the TPM has SHA-3: a hundred tests would not begin.
"""

import json
import os
from types import SimpleNamespace

from tpm2_pytss.FAPI import FAPI


def config(_fapi):
    with open(os.environ["TSS2_FAPICONF"], encoding="utf-8") as file:
        return SimpleNamespace(**json.load(file))


FAPI.config = property(config)
