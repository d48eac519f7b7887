"""Classifier two-sample test: how well a fresh classifier tells samples from real data.

A small network learns from half of either set and is asked about the other half. Its accuracy
there is 1/2 in expectation when the two sets have one distribution, 1 when every example gives
itself away. One recipe serves all models, data sets and sizes.

Source: Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests", arXiv:1610.06545,
section 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.metrics.shares import as_share
from benchmark.randomness import derive_seed, fork_rng, generator

FEWEST = 8  # of each set: four to learn from, four to be asked about
HIDDEN = 64
STEPS = 300
BATCH = 64  # of each set
LEARNING_RATE = 1e-2  # at its peak


@dataclass(frozen=True)
class ClassifierTest:
    """What a classifier said of the examples it had not seen, as many real as generated.

    Args:
        real: [h] whether each real example was told as such.
        generated: [h] the same for generated examples.
    """

    real: Tensor
    generated: Tensor

    @property
    def trials(self) -> int:
        """Held-out examples of both sets together."""
        return len(self.real) + len(self.generated)

    @property
    def correct(self) -> int:
        """How many of them were told rightly."""
        return int(self.real.sum() + self.generated.sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers: 1/2 by chance."""
        return self.correct / self.trials

    @property
    def p_value(self) -> float:
        """Chance of as many right answers if the two distributions were one.

        The upper tail of a binomial of chance 1/2, an equal number counting half (the mid-p
        value): without that, a coarse p-value lies above its uniform distribution. A classifier
        that favours one answer gives counts that scatter less than the binomial, so that the
        p-value is then cautious.

        Source: Lancaster 1961, "Significance tests in discrete distributions", Journal of the
        American Statistical Association 56(294); Hoeffding 1956, "On the distribution of the
        number of successes in independent trials", theorem 4.
        """
        from scipy.stats import binom

        more = binom.sf(self.correct, self.trials, 0.5)
        return float(more + binom.pmf(self.correct, self.trials, 0.5) / 2)


def accuracy(evidence: Evidence) -> Measurement:
    """Accuracy on the held-out halves, with Wilson's interval.

    The error is that of the finite number of held-out examples, for the classifier as it came
    out. Two models under one seed hold out the same real examples, so the accuracies on halves
    of these pair.
    """
    found = _shared_test(evidence)
    return as_share(
        Measurement.of_statistic(
            lambda *, real, generated: torch.cat([real, generated]).double().mean().item(),
            drawn=generator("c2st", evidence.seed),
            n=found.trials,
            details=_shares(found),
            real=found.real,
            generated=found.generated,
        )
    )


def p_value(evidence: Evidence) -> Measurement:
    """Chance of so good a classifier if samples and real data had one distribution."""
    found = _shared_test(evidence)
    return Measurement(found.p_value, n=found.trials, details=_shares(found))


def classifier_test(*, real: Tensor, generated: Tensor, seed: int) -> ClassifierTest:
    """Trains a classifier on a random half of either set and asks it about the other half.

    A network with two hidden layers learns from standardised coordinates, for a fixed number of
    steps on batches with as many real as generated examples. Such a network is smooth:
    differences far finer than the spread of the data escape it.

    Args:
        real: [n, d] vectors of real data, n >= 8.
        generated: [n, d] vectors of generated data, as many: the chance level is then 1/2.
        seed: of the halves, the weights and the batches. The real halves do not depend on the
            generated examples.
    """
    check_vectors(at_least=FEWEST, real=real, generated=generated)
    if len(real) != len(generated):
        raise ValueError(
            f"the classifier test needs sets of one size, got {len(real)} real and "
            f"{len(generated)} generated: give as many of each"
        )
    drawn = generator("classifier test", seed)
    learnt_r, asked_r = _random_halves(real.cpu(), drawn)
    learnt_g, asked_g = _random_halves(generated.cpu(), drawn)
    centre, scale = _location_and_scale(learnt_r, learnt_g)
    learnt_r, asked_r, learnt_g, asked_g = (
        ((vectors.double() - centre) / scale).float()
        for vectors in (learnt_r, asked_r, learnt_g, asked_g)
    )
    with fork_rng(derive_seed("classifier", seed)), torch.enable_grad():
        network = _trained(learnt_r, learnt_g, drawn)
    with torch.no_grad():
        return ClassifierTest(network(asked_r)[:, 0] <= 0, network(asked_g)[:, 0] > 0)


def _random_halves(vectors: Tensor, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(vectors), generator=drawn)
    half = len(vectors) // 2
    return vectors[order[:half]], vectors[order[half:]]


def _location_and_scale(*sets: Tensor) -> tuple[Tensor, Tensor]:
    """[d] mean and standard deviation of all; 1 for a coordinate that does not vary."""
    pooled = torch.cat(sets).double()
    scale = pooled.std(dim=0)
    return pooled.mean(dim=0), torch.where(scale > 0, scale, 1.0)


def _trained(real: Tensor, generated: Tensor, drawn: torch.Generator) -> nn.Module:
    """A network [n, d] -> [n, 1] whose output is positive for what it takes for generated."""
    network = nn.Sequential(
        nn.Linear(real.shape[1], HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 1),
    )
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS)
    targets = torch.cat([torch.zeros(BATCH), torch.ones(BATCH)])
    for _ in range(STEPS):
        rows = [
            torch.randint(len(learnt), (BATCH,), generator=drawn) for learnt in (real, generated)
        ]
        batch = torch.cat([real[rows[0]], generated[rows[1]]])
        loss = binary_cross_entropy_with_logits(network(batch)[:, 0], targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


def _shared_test(evidence: Evidence) -> ClassifierTest:
    """The test of one cell, on as many examples of either set as the smaller one has."""
    if "classifier test" not in evidence.shared:
        real, generated = compared_vectors(evidence)
        n = min(len(real), len(generated))
        evidence.shared["classifier test"] = classifier_test(
            real=real[:n], generated=generated[:n], seed=evidence.seed
        )
    found: ClassifierTest = evidence.shared["classifier test"]
    return found


def _shares(found: ClassifierTest) -> dict[str, float]:
    return {
        "accuracy_on_real": found.real.double().mean().item(),
        "accuracy_on_generated": found.generated.double().mean().item(),
    }
