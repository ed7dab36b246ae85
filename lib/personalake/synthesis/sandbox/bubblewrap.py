"""The bubblewrap command line of a sandbox, in which there is nothing but this interpreter and its standard library."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from personalake.errors import NoSandboxError
from personalake.settings import SandboxSettings
from personalake.synthesis.sandbox.syscalls import MACHINES, filter_of

_HOME = "/python"  # Neutral, since paths turn up in what programs print.
_TIME_ZONES = "/usr/share/zoneinfo"  # What the standard library's `zoneinfo` reads.
_DEVICES = ("/dev/null", "/dev/urandom")
_LISTING_SECONDS = 60

# Extension modules are loaded to see which libraries they need, in a process of its own; then the loader is asked.
_LISTING = """
import ctypes, importlib, os, sys
for folder in sys.path:
    if folder.endswith("lib-dynload"):
        for name in {entry.partition(".")[0] for entry in os.listdir(folder)}:
            if not name.startswith(("_test", "xx", "_xx", "_tkinter", "_ctypes_test", "nis")):  # nis: Kerberos
                try:
                    importlib.import_module(name)
                except ImportError:
                    pass
try:
    ctypes.CDLL("libgcc_s.so.1")  # glibc loads it when a thread ends early
except OSError:
    pass
class Loaded(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]
names = []
visit = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Loaded), ctypes.c_size_t, ctypes.c_void_p)
keep = visit(lambda loaded, size, data: names.append(os.fsdecode(loaded.contents.name or b"")) or 0)
ctypes.CDLL(None).dl_iterate_phdr(keep, None)
print("\\n".join(names))
"""


@dataclass(frozen=True)
class Interpreter:
    """What a sandbox shows of this machine: pairs of a file or folder here, and its place there."""

    program: str
    shown: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]


@lru_cache(maxsize=1)
def interpreter() -> Interpreter:
    """Find the running interpreter's program, standard library and shared libraries; takes about 0.3 s, once.

    Packages aren't among it. Raises :class:`NoSandboxError` where the loader doesn't answer.
    """
    program = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    library = os.path.dirname(os.path.realpath(os.__file__))
    there = f"{_HOME}/bin/{os.path.basename(program)}"
    library_there = f"{_HOME}/{sys.platlibdir}/{os.path.basename(library)}"
    shown = [(program, there), (library, library_there)]
    for name in _loaded(program):
        if name.startswith("/") and not Path(name).is_relative_to(library):
            file = os.path.basename(name)
            # The loader is looked for where the program says, all others where LD_LIBRARY_PATH does.
            shown.append((os.path.realpath(name), name if file.startswith("ld-") else f"{_HOME}/lib/{file}"))
    packages = [folder for folder in ("site-packages", "dist-packages") if os.path.isdir(os.path.join(library, folder))]
    return Interpreter(there, tuple(shown), tuple(f"{library_there}/{folder}" for folder in packages))


def _loaded(program: str) -> list[str]:
    command = [program, "-I", "-S", "-B", "-c", _LISTING]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LISTING_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoSandboxError(f"the libraries that {program} needs can't be listed", where="bubblewrap") from error
    return done.stdout.splitlines()


def command(program: str, settings: SandboxSettings) -> list[str]:
    """Return the command that starts the interpreter in bubblewrap (*program*), up to and with the interpreter.

    ``--seccomp`` with a file descriptor that :func:`open_filter` opened is still to come, as its first option: see
    :func:`with_filter`. Options as in bwrap(1), of 0.4 or later; a ``/tmp`` that can be written to needs 0.7.
    """
    python = interpreter()
    options = [
        "--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL",
        "--uid", "65534", "--gid", "65534", "--hostname", "sandbox",
    ]  # fmt: skip
    for here, there in python.shown:
        options += ["--ro-bind", here, there]
    for folder in python.hidden:
        options += ["--tmpfs", folder, "--remount-ro", folder]
    options += ["--ro-bind-try", _TIME_ZONES, _TIME_ZONES]
    for device in _DEVICES:
        options += ["--dev-bind", device, device]
    if settings.files_mb:
        options += ["--size", str(settings.files_mb << 20), "--perms", "1777", "--tmpfs", "/tmp"]
    else:
        options += ["--dir", "/tmp"]
    options += ["--remount-ro", "/", "--chdir", "/tmp"]
    # The same order of sets in every run.
    for name, value in {"HOME": "/tmp", "LD_LIBRARY_PATH": f"{_HOME}/lib", "PYTHONHASHSEED": "0"}.items():
        options += ["--setenv", name, value]
    return [program, *options, "--", python.program]


def with_filter(command: list[str], descriptor: int) -> list[str]:
    """Return the *command* with the filter of system calls that is read from *descriptor*."""
    return [command[0], "--seccomp", str(descriptor), *command[1:]]


def open_filter(settings: SandboxSettings) -> int:
    """Return a file descriptor to read the filter from, once; raises :class:`NoSandboxError` on another machine."""
    machine = os.uname().machine
    if machine not in MACHINES:
        cure = "set `command` to a sandbox of your own"
        raise NoSandboxError(f"there is no filter of system calls for {machine}", where="bubblewrap", cure=cure)
    source, sink = os.pipe()
    with os.fdopen(sink, "wb") as file:
        file.write(filter_of(machine, may_start=settings.processes > 1))  # About 1 KB: it fits the pipe.
    return source
