"""An independent critic: the 1-Wasserstein distance as a fresh network sees it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.metrics.base import Evidence, Measurement
from benchmark.metrics.inputs import check_vectors, compared_vectors
from benchmark.randomness import derive_seed, fork_rng

WIDTH = 64
STEPS = 400
BATCH = 128
LEARNING_RATE = 3e-3
PENALTY = 10.0
MOST_FOR_SLOPE = 1_000
LEAST = 8  # examples of either set: 4 to train on and 4 to measure


@dataclass(frozen=True)
class CriticDistance:
    """What one trained critic says of examples that it has not seen, and of those it has.

    Args:
        value: mean over held-out real examples less mean over held-out generated ones.
        standard_error: of the value, over examples and for this critic.
        training_value: the same of the examples it was trained on.
        training_error: their standard error.
    """

    value: float
    standard_error: float
    training_value: float
    training_error: float


def distance(evidence: Evidence) -> Measurement:
    """The critic's distance between the second halves of the real and generated sets.

    It is trained between the first halves. Both real halves are of the reference split rather
    than one of the validation split: the row of real data consists of validation examples, and
    would be its own training set.
    """
    found = _trained_once(evidence)
    n = _held_out_count(evidence)
    return Measurement.with_error(found.value, found.standard_error, n)


def gap(evidence: Evidence) -> Measurement:
    """Training value less held-out value: how far the critic has learnt examples by heart."""
    found = _trained_once(evidence)
    error = math.hypot(found.standard_error, found.training_error)
    n = _held_out_count(evidence)
    return Measurement.with_error(found.training_value - found.value, error, n)


def critic_distance(
    *,
    real: Tensor,
    generated: Tensor,
    held_out_real: Tensor,
    held_out_generated: Tensor,
    seed: int,
) -> CriticDistance:
    """Trains a small critic between two sets and asks it about two others.

    The recipe is one for all models: a network of two hidden layers on vectors centred and
    scaled by one number, 400 steps of Adam, and the penalty (|grad f| - 1)², weight 10, on lines
    between real and generated examples. The penalty leaves a slope above 1, the more the farther
    the sets; the critic is divided by its mean on such lines. The value is then near, mostly
    below, the 1-Wasserstein distance; how near depends on the number of examples.

    Args:
        real: [n, d] vectors of real data to train on, n >= 2.
        generated: [m, d] vectors of generated data to train on, m >= 2.
        held_out_real: [k, d] other vectors of real data, k >= 2.
        held_out_generated: [l, d] other vectors of generated data, l >= 2.
        seed: of the first weights and the batches.

    Returns:
        Lengths in the unit of the vectors; 0 in expectation for equal distributions, and so at
        times negative.

    Source: Danihelka et al. 2017, arXiv:1705.05263; the critic's loss from Gulrajani et al. 2017,
    arXiv:1704.00028, eq. 3.
    """
    check_vectors(
        real=real,
        generated=generated,
        held_out_real=held_out_real,
        held_out_generated=held_out_generated,
    )
    centre, scale = _scaling(real, generated)
    scaled_r, scaled_g, held_out_r, held_out_g = (
        ((vectors.double() - centre) / scale).float()
        for vectors in (real, generated, held_out_real, held_out_generated)
    )
    with fork_rng(seed):
        critic = _trained(scaled_r, scaled_g)
        batches = (_batch(examples, MOST_FOR_SLOPE) for examples in (scaled_r, scaled_g))
        slope = _slopes(critic, *batches).mean().item()
    scale /= max(slope, 1.0)
    value, error = _difference(critic, held_out_r, held_out_g)
    training_value, training_error = _difference(critic, scaled_r, scaled_g)
    return CriticDistance(
        value * scale, error * scale, training_value * scale, training_error * scale
    )


def _trained_once(evidence: Evidence) -> CriticDistance:
    key = "independent critic"
    if key not in evidence.shared:
        real, generated = compared_vectors(evidence)
        check_vectors(at_least=LEAST, real=real, generated=generated)
        (first_r, second_r), (first_g, second_g) = (
            vectors.tensor_split(2) for vectors in (real, generated)
        )
        evidence.shared[key] = critic_distance(
            real=first_r,
            generated=first_g,
            held_out_real=second_r,
            held_out_generated=second_g,
            seed=derive_seed(key, evidence.seed),
        )
    found: CriticDistance = evidence.shared[key]
    return found


def _held_out_count(evidence: Evidence) -> int:
    return len(evidence.generated) // 2


def _scaling(real: Tensor, generated: Tensor) -> tuple[Tensor, float]:
    """[d] mean of the real examples, and what divides both sets to a mean squared norm of 2."""
    centre = real.double().mean(dim=0)
    squares = [
        (vectors.double() - centre).square().sum(dim=1).mean().item()
        for vectors in (real, generated)
    ]
    return centre, math.sqrt(sum(squares) / 4) or 1.0


def _trained(real: Tensor, generated: Tensor) -> nn.Module:
    """A critic [n, d] -> [n] between two scaled sets, by the global random generator."""
    critic = nn.Sequential(
        nn.Linear(real.shape[1], WIDTH),
        nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, WIDTH),
        nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, 1),
        nn.Flatten(0),
    ).to(real.device)
    optimiser = torch.optim.Adam(critic.parameters(), LEARNING_RATE, betas=(0.0, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, total_iters=STEPS)
    for _ in range(STEPS):
        batch_r, batch_g = (_batch(examples, BATCH) for examples in (real, generated))
        difference = critic(batch_r).mean() - critic(batch_g).mean()
        penalty = (_slopes(critic, batch_r, batch_g) - 1).square().mean()
        loss = PENALTY * penalty - difference
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return critic


def _batch(examples: Tensor, size: int) -> Tensor:
    rows = torch.randint(len(examples), (size,))
    return examples[rows.to(examples.device)]


def _slopes(critic: nn.Module, real: Tensor, generated: Tensor) -> Tensor:
    """[n] norms of the gradient at points drawn evenly from lines between [n, d] and [n, d]."""
    share = torch.rand(len(real), 1).to(real.device)
    between = torch.lerp(generated, real, share).requires_grad_()
    (gradients,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return gradients.norm(dim=1)


@torch.no_grad()
def _difference(critic: nn.Module, real: Tensor, generated: Tensor) -> tuple[float, float]:
    """Difference of the means of the critic's values, and its standard error."""
    scores = [critic(examples).double() for examples in (real, generated)]
    variances = [(score.var() / len(score)).item() for score in scores]
    return (scores[0].mean() - scores[1].mean()).item(), math.sqrt(sum(variances))
