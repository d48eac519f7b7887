"""Small models for the tests of the program itself: quick, and faulty on purpose."""

import math

import torch
from torch import nn

from benchmark.spec import DataSpec, TrainingDiverged


class Quick(nn.Module):
    """Learns a mean by gradient steps, so that there is a curve and something to resume."""

    def __init__(self, spec: DataSpec, steps: int = 200) -> None:
        super().__init__()
        self.spec, self.steps = spec, steps
        self.mean = nn.Parameter(torch.zeros(spec.dims))

    def fit(self, train, validation, budget, log):
        from zoo.train import scaled_steps
        from zoo.train import train as run

        optimiser = torch.optim.Adam(self.parameters(), lr=0.05)

        def update(draw):
            loss = (draw().flatten(1).float() + torch.randn(1) - self.mean).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            return {"loss": loss}

        run(
            self,
            update,
            optimisers=[optimiser],
            data=train,
            batch_size=16,
            log=log,
            steps=scaled_steps(self.steps, budget),
            ema_decay=0.9,
        )

    def sample(self, n):
        x = self.mean + torch.randn(n, self.spec.dims)
        if self.spec.levels is None:
            return x.view(n, *self.spec.shape)
        return x.round().clamp(0, self.spec.levels - 1).to(torch.uint8).view(n, *self.spec.shape)


class Labels:
    def __init__(self, count):
        self.count = count


class LearnsLabels(Quick):
    """Ends with the mean label of both splits, so that these are seen to arrive."""

    def __init__(self, spec: DataSpec, classes: int = 10) -> None:
        super().__init__(spec)
        self.classes = Labels(classes)

    def fit(self, train, validation, budget, log, labels=None):
        log(1, 1, loss=1.0)
        if labels is not None:
            means = [each.double().mean().float() for each in labels]
            self.mean.data[:2] = torch.stack(means)


class TellsOfDrawing(Quick):
    def tell_progress(self, tell):
        self.tell = tell

    def sample(self, n):
        self.tell(n // 2, n)
        return super().sample(n)


class Diverges(Quick):
    def fit(self, train, validation, budget, log):
        raise FloatingPointError("loss became nan at step 7")


class BecomesNaN(Quick):
    def fit(self, train, validation, budget, log):
        raise TrainingDiverged("loss", math.nan, 7, 9)


class OneDiverges(Quick):
    def fit_together(self, models, train, validation, budget, logs):
        for model, log in zip(models, logs, strict=True):
            model.fit(train, validation, budget, log)
        logs[1].diverged(7, 9, "loss", math.nan)


class BreaksTogether(Quick):
    def fit_together(self, models, train, validation, budget, logs):
        raise RuntimeError("no luck")


class Dies(Quick):
    def fit(self, train, validation, budget, log):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


class WantsOneThread(Quick):
    def fit(self, train, validation, budget, log):
        from threadpoolctl import threadpool_info

        libraries = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
        if set(libraries.values()) != {1} or torch.get_num_threads() != 1:
            raise RuntimeError(f"threads: {libraries}")


class SamplesNaN(Quick):
    def sample(self, n):
        return super().sample(n) * float("nan")


class BadLikelihood(Quick):
    def log_prob(self, x):
        raise RuntimeError("no luck")


class Completes(Quick):
    """Draws every pixel below the kept rows alone, each level as probable as the others."""

    def complete(self, x, rows):
        drawn = torch.randint(self.spec.levels, x.shape, dtype=torch.uint8)
        drawn[:, :, :rows] = x[:, :, :rows]
        return drawn


class TellsOfCompleting(Completes):
    def tell_progress(self, tell):
        self.tell = tell

    def complete(self, x, rows):
        self.tell(len(x) // 2, len(x))
        return super().complete(x, rows)


class ChangesWhatItWasGiven(Completes):
    def complete(self, x, rows):
        return super().complete(x, rows - 1)
