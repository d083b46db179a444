"""Every console script of setup.cfg: help, refusals, and no flag without a use."""

import ast
import dataclasses
import importlib
import signal
import subprocess
import sys

import pytest

from tests.console_scripts import ROOT, SCRIPTS

FLAG_MODULES = {"bridges.device_flags", "bridges.folder_flags"}


@pytest.fixture(params=SCRIPTS)
def script(request):
    return request.param


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Runs a command in this process; its exit code, output and errors."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(script: str, *arguments: str) -> tuple[int, str, str]:
        module = importlib.import_module(SCRIPTS[script])
        for name in module.FLAGS:
            module.FLAGS[name].unparse()  # of what another test gave
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as exit:
            module.run()
        return exit.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, handler)


def test_help_is_for_a_newcomer(run_here, script):
    code, output, errors = run_here(script, "--help")
    assert code == 0, errors
    assert f"{script} --" in output, "an example that can be copied"
    assert output.count("\n  --") >= 1, "the flags"


def test_a_module_is_a_command_too():
    result = subprocess.run(
        [sys.executable, "-m", SCRIPTS["hyperface-report"], "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    assert "hyperface-report --run=" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_such_flag=1"], "no_such_flag"),
        (["gallery.npz"], "unexpected argument 'gallery.npz'"),
        ([], "--"),
    ],
    ids=["unknown flag", "no flag", "nothing"],
)
def test_a_bad_command_line_is_refused_in_one_line(
    run_here, script, arguments, message
):
    code, _, errors = run_here(script, *arguments)
    assert code == 2
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith(f"{script}: ") and message in errors


def test_every_flag_is_described(script):
    flags = importlib.import_module(SCRIPTS[script]).FLAGS
    assert not [name for name in flags if not flags[name].help]


def dataclasses_in(value):
    """The options of several implementations are by their names, or several such."""
    if dataclasses.is_dataclass(value):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if not isinstance(value, tuple):
        return []
    return [one for each in value for one in dataclasses_in(each)]


def test_every_flag_is_read(script):
    """By its name, or as a field of a configuration that the command fills whole.

    In the command's own module, or in one beside it, imported at the top or later.
    """
    module = importlib.import_module(SCRIPTS[script])
    used = set()
    for tree in trees_of_the_command(SCRIPTS[script]).values():
        used |= constants_outside_definitions(tree)
        used |= {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
        }
    own = [value for name, value in vars(module).items() if not name.startswith("__")]
    for value in own:
        for one in dataclasses_in(value):
            used |= {field.name for field in dataclasses.fields(one)}
    unused = {name for name in module.FLAGS if name not in used}
    assert not unused, "accepted and never read"


def trees_of_the_command(name: str) -> dict[str, ast.Module]:
    """The syntax trees of a module and of those about commands that it leads to."""
    trees, waiting = {}, [name]
    while waiting:
        name = waiting.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name in trees or not path.is_file():
            continue
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(trees[name]):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if ".cli" in node.module or FLAG_MODULES.intersection(names):
                waiting += [node.module, *names]
    return trees


def constants_outside_definitions(tree: ast.Module) -> set[str]:
    """The string constants, save those that name a flag in ``DEFINE_…``."""
    naming = {
        id(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("DEFINE_")
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in naming
    }
