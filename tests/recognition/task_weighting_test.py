"""Weights that are learned: the closed forms of uncertainty weighting."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bridges.recognition.config import TrainingConfig
from bridges.recognition.task_weighting import total_loss, weigh_tasks
from bridges.recognition.tasks import TaskOutput


class Constant(torch.nn.Module):
    """A task whose loss stays."""

    def __init__(self, value, weight=1.0):
        super().__init__()
        self.value, self.loss_weight = value, weight


LOSSES = {"identity": 7.0, "age": 0.3}
LEARNED = TrainingConfig(tasks=("identity", "age"), task_weighting="uncertainty")


class TestUncertainty:
    def total(self, tasks, labelled=None):
        outputs = {
            name: TaskOutput(torch.tensor(task.value), {}, labelled)
            for name, task in tasks.items()
        }
        return total_loss(tasks, outputs)

    def test_starts_at_the_weights_given(self):
        tasks = {"identity": Constant(7.0), "age": Constant(0.3, 4.0)}
        weigh_tasks(tasks, LEARNED)
        expected = 7.0 + 4.0 * 0.3 - math.log(4.0) / 2
        assert self.total(tasks).item() == pytest.approx(expected, rel=1e-6)
        assert tasks["age"].log_variance.item() == pytest.approx(-math.log(4))

    def test_is_the_likelihood_of_a_gaussian(self):
        """Of errors e of k numbers: -log N(e; 0, σ²) / k, but for log 2π / 2."""
        from scipy.stats import norm

        errors = np.array([0.5, -1.2, 2.0])
        task = Constant(float(np.mean(errors**2) / 2))
        weigh_tasks({"age": task}, dataclasses.replace(LEARNED, tasks=("age",)))
        for sigma in (0.5, 1.0, 3.0):
            task.log_variance.data.fill_(2 * math.log(sigma))
            expected = (
                -norm(scale=sigma).logpdf(errors).mean() - math.log(2 * math.pi) / 2
            )
            assert self.total({"age": task}).item() == pytest.approx(expected, rel=1e-5)

    def test_settles_at_the_closed_form(self):
        tasks = {name: Constant(value) for name, value in LOSSES.items()}
        weigh_tasks(tasks, LEARNED)
        parameters = [task.log_variance for task in tasks.values()]
        optimizer = torch.optim.LBFGS(parameters, max_iter=100)

        def closure():
            optimizer.zero_grad()
            loss = self.total(tasks)
            loss.backward()
            return loss

        optimizer.step(closure)
        for name, loss in LOSSES.items():
            found = tasks[name].log_variance.item()
            assert found == pytest.approx(math.log(2 * loss), abs=1e-3)
        least = sum(0.5 + math.log(2 * loss) / 2 for loss in LOSSES.values())
        assert self.total(tasks).item() == pytest.approx(least, abs=1e-4)

    def test_a_batch_without_labels_moves_no_weight(self):
        tasks = {"age": Constant(0.0)}
        weigh_tasks(tasks, dataclasses.replace(LEARNED, tasks=("age",)))
        self.total(tasks, torch.tensor(False)).backward()
        assert tasks["age"].log_variance.grad.item() == 0
