"""From an ArcFace embedding to the prompt of Arc2Face's denoising network.

The text encoder reads the sentence "photo of a id person", in which the word "id" is
replaced: in the place of its row of the token table stands the embedding, with zeros
after it (Papantoniou et al. 2024, section 3.2). The sentence never changes, so its
tokens are constants here and no tokenizer is needed.
"""

import numpy as np
import torch
from transformers import CLIPTextModel

from bridges.devices import Device
from hyperface_jax import InputError

EMBEDDING_SIZE = 512
PROMPT_LENGTH = 77
# Tokens of CLIP's vocabulary: the start, "photo of a id person", and the end, which
# also fills up. The empty sentence is what guidance leads away from.
_START, _END = 49406, 49407
_WORDS = (1125, 539, 320, 1014, 2533)
# Where "id" stands, the start counted.
_PLACE = 4


class PromptEncoder:
    """The text encoder with an embedding for a word.

    Attributes:
      size: entries of each of the 77 rows of a prompt.
    """

    def __init__(
        self, network: CLIPTextModel, device: Device, batch_size: int, path: str
    ) -> None:
        """Moves the network to a device.

        Args:
          network: in the type that it computes in.
          device: where.
          batch_size: embeddings encoded at once.
          path: of its configuration, for messages.

        Raises:
          InputError: a network that this sentence or an embedding does not fit.
        """
        config = network.config
        self.size = config.hidden_size
        for name, found, least in (
            ("hidden_size", config.hidden_size, EMBEDDING_SIZE),
            ("vocab_size", config.vocab_size, _END + 1),
            ("max_position_embeddings", config.max_position_embeddings, PROMPT_LENGTH),
        ):
            if found < least:
                raise InputError(
                    f"{path}: {name} is {found}, expected at least {least}: no encoder "
                    "of Arc2Face"
                )
        self._network = network.to(device.torch)
        self._place = device.torch
        self._batch_size = batch_size

    @torch.no_grad()
    def encode(self, embeddings: np.ndarray) -> torch.Tensor:
        """Prompts of embeddings.

        A prompt is a function of its embedding; what else is in the call does not
        matter: all batches have the same number of rows.

        Args:
          embeddings: ``[n, 512]`` unit rows.

        Returns:
          ``[n, 77, size]`` on the CPU, where those of many identities take no room
          from the images, in the encoder's type.
        """
        ids = _sentence(_WORDS).repeat(self._batch_size, 1).to(self._place)
        parts = []
        for start in range(0, len(embeddings), self._batch_size):
            part = embeddings[start : start + self._batch_size]
            rows = torch.zeros(self._batch_size, self.size)
            rows[: len(part), :EMBEDDING_SIZE] = torch.from_numpy(
                np.array(part, np.float32)
            )
            parts.append(self._with_rows(ids, rows)[: len(part)].cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def encode_nothing(self) -> torch.Tensor:
        """``[77, size]``, the prompt of the empty sentence."""
        ids = _sentence(()).to(self._place)
        return self._network(input_ids=ids).last_hidden_state[0]

    def _with_rows(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The encoder's output with ``rows`` in the word's place."""

        def replace(
            module: torch.nn.Module, inputs: object, table_rows: torch.Tensor
        ) -> torch.Tensor:
            del module, inputs
            replaced = table_rows.clone()
            replaced[:, _PLACE] = rows.to(table_rows)
            return replaced

        # A hook works with every version of transformers; the forward pass itself takes
        # no embeddings of tokens.
        hook = self._network.get_input_embeddings().register_forward_hook(replace)
        try:
            return self._network(input_ids=ids).last_hidden_state
        finally:
            hook.remove()


def _sentence(words: tuple[int, ...]) -> torch.Tensor:
    """``[1, 77]``: the start, the words, and ends for the rest."""
    ids = [_START, *words]
    return torch.tensor([ids + [_END] * (PROMPT_LENGTH - len(ids))])
