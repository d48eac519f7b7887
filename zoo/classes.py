"""What a model may be told beside its data: the class, and how frequent each is."""

import math

import torch
from torch import Tensor, nn


class Classes(nn.Module):
    """The labels 0 .. count - 1 of a class-conditional model, or none at all.

    Args:
        count: how many classes there are, None for a model without.
    """

    log_prior: Tensor  # [count], log p(y)

    def __init__(self, count: int | None) -> None:
        super().__init__()
        if count is not None and count < 1:
            raise ValueError(f"classes must be positive, got {count}")
        self.count = count or 0
        if count is not None:
            self.register_buffer("log_prior", torch.full((count,), -math.log(count)))

    def learn(self, labels: Tensor | None) -> None:
        """Takes how frequent each class is from the labels [n] of the training set.

        Raises:
            ValueError: there are classes and no labels, or labels and no classes.
        """
        if labels is None and self.count:
            raise ValueError(f"a model with {self.count} classes learns from labels: give them")
        if labels is not None:
            self.check(labels, len(labels))
            counts = torch.bincount(labels, minlength=self.count) + 1.0
            self.log_prior.copy_((counts / counts.sum()).log())

    def check(self, labels: Tensor | None, n: int) -> None:
        """Raises ValueError unless labels are n of these classes, or None."""
        if labels is None:
            return
        if not self.count:
            raise ValueError("a model without classes takes no labels: build it with classes=...")
        if labels.shape != (n,):
            raise ValueError(f"labels must be [{n}], one for each example: {list(labels.shape)}")
        if n and not 0 <= labels.min() <= labels.max() < self.count:
            raise ValueError(
                f"labels must lie between 0 and {self.count - 1}, got some from {labels.min()} "
                f"to {labels.max()}"
            )

    def each(self, n: int) -> list[Tensor]:
        """Labels [n] of nothing but the first class, of the second, and so on."""
        same = torch.arange(self.count, device=self.log_prior.device)
        return list(same[:, None].expand(-1, n))

    def draw(self, n: int) -> Tensor:
        """Labels [n], each as probable as it was frequent."""
        return torch.multinomial(self.log_prior.exp(), max(n, 1), replacement=True)[:n]
