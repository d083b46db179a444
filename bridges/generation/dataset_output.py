"""The output of a generation: a dataset folder of ours, or any other format.

A dataset folder is made where it is to be: its images are in their places from the
beginning. Of another format the images are made in a hidden folder, and then written
in the order of the plan.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
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
from hyperface_jax import files
from hyperface_jax.artifacts import (
    Output,
    check_same_settings,
    check_vacant,
    read_json,
)
from hyperface_jax.commands import provenance

FOLDER = "folder"
KIND = "generated"
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
            work = self.path.with_name(f".{self.path.name}{GENERATION}")
        in_place = format == FOLDER
        self.draft = Draft(self.path if in_place else work, work, plan)
        # Of a folder it shows readers that the images are not all there yet.
        self._description = (self.path if in_place else work) / DESCRIPTION
        self.output = Output(self.path, self._find, is_folder=not self._is_file)

    def begin(self) -> None:
        """Makes the place for images.

        Raises:
          InputError: something else is there, or a dataset of other settings.
        """
        path = self._description
        if path.exists():
            found = read_json(path)
            check_same_settings(path, compared_settings(found), self._comparable())
            return
        if self._is_file:
            files.check_output(self.path)
        else:
            check_vacant(self.path, path.name, "dataset")
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, self._begun())

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
        shutil.rmtree(self.draft.work, ignore_errors=True)

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
            found = self._target.find()
            if found is None:
                return None
        shutil.rmtree(self.draft.work, ignore_errors=True)
        return found

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
