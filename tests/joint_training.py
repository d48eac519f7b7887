"""What copies that train together owe, whatever their family."""

import torch
from test_train import Notes


def assert_each_copy_trains_to_its_own_weights(models, data):
    """Every parameter of every model moves, each model's in its own way."""
    before = [[value.detach().clone() for value in model.parameters()] for model in models]
    models[0].fit_together(models, data, data[:50], 1.0, [Notes() for _ in models])
    assert not any(model.training for model in models)
    moves = [
        [value - old for value, old in zip(model.parameters(), earlier, strict=True)]
        for model, earlier in zip(models, before, strict=True)
    ]
    assert all(move.abs().max() > 0 for moved in moves for move in moved)
    assert not any(torch.allclose(a, b) for a, b in zip(moves[0], moves[1], strict=True))
