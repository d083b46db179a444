"""The console scripts that ``setup.cfg`` declares."""

import configparser
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def console_scripts() -> dict[str, str]:
    """The commands by name, with the module each one runs."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    pairs = (line.split("=") for line in lines)
    return {name.strip(): target.strip().split(":")[0] for name, target in pairs}


SCRIPTS = console_scripts()
