"""What every command shares: flags, refusals in one line, provenance, progress."""

import datetime
import errno
import functools
import os
import pathlib
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import tqdm
from absl import flags

from hyperface_jax import interruptions, streams
from hyperface_jax._version import __version__
from hyperface_jax.errors import InputError, lacks_memory

_RECORDED_PACKAGES = (
    "diffusers",
    "jax",
    "numpy",
    "optax",
    "pillow",
    "torch",
    "transformers",
)
# What a shell says of a program whose reader has gone.
_READER_GONE = 128 + 13
_INTERRUPTED = (
    "interrupted; what is finished is kept; the same command continues, or starts "
    "again where nothing was"
)
# Of this process, see be_quiet.
_quiet = False


def run_command(main: Callable[[], None], flag_values: flags.FlagValues) -> None:
    """Parses the command line into ``flag_values``, calls ``main``, exits.

    Exit codes: 0 done; 1 the machine failed (disk full, no permission, out of
    memory); 2 the input or a flag was refused; 130 interrupted; 141 nobody reads the
    output any more. Whatever the reason, it is one line on standard error, without a
    traceback; a traceback therefore always means a defect of ours.

    ``~`` at the beginning of a flag's value is the home folder, whether or not the
    shell has replaced it already.

    Args:
      main: does the work; its module docstring is what ``--help`` prints first.
      flag_values: the command's own flags, so that commands can share a process.
    """
    program = pathlib.Path(sys.argv[0]).name
    streams.show_everything()
    if {"-h", "-help", "--help", "--helpfull"} & set(sys.argv[1:]):
        try:
            _print_help(main, flag_values)
        except BrokenPipeError:
            streams.leave_stdout()
        except OSError as error:
            streams.leave_stdout()
            _refuse(program, _describe(error), 1)
        sys.exit(0)
    # One line, without the place in our sources that a user can do nothing with.
    warnings.showwarning = lambda message, *_: print(
        f"{program}: warning: {_one_line(message)}", file=sys.stderr
    )
    with interruptions.answered(f"{program}: {_INTERRUPTED}"):
        _parse_and_call(program, main, flag_values)
    sys.exit(0)


def let_idle_threads_sleep() -> None:
    """Has OpenMP threads sleep while they wait for work, unless the user says else.

    By default they spin, and beside another busy process two of them run a program
    several times slower. OpenMP reads the setting once, when torch loads it, so this
    has to come first; child processes inherit it.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def require_flags(flag_values: flags.FlagValues, *names: str) -> None:
    """Checks that the flags a command can't do without were given.

    Raises:
      InputError: one is missing or empty; says what it is for.
    """
    for name in names:
        if not flag_values[name].value:
            text = _one_line(flag_values[name].help).rstrip(".")
            raise InputError(f"--{name} is missing: {text}; see --help")


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    description: str,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
) -> tqdm.tqdm:
    """A progress bar with rate and time left; off a terminal two lines a minute.

    Args:
      iterable: what to count, or None to count by hand with ``update``.
      description: what is being done, in a word or two.
      total: how many steps in all, when the iterable can't tell.
      unit: what one step is: ``"image"``, ``"step"``.
      initial: steps already done by an earlier run.
    """
    interactive = sys.stderr.isatty()
    return tqdm.tqdm(
        iterable,
        desc=description,
        total=total,
        unit=f" {unit}",
        initial=initial,
        dynamic_ncols=interactive,
        mininterval=0.2 if interactive else 30.0,
        smoothing=0.1,
        disable=_quiet,
    )


def be_quiet() -> None:
    """Has this process show no progress and announce nothing; it may still refuse.

    For those of several processes that do the same work beside one that says it.
    """
    global _quiet
    _quiet = True


def announce(line: str) -> None:
    """Says something on standard error, where progress is shown as well."""
    if _quiet:
        return
    tqdm.tqdm.write(streams.printable(line), file=sys.stderr)


def provenance(settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """What made a file: version, commit, time, packages, hardware and settings.

    Args:
      settings: the settings of the run, JSON-ready; kept under ``"settings"``.

    Returns:
      A JSON-ready dictionary.
    """
    return {
        "hyperface_jax": __version__,
        "commit": _commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
        "packages": _package_versions(),
        "python": platform.python_version(),
        "hardware": _hardware(),
        "settings": settings or {},
    }


def settings_of(flag_values: flags.FlagValues) -> dict[str, Any]:
    """The flags of a command by name, JSON-ready, for :func:`provenance`."""
    return dict(sorted(flag_values.flag_values_dict().items()))


def _parse_and_call(
    program: str, main: Callable[[], None], flag_values: flags.FlagValues
) -> None:
    try:
        rest = flag_values(sys.argv)[1:]
        if rest:
            raise InputError(
                f"unexpected argument {rest[0]!r}: every setting is a flag, "
                "--name=value; see --help"
            )
        _expand_home(flag_values)
        output = flag_values["output"].value if "output" in flag_values else None
        if streams.is_closed(output):
            raise InputError(f"--output={output}: it is closed; name a file")
        with streams.words_beside(output):
            main()
    except flags.Error as error:
        # Absl shows some errors as the tuples of another.
        text = re.sub(r"\('([^']*)', '[^']*'\)", r"\1", _one_line(error))
        _refuse(program, f"{text}; see --help", 2)
    except InputError as error:
        _refuse(program, _one_line(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        line = next(iter(str(error).splitlines()), "")
        _refuse(program, f"out of memory: {_one_line(line) or 'use less at once'}", 1)
    except BrokenPipeError:
        streams.leave_stdout()
        sys.exit(_READER_GONE)
    except OSError as error:
        _refuse(program, _describe(error), 1)


def _print_help(main: Callable[[], None], flag_values: flags.FlagValues) -> None:
    document = sys.modules[main.__module__].__doc__ or ""
    lines = [document.strip(), "", "Flags:"]
    for name in sorted(flag_values):
        flag = flag_values[name]
        if name != flag.name or flag.help is None:
            continue
        if flag.default is None:
            default = "no default"
        else:
            default = f"default {flag.default_as_str}"
        lines += [f"  --{name}  ({default})", f"      {_one_line(flag.help)}"]
    print("\n".join(lines), flush=True)


def _refuse(program: str, text: str, code: int) -> None:
    print(f"{program}: {text}", file=sys.stderr)
    sys.exit(code)


def _one_line(value: object) -> str:
    return streams.printable(" ".join(str(value).split()))


def _describe(error: OSError) -> str:
    """What a system call failed at, and where."""
    if error.strerror is None:
        return _one_line(error)
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    reason = error.strerror
    if error.errno == errno.ENOSPC:
        reason = "the disk is full; free some space and run the same command again"
    return _one_line(f"{place}{reason}")


def _expand_home(flag_values: flags.FlagValues) -> None:
    # Shells leave it in --name=~/file, and nothing but a path begins with it.
    for name in flag_values:
        flag = flag_values[name]
        if isinstance(flag.value, str):
            flag.value = _expanded(name, flag.value)
        elif isinstance(flag.value, list):
            flag.value = [
                _expanded(name, each) if isinstance(each, str) else each
                for each in flag.value
            ]


def _expanded(name: str, value: str) -> str:
    path = os.path.expanduser(value)
    if path.startswith("~"):
        raise InputError(
            f"--{name}={value}: there is no such home folder; write the path out, or "
            f"./{value} for a file of that name"
        )
    return path


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout this package runs from, with a + when it is dirty."""
    root = pathlib.Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    # Without the locks, a user's own git in the same moment is not refused.
    git = ["git", "--no-optional-locks", "-C", os.fspath(root)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty else "")


@functools.cache
def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _hardware() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }
