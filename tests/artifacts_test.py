import json
import os
import pathlib

import pytest

from hyperface_jax import InputError, artifacts, files, locks

_SETTINGS = {"seed": 1}


def _find(path, settings=_SETTINGS):
    def find():
        if not path.exists():
            return None
        found = artifacts.read_json(path)
        artifacts.check_same_settings(path, found["settings"], settings)
        return found if found["complete"] else None

    return find


def _write(path, settings=_SETTINGS, complete=True):
    content = {"settings": settings, "complete": complete}
    files.write_json(path, content)
    return content


def test_work_is_done_once(tmp_path):
    path, calls = tmp_path / "out.json", []

    def work():
        calls.append(1)
        return _write(path)

    output = artifacts.Output(path, _find(path))
    assert output.make(work) == output.make(work) == _write(path)
    assert calls == [1]


def test_other_settings_are_refused_before_the_work(tmp_path):
    path = tmp_path / "out.json"
    _write(path, {"seed": 2})
    with pytest.raises(InputError, match=r"out\.json: made with seed = 2, asked for 1"):
        artifacts.Output(path, _find(path)).make(lambda: pytest.fail("worked"))
    assert artifacts.read_json(path)["settings"] == {"seed": 2}


def test_what_another_process_finished_meanwhile_is_taken(tmp_path):
    path = tmp_path / "out.json"
    output = artifacts.Output(path, _find(path))
    assert output.finished() is None
    written = _write(path)
    with output.writing() as found:
        assert found == written


def test_second_process_is_refused_while_the_first_writes(tmp_path):
    for is_folder in (False, True):
        path = tmp_path / f"out{is_folder}"
        output = artifacts.Output(path, lambda: None, is_folder=is_folder)
        other = artifacts.Output(path, lambda: None, is_folder=is_folder)
        with output.writing(), pytest.raises(InputError, match="another process"):
            other.make(lambda: pytest.fail("worked"))
        assert other.make(lambda: 1) == 1


def test_leftovers_go_when_the_work_is_done_and_stay_when_it_is_not(tmp_path):
    path, checkpoint = tmp_path / "out.json", tmp_path / ".out.checkpoint"
    output = artifacts.Output(path, _find(path), leftovers=[checkpoint])
    checkpoint.write_text("half")
    with pytest.raises(ZeroDivisionError):
        output.make(lambda: 1 / 0)
    assert checkpoint.read_text() == "half"
    torn = tmp_path / "..out-0123abcd.partial.checkpoint"
    torn.write_text("torn by a kill")
    output.make(lambda: _write(path))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.json"]


def test_leftovers_of_a_kill_after_the_work_go_at_the_next_look(tmp_path):
    path, checkpoint = tmp_path / "out.json", tmp_path / "checkpoint"
    checkpoint.write_text("half")
    _write(path)
    output = artifacts.Output(path, _find(path), leftovers=[checkpoint])
    assert output.finished() == artifacts.read_json(path)
    assert not checkpoint.exists()


def test_checkpoint_of_a_run_that_is_to_replace_the_output_stays(tmp_path):
    path, checkpoint = tmp_path / "out.json", tmp_path / "checkpoint"
    _write(path)
    checkpoint.write_text("half")
    later = path.stat().st_mtime + 5
    os.utime(checkpoint, (later, later))
    artifacts.Output(path, _find(path), leftovers=[checkpoint]).finished()
    assert checkpoint.exists()


def test_leftovers_of_a_process_that_writes_are_not_touched(tmp_path):
    path, checkpoint = tmp_path / "out.json", tmp_path / "checkpoint"
    checkpoint.write_text("half")
    _write(path)
    output = artifacts.Output(path, _find(path), leftovers=[checkpoint])
    with locks.held(path):
        assert output.finished() is not None
    assert checkpoint.exists()


def test_finished_output_is_found_where_nothing_can_be_written(tmp_path):
    path = tmp_path / "folder" / "out.json"
    _write(path)
    path.parent.chmod(0o500)
    try:
        found = artifacts.Output(path, _find(path)).make(lambda: pytest.fail("worked"))
    finally:
        path.parent.chmod(0o700)
    assert found["complete"]


def test_stream_is_written_without_a_look_or_a_lock():
    output = artifacts.Output("/dev/null", lambda: pytest.fail("looked"))
    assert output.make(lambda: 3) == 3


@pytest.mark.parametrize(
    ("found", "wanted", "says"),
    [
        ({"a": 1}, {"a": 2}, "made with a = 1, asked for 2"),
        ({"a": "x" * 99}, {"a": "y"}, "made with other a"),
        ({}, {"a": 2}, r"made with other settings \(a\)"),
        ({"a": 2, "b": 1}, {"a": 2}, r"made with other settings \(b\)"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "made with other a"),
    ],
)
def test_difference_of_settings_is_named(found, wanted, says):
    with pytest.raises(InputError, match=f"place: {says}; pass --overwrite"):
        artifacts.check_same_settings("place", found, wanted, remedy="pass --overwrite")


def test_equal_settings_pass():
    artifacts.check_same_settings("place", {"a": [1, 2]}, {"a": [1, 2]})


def test_folder_of_somebody_else_is_refused(tmp_path):
    artifacts.check_vacant(tmp_path / "missing", "sign.json", "dataset")
    artifacts.check_vacant(tmp_path, "sign.json", "dataset")
    (tmp_path / ".hidden").touch()
    artifacts.check_vacant(tmp_path, "sign.json", "dataset")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds 'thesis\.tex' but no sign\.json"):
        artifacts.check_vacant(tmp_path, "sign.json", "dataset")
    with pytest.raises(InputError, match="is a file"):
        artifacts.check_vacant(tmp_path / "thesis.tex", "sign.json", "dataset")


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "", "[" * 10**5])
def test_json_that_is_no_object_is_refused(tmp_path, text):
    path = pathlib.Path(tmp_path / "a.json")
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json: (not JSON|holds)"):
        artifacts.read_json(path)
    with pytest.raises(InputError, match="is a folder"):
        artifacts.read_json(tmp_path)
    path.write_text(json.dumps({"a": 1}))
    assert artifacts.read_json(path) == {"a": 1}
