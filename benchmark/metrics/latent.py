"""The model with latent variables that a likelihood is estimated of.

A generator without an observation model gets one here: Gaussian noise around what it generates,
its sigma fitted on validation data, on images as the mass of rounded noise. So its likelihood is
that of generator and noise together, and the tables show the sigma beside it.
"""

from benchmark.estimators.observation import fit_sigma, observed
from benchmark.metrics.base import Evidence, Measurement, NotApplicable
from benchmark.randomness import derive_seed, fork_rng
from benchmark.spec import Density, Generator, LatentModel


def observation_sigma(evidence: Evidence) -> Measurement:
    """Standard deviation of the noise around what a generator generates, in the data's units."""
    if isinstance(evidence.model, LatentModel):
        raise NotApplicable("the model has an observation model of its own")
    latent_model(evidence)
    return Measurement(evidence.shared["sigma"])


def latent_model(evidence: Evidence) -> LatentModel:
    """The model, or the generator with its fitted noise.

    Raises:
        NotApplicable: log p(x) is known exactly, or the model has no latent variables.
    """
    model = evidence.model
    if isinstance(model, Density):
        raise NotApplicable("log p(x) is exact, so no bound is needed: see nll")
    if isinstance(model, LatentModel):
        return model
    if not isinstance(model, Generator):
        raise NotApplicable("the model has no latent variables: neither decode(z) nor generate(z)")
    if "sigma" not in evidence.shared:
        if evidence.validation is None:
            raise NotApplicable("there is no validation split to fit sigma on")
        with fork_rng(derive_seed("sigma", evidence.seed)):
            validation = evidence.validation.to(evidence.device)
            evidence.shared["sigma"] = fit_sigma(model, evidence.spec, validation)
    return observed(model, evidence.spec, evidence.shared["sigma"])
