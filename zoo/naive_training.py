"""The plain way to train PixelCNN++: torch's own layers, optimiser and loader."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from benchmark.spec import Log
from zoo.pixelcnn_layers import GatedBlock
from zoo.pixelcnn_network import Level, Lower, Pair, PixelNetwork, Streams, shifted
from zoo.pixelcnn_pp import PixelCNNpp, PixelConditionals
from zoo.train import linear_decay, scaled_steps


def fit_naively(model: PixelCNNpp, train: Tensor, budget: float, log: Log) -> None:
    """Trains in float32 as `PixelCNNpp.fit` does, but keeps the last averaged weights.

    Every batch is put together from single images and moved to the model's device, the weights
    are averaged one parameter after another, and every step waits for its loss.

    Args:
        model: of images without classes.
        train: [n, *shape], in the memory of the processor.
        budget: fraction of the training length.
        log: takes the loss.
    """
    device = model.scaling.scale.device
    conditionals = cast(PixelConditionals, model.conditionals)
    conditionals.prepare(model.scaling(train[: model.batch_size].to(device)))
    average = deepcopy(model)
    steps = scaled_steps(model.steps, budget)
    optimiser = Adam(model.parameters(), lr=model.learning_rate, foreach=False, fused=False)
    scheduler = linear_decay(optimiser, steps, start=0.5)
    model.train()
    log.snapshot(0, steps, model.sample)
    for step, (images,) in enumerate(_batches(train, steps, model.batch_size), start=1):
        loss = _loss(conditionals, model.scaling(images.to(device)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        scheduler.step()
        _move(average, model, 1.0 if step == 1 else max(1 - model.ema_decay, 9 / (9 + step)))
        log(step, steps, loss=loss.item())
        log.snapshot(step, steps, model.sample)
    model.load_state_dict(average.state_dict())
    model.eval()


def _loss(conditionals: PixelConditionals, scaled: Tensor) -> Tensor:
    mixture = conditionals.mixture(naive_outputs(conditionals.network, scaled))
    return -mixture.log_prob(scaled).flatten(1).sum(dim=1).mean()


def naive_outputs(network: PixelNetwork, scaled: Tensor) -> Tensor:
    """What `network(scaled)` gives, computed with channels first and torch's own layers."""
    down, right = (part.contiguous() for part in shifted(scaled))
    streams = network.above_input(down), network.left_input(right)
    _, left = _level(network.level, streams)
    return network.output(_concat_elu(left))


def _level(level: Level, streams: Streams) -> Streams:
    kept = [streams]
    for pair in level.down:
        kept.append(_pair(cast(Pair, pair), kept[-1], None))
    streams = kept.pop() if level.lower is None else _lower(level.lower, kept[-1])
    for pair in level.up:
        streams = _pair(cast(Pair, pair), streams, kept.pop())
    return streams


def _lower(lower: Lower, streams: Streams) -> Streams:
    above, left = streams
    above, left = _level(lower.level, (lower.reduce_above(above), lower.reduce_left(left)))
    above, left = lower.raise_above(above), lower.raise_left(left)
    return functional.pixel_shuffle(above, 2), functional.pixel_shuffle(left, 2)


def _pair(pair: Pair, streams: Streams, shortcut: Streams | None) -> Streams:
    above, left = streams
    if shortcut is None:
        above = _block(pair.above, above, None)
        return above, _block(pair.left, left, above)
    above = _block(pair.above, above, shortcut[0])
    return above, _block(pair.left, left, torch.cat([above, shortcut[1]], dim=1))


def _block(block: GatedBlock, x: Tensor, told: Tensor | None) -> Tensor:
    hidden = block.inner(_concat_elu(x))
    if block.link is not None and told is not None:
        hidden = hidden + block.link(_concat_elu(told))
    hidden = functional.dropout(_concat_elu(hidden), block.dropout, block.training)
    value, gate = block.outer(hidden).chunk(2, dim=1)
    return x + value * gate.sigmoid()


def _concat_elu(x: Tensor) -> Tensor:
    return functional.elu(torch.cat([x, -x], dim=1))


def _batches(images: Tensor, steps: int, batch_size: int) -> DataLoader[tuple[Tensor, ...]]:
    """Batches of images drawn with replacement, by torch's global generator."""
    data = TensorDataset(images)
    draws = RandomSampler(data, True, steps * batch_size, generator=torch.default_generator)
    # A generator of its own, for a seed that is of no use here, leaves the global one alone.
    return DataLoader(data, batch_size, sampler=draws, generator=torch.Generator())


@torch.no_grad()
def _move(average: nn.Module, current: nn.Module, share: float) -> None:
    for ours, theirs in zip(average.parameters(), current.parameters(), strict=True):
        ours.copy_((1 - share) * ours + share * theirs)
