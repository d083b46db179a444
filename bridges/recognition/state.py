"""What changes during a recognition training: made, named for the disk, restored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from bridges.datasets.image_source import ImageSource
from bridges.devices import Device
from bridges.recognition.backbones import build_backbone
from bridges.recognition.config import TrainingConfig
from bridges.recognition.groups_task import GroupsTask
from bridges.recognition.task_settings import DEMOGRAPHIC, GROUPS_TASK
from bridges.recognition.task_weighting import weigh_tasks
from bridges.recognition.tasks import IDENTITY, TASKS, TrainingTask
from bridges.training.torchrun import synchronise_norms

_CPU = Device()


class TrainingState(NamedTuple):
    """What changes during a training.

    Attributes:
      backbone: the network that is kept.
      tasks: the modules of the tasks, by name.
      optimizer: the optimiser of all of them.
      scaler: scales the loss for float16 gradients; disabled at other precisions.
      device: where all of it is.
      forward: the backbone as steps call it: compiled, where that was asked for.
    """

    backbone: nn.Module
    tasks: Mapping[str, TrainingTask]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: Device
    forward: Callable[[torch.Tensor], torch.Tensor]

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The backbone and the tasks, each with the prefix of its tensors' names."""
        yield "backbone.", self.backbone
        for name, task in self.tasks.items():
            # Files of trainings that knew no other task have its names bare: "head.…".
            yield "" if name == IDENTITY else f"tasks.{name}.", task

    def parameters(self, *, heard_only: bool = False) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name.

        Args:
          heard_only: without those of tasks whose factor is 0, which get no gradient.
        """
        return {
            prefix + name: parameter
            for prefix, module in self.modules()
            if not heard_only or getattr(module, "loss_weight", 1)
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }


def init_training(
    config: TrainingConfig,
    sources: Sequence[ImageSource],
    device: Device = _CPU,
    *,
    compiled: bool = False,
    synchronised: bool = False,
) -> TrainingState:
    """Draws backbone and tasks from ``config.seed``, the same on every device.

    Leaves torch's global generator as it was.

    Args:
      config: the settings.
      sources: what the tasks are built for.
      device: where the training runs.
      compiled: have ``torch.compile`` make the backbone's kernels.
      synchronised: take the statistics of batch norms over all processes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = build_backbone(
            config.backbone,
            image_size=config.image_size,
            embedding_size=config.embedding_size,
        )
        tasks = {name: TASKS[name](config, sources) for name in config.tasks}
        if config.attention == DEMOGRAPHIC:
            tasks[GROUPS_TASK] = GroupsTask(config, sources, backbone)
    weigh_tasks(tasks, config)
    if synchronised:
        backbone = synchronise_norms(backbone, device)
    backbone = backbone.to(device.torch, memory_format=torch.channels_last)
    tasks = {name: task.to(device.torch) for name, task in tasks.items()}
    scaler = torch.amp.GradScaler(
        device.torch.type, enabled=device.precision == "float16"
    )
    optimizer = _optimizer(config, [backbone, *tasks.values()])
    forward = torch.compile(backbone) if compiled else backbone
    return TrainingState(backbone, tasks, optimizer, scaler, device, forward)


def _optimizer(
    config: TrainingConfig, modules: Sequence[nn.Module]
) -> torch.optim.Optimizer:
    every = [parameter for module in modules for parameter in module.parameters()]
    parameters = [parameter for parameter in every if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        # Scales, offsets and PReLU slopes are vectors: decaying them towards 0 means
        # nothing.
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)


def weights_to_keep(state: TrainingState) -> dict[str, torch.Tensor]:
    """A copy, on the CPU, of what is saved of a training: all but the identities."""
    return {
        prefix + name: value.detach().cpu().clone()
        for prefix, module in state.modules()
        if prefix
        for name, value in module.state_dict().items()
    }


def take_weights(state: TrainingState, weights: Mapping[str, torch.Tensor]) -> None:
    """Gives ``state`` what :func:`weights_to_keep` copied."""
    for prefix, module in state.modules():
        if prefix:
            module.load_state_dict(_under(prefix, weights))


def tensors_of(state: TrainingState) -> dict[str, torch.Tensor]:
    """All tensors of a training by name, as a checkpoint stores them."""
    tensors = {
        prefix + name: value
        for prefix, module in state.modules()
        for name, value in module.state_dict().items()
    }
    for name, parameter in state.parameters().items():
        for key, value in state.optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    for key, value in state.scaler.state_dict().items():
        tensors[f"scaler.{key}"] = torch.tensor(value)
    return tensors


def restore(state: TrainingState, tensors: Mapping[str, torch.Tensor]) -> None:
    """Gives ``state`` the tensors that :func:`tensors_of` named, on its own device."""
    for prefix, module in state.modules():
        own = {name: tensors[prefix + name] for name in module.state_dict()}
        module.load_state_dict(own)
    for name, parameter in state.parameters().items():
        for key, value in _under(f"optimizer.{name}.", tensors).items():
            # AdamW's count of steps stays on the CPU. All else has the parameter's
            # shape, and here again its device and memory layout.
            if key != "step":
                value = torch.empty_like(parameter.detach()).copy_(value)
            state.optimizer.state[parameter][key] = value
    scaler = _under("scaler.", tensors)
    if scaler and state.scaler.is_enabled():
        state.scaler.load_state_dict(
            {key: value.item() for key, value in scaler.items()}
        )


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }
