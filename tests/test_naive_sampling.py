import torch
from pixel_models import random_model

from zoo.naive_sampling import draw_naively, pixels_naively
from zoo.pixelcnn import PixelCNN


def test_pixels_can_be_drawn_one_by_one_and_stopped():
    conditionals = random_model(PixelCNN, (2, 3, 4), levels=5).conditionals
    uniform = torch.rand(2, 2, 3, 4)
    known = torch.full((2, 2, 3, 4), 0.3)
    images = pixels_naively(conditionals, uniform, known, rows=1)

    with torch.no_grad():
        for _ in range(2):
            x = next(images)

    assert (x[:, :, 0] == known[:, :, 0]).all()
    assert (x[:, :, 1, :2] != 0.3).all()
    assert (x[:, :, 1, 2:] == 0).all()
    assert (x[:, :, 2] == 0).all()
    assert sum(1 for _ in images) == 6  # of the eight pixels below the first row


def test_keeping_all_rows_draws_nothing():
    conditionals = random_model(PixelCNN, (2, 3, 4), levels=5).conditionals
    known = torch.rand(2, 2, 3, 4)
    assert torch.equal(draw_naively(conditionals, torch.rand_like(known), known, rows=3), known)
