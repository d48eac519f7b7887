"""Annealed runs of test models, taken apart so that a test can tamper with the parts."""

import math
from dataclasses import replace

from benchmark.estimators.ais import anneal
from benchmark.estimators.bdmc import Settings, tuned
from benchmark.estimators.schedule import schedule

CHAINS, LEAPFROG = 16, 3


def prepared(model, x, temperatures, start="prior", name="adaptive", dtype=None):
    settings = Settings(start=start, proposal_dtype=dtype)
    tuning = tuned(model, x, settings)
    return tuning, schedule(name, temperatures, tuning.betas, tuning.spread)


def annealed(model, x, temperatures, chains=CHAINS, leapfrog=LEAPFROG, **choices):
    return anneal(*prepared(model, x, temperatures, **choices), chains, leapfrog)


def error_of(values):
    return (values.std() / math.sqrt(len(values))).item()


def scaled_steps(tuning, factor):
    return replace(tuning, steps=tuning.steps * factor)
