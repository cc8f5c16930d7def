"""Runs an authors' program inside its own environment. Python 3.8 or newer; imports nothing of ours.

    python launch.py launch.json -m package.module ARGUMENTS...
    python launch.py launch.json script.py ARGUMENTS...

launch.json: {"seed": 0, "aliases": {old hub id: live one}, "stubs": [module, ...]}

The program itself is not changed. Before it starts: random numbers are seeded (one program ignores its seed,
another draws from a generator that it never seeds); hub ids that are dead are renamed where files are asked
for, also those that stand in the program's source; modules that it imports but never uses are replaced by
empty ones where they are not installed.
"""

import functools
import importlib
import importlib.util
import json
import os
import random
import runpy
import signal
import sys
import types


class Nothing(types.ModuleType):
    """A module that has every name; what is called in it does nothing."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


def put_stubs(names):
    """Empty modules in place of those that are not installed."""
    for name in names:
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            continue
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            full = ".".join(parts[:count])
            module = sys.modules.setdefault(full, Nothing(full))
            if count > 1:
                setattr(sys.modules[".".join(parts[: count - 1])], parts[count - 1], module)


def rename_models(aliases):
    """Ask the hub for the live copy of a model that is gone, and for no login where none is stored."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return
    for name in ("hf_hub_download", "snapshot_download", "model_info", "hf_hub_url"):
        try:
            function = getattr(hub, name)
        except AttributeError:
            continue
        setattr(hub, name, renamed(function, aliases, hub))


def renamed(function, aliases, hub):
    """The function with its first argument, or repo_id, looked up in the aliases."""

    @functools.wraps(function)
    def call(*arguments, **options):
        if arguments:
            arguments = (aliases.get(arguments[0], arguments[0]),) + arguments[1:]
        if "repo_id" in options:
            options["repo_id"] = aliases.get(options["repo_id"], options["repo_id"])
        for key in ("token", "use_auth_token"):
            # True means "the stored login"; the live copies are public, and most users have none.
            if options.get(key) is True and not stored_token(hub):
                options[key] = None
        return function(*arguments, **options)

    return call


def stored_token(hub):
    """The login that the hub's library finds, or None."""
    for find in (getattr(hub, "get_token", None), getattr(getattr(hub, "HfFolder", None), "get_token", None)):
        if find is not None:
            return find()
    return None


def seed_everything(seed):
    """Seed the generators of random, numpy and torch; programs that seed again do so after this."""
    random.seed(seed)
    for name, function in (("numpy", "random.seed"), ("torch", "manual_seed")):
        try:
            target = importlib.import_module(name)
        except ImportError:
            continue
        for part in function.split("."):
            target = getattr(target, part)
        target(seed % 2**32)


def die_with_parent():
    """On Linux: end when the process that started this one ends, so that no killed job leaves a GPU busy."""
    try:
        import ctypes

        ctypes.CDLL("libc.so.6").prctl(1, signal.SIGTERM)
    except (OSError, AttributeError):
        pass


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        own = json.load(file)
    die_with_parent()
    # Not the folder of this file, whose modules have the names of the programs.
    sys.path[0] = os.getcwd()
    put_stubs(own["stubs"])
    rename_models(own["aliases"])
    seed_everything(own["seed"])
    if sys.argv[2] == "-m":
        sys.argv = sys.argv[3:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = sys.argv[2:]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
