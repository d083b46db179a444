"""The output of a generation: a dataset folder of ours, or any other format.

A dataset folder is made where it is to be: its images are in their places from the
beginning. Of another format the images are made in a hidden folder, and then written
in the order of the plan.
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridges.datasets.dataset_format import (
    DESCRIPTION,
    FORMAT_VERSION,
    METADATA,
    compared_settings,
    to_json,
)
from bridges.datasets.format_output import FormatOutput
from bridges.datasets.formats.writer import ConvertedImage
from bridges.datasets.image_source import GENERATION, ImageSource
from bridges.generation.draft import Draft
from bridges.generation.generated_images import GeneratedImages
from bridges.generation.plan import Plan
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import (
    HeldElsewhere,
    Output,
    check_same_settings,
    check_vacant,
    read_json,
)
from hyperface_jax.commands import provenance

FOLDER = "folder"
KIND = "generated"
# Seconds that a worker waits for another that holds the output, to begin say.
_PATIENCE = 5.0
# What stands beside the images: files by name, given what is in the output already.
Beside = Callable[[pathlib.Path], Mapping[str, str]]


class DatasetOutput:
    """Where a dataset goes: finished, or to go on with.

    Attributes:
      path: the folder or file.
      draft: the dataset in the making.
      format: a key of :data:`bridges.datasets.formats.writer.FORMATS`.
      settings: all that the images depend on, JSON-ready.
    """

    def __init__(
        self, path: str | os.PathLike[str], format: str, settings: Any, plan: Plan
    ) -> None:
        """Describes the output; touches nothing.

        Args:
          path: a new folder or file, or one that was begun.
          format: ``"folder"`` for a dataset folder, or another format.
          settings: all that the images depend on, JSON-ready.
          plan: which images there are to be.

        Raises:
          InputError: no such format.
        """
        self.path = pathlib.Path(files.path_of(path))
        self.format = format
        self.settings = json.loads(to_json(settings))
        self._target = FormatOutput(self.path, format, self.settings)
        self._is_file = self._target.writer_class.is_file
        work = self.path / GENERATION
        if self._is_file:
            work = self.path.parent / f".{self.path.name}{GENERATION}"
        self.draft = Draft(self.path if format == FOLDER else work, work, plan)
        # Of a folder it shows readers that the images are not all there yet.
        self._description = self.path / DESCRIPTION
        self.output = Output(self.path, self._find, is_folder=not self._is_file)

    def begin(self) -> None:
        """Makes the place for images.

        Raises:
          HeldElsewhere: another process holds the output for long.
          InputError: something else is there, or a dataset of other settings.
        """
        if not self.draft.is_open:
            with self.holding() as found:
                if found is not None:
                    return
                if not self.draft.is_open:
                    self._begin()
        try:
            found = compared_settings(read_json(self.draft.plan_file))
        except FileNotFoundError:  # Finished since.
            return
        except InputError as error:
            raise InputError(
                f"{error}; remove {self.draft.work} to make all images again"
            ) from None
        wanted = {**self._comparable(), "format": self.format}
        check_same_settings(self.path, found, wanted)

    @contextlib.contextmanager
    def holding(self) -> Iterator[dict[str, Any] | None]:
        """Holds the output, which others do for a moment where they begin.

        Yields:
          The description of the finished dataset, or None.

        Raises:
          HeldElsewhere: another process holds it for longer; it finishes.
        """
        deadline = time.monotonic() + _PATIENCE
        with contextlib.ExitStack() as held:
            while True:
                try:
                    found = held.enter_context(self.output.writing())
                    break
                except HeldElsewhere:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield found

    def _begin(self) -> None:
        if self._is_file:
            files.check_output(self.path)
        elif self.format != FOLDER or not self._description.exists():
            check_vacant(self.path, DESCRIPTION, "dataset")
        if self.format == FOLDER:
            files.write_json(self._description, self._begun())
        planned = {**self.settings, "format": self.format}
        self.draft.begin({**self._begun(), "settings": planned})

    def finish(self, extra: Mapping[str, Any], beside: Beside) -> None:
        """Completes the output; to be called with it held.

        Args:
          extra: entries of the description: models, a licence note, ….
          beside: see :data:`Beside`; called when the images are in the output.
        """
        extra = json.loads(to_json(extra))
        if self.format == FOLDER:
            self._finish_folder(extra, beside)
        else:
            source = GeneratedImages(self.draft, str(self.path))
            self._target.write(source, _as_it_is, extra, beside=beside)
        self.draft.remove()

    def _finish_folder(self, extra: Mapping[str, Any], beside: Beside) -> None:
        if hasattr(os, "sync"):  # not on Windows
            os.sync()
        lines = (to_json(e.record) + "\n" for _, e in self.draft.all_entries())
        files.write_lines(self.path / METADATA, lines)
        for name, text in beside(self.path).items():
            files.write_text(self.path / name, text)
        plan = self.draft.plan
        counts = {"identities": plan.identities, "images": len(plan)}
        description = {
            **self._begun(),
            "complete": True,
            "counts": counts,
            **extra,
            "created_with": provenance(),
        }
        files.write_json(self._description, description)

    def _find(self) -> dict[str, Any] | None:
        """The description of a finished dataset of these settings, or None."""
        if self.format == FOLDER:
            found = read_json(self._description) if self._description.exists() else {}
            if found:
                wanted = self._comparable()
                check_same_settings(self._description, compared_settings(found), wanted)
            if not found.get("complete"):
                return None
        else:
            if self._is_file:
                files.check_place(self.path)
            self._refuse_folder()
            found = self._target.find()
            if found is None:
                return None
        self.draft.remove()
        return found

    def _refuse_folder(self) -> None:
        """Refuses another format where a dataset folder of ours is."""
        if not self._is_file and self._description.is_file():
            if read_json(self._description).get("kind") == KIND:
                check_same_settings(
                    self.path, {"format": FOLDER}, {"format": self.format}
                )

    def _begun(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "complete": False,
            "settings": self.settings,
        }

    def _comparable(self) -> dict[str, Any]:
        return {"kind": KIND, **self.settings}


def _as_it_is(source: ImageSource, row: int) -> ConvertedImage:
    """An image as it was generated."""
    label = int(source.labels[row])
    return ConvertedImage(row, source.read(row), ".jpg", label, source.records[row])
