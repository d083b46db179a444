"""The record of a run: stages announced, timed over all runs, and kept apart."""

import json

import pytest

from bridges.demo.recorder import Stage, StageRecorder
from hyperface_jax import InputError

SETTINGS = {"seed": 1, "size": 64}


def recorder(folder, stages, settings=SETTINGS, lines=None):
    announce = (lambda line: None) if lines is None else lines.append
    return StageRecorder(folder, settings, stages, announce)


def read(folder):
    return json.loads((folder / "run.json").read_text())


def fail():
    raise RuntimeError("half-way")


def test_stages_run_in_order_and_are_announced(tmp_path):
    done, lines = [], []
    stages = [
        Stage("first", "one thing", lambda: done.append(1)),
        Stage("second", "another", lambda: done.append(2)),
    ]
    recorder(tmp_path, stages, lines=lines).run()
    assert done == [1, 2]
    assert lines == ["stage 1/2 first: one thing", "stage 2/2 second: another"]
    record = read(tmp_path)
    assert record["settings"] == SETTINGS
    assert [stage["name"] for stage in record["stages"]] == ["first", "second"]
    assert all(stage["complete"] for stage in record["stages"])


def test_an_interrupted_run_goes_on_and_adds_up_its_time(tmp_path):
    ran = []
    first = Stage("first", "", lambda: ran.append("first"))
    with pytest.raises(RuntimeError, match="half-way"):
        recorder(tmp_path, [first, Stage("second", "", fail)]).run()
    record = read(tmp_path)
    assert [stage["complete"] for stage in record["stages"]] == [True, False]
    # As if the first attempt had taken a while.
    record["stages"][0]["seconds"], record["stages"][1]["seconds"] = 40.0, 20.0
    (tmp_path / "run.json").write_text(json.dumps(record))
    lines = []
    again = recorder(tmp_path, [first, Stage("second", "", lambda: None)], lines=lines)
    again.run()
    assert ran == ["first", "first"], "the stage itself finds out that it is done"
    assert lines[0].endswith("done before") and not lines[1].endswith("done before")
    assert read(tmp_path)["stages"][0]["seconds"] == 40.0, "looking again is no work"
    assert 60.0 <= again.seconds < 70.0


def test_a_stage_added_later_takes_its_place(tmp_path):
    stages = [Stage(name, "", lambda: None) for name in ("a", "b", "c")]
    recorder(tmp_path, [stages[0], stages[2]]).run()
    recorder(tmp_path, stages).run()
    assert [stage["name"] for stage in read(tmp_path)["stages"]] == ["a", "b", "c"]


def test_settings_are_there_while_the_first_stage_runs(tmp_path):
    seen = []
    recorder(tmp_path, [Stage("a", "", lambda: seen.append(read(tmp_path)))]).run()
    assert seen[0]["settings"] == SETTINGS


def test_a_folder_of_other_settings_is_refused(tmp_path):
    recorder(tmp_path, []).run()
    recorder(tmp_path, [Stage("a", "", lambda: None)]).run()
    with pytest.raises(InputError, match=r"seed = 1, asked for 2; give another"):
        recorder(tmp_path, [], settings=SETTINGS | {"seed": 2})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not JSON"),
        ("[]", "holds list"),
        ("{}", "not the record of a run"),
        ('{"settings": {}}', "not the record of a run"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, content, reason):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=f"run.json: {reason}"):
        recorder(tmp_path, [])
