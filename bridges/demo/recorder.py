"""The stages of a run: announced, timed, recorded, and skipped when already done."""

import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hyperface_jax import InputError, files
from hyperface_jax.artifacts import Output, check_same_settings, read_json
from hyperface_jax.commands import provenance

_RECORD = "run.json"


class Stage(NamedTuple):
    """A step of the chain.

    Attributes:
      name: a word.
      what: what it does, with its sizes.
      work: does it; returns at once when an earlier run did it.
    """

    name: str
    what: str
    work: Callable[[], Any]


class StageRecorder:
    """Runs stages one by one and keeps ``run.json`` up to date.

    Each stage skips what an earlier run finished, since only the stage can tell whether
    its files are complete. The recorder checks that the folder belongs to the same
    settings, announces the stages, and adds up the time of each over all runs, except
    for the stage during which a run was killed.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        settings: dict[str, Any],
        stages: Sequence[Stage],
        announce: Callable[[str], None],
    ) -> None:
        """Opens the record of a run, or starts one.

        Args:
          folder: the run folder, created when missing.
          settings: everything the run depends on, JSON-ready.
          stages: what is to be done, in order.
          announce: told a line when a stage starts.

        Raises:
          InputError: the folder belongs to other settings.
        """
        self._path = folder / _RECORD
        self._settings = json.loads(json.dumps(settings))
        self._stages = stages
        self._announce = announce
        self._records = self._read()

    def run(self) -> None:
        """Does every stage that is not finished, and checks those that are.

        Raises:
          InputError: another process is writing to the folder.
        """
        folder = Output(self._path.parent, self._look_again, is_folder=True)
        with folder.writing():
            self._run_stages()

    def _look_again(self) -> None:
        """Reads the record once more: another process may have changed it."""
        self._records = self._read()

    def _run_stages(self) -> None:
        for number, stage in enumerate(self._stages, start=1):
            record = self._records.setdefault(stage.name, {"seconds": 0.0})
            finished = record.get("complete", False)
            again = ", done before" if finished else ""
            self._announce(
                f"stage {number}/{len(self._stages)} {stage.name}: {stage.what}{again}"
            )
            record |= {"name": stage.name, "what": stage.what, "complete": finished}
            self._write()
            started, before = time.monotonic(), record["seconds"]
            try:
                stage.work()
                record["complete"] = True
            finally:
                if not finished:
                    seconds = before + time.monotonic() - started
                    record["seconds"] = round(seconds, 1)
                self._write()

    @property
    def seconds(self) -> float:
        """The time of all stages so far, over all runs."""
        return sum(record["seconds"] for record in self._records.values())

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        record = read_json(self._path)
        try:
            settings = dict(record["settings"])
            records = {stage["name"]: stage for stage in record["stages"]}
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self._path}: not the record of a run; give another output"
            ) from None
        check_same_settings(self._path.parent, settings, self._settings)
        return records

    def _write(self) -> None:
        # A comparison of an earlier run may not be among the stages of this one.
        ordered = [s.name for s in self._stages if s.name in self._records]
        ordered += [name for name in self._records if name not in ordered]
        record = {
            **provenance(self._settings),
            "seconds": round(self.seconds, 1),
            "stages": [self._records[name] for name in ordered],
        }
        files.write_json(self._path, record)
