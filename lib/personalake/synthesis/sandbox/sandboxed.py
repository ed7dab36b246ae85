"""What runs inside the sandbox, around a program: the interpreter there is given the text of this file.

It sets the limits, reads the program from standard input, runs it, and reports. What counts as proof of passed tests is
a word that stays in the pipe until the last assert has run, so that a program that ends early can't have said it.
Names of `os` are imported, not looked up later: a program that replaces `os.write` replaces it for itself only.
"""

from __future__ import annotations

import builtins
import resource
import sys
from _ast import Assert, Call, Expr, Load, Name, PyCF_ONLY_AST
from os import O_RDWR, _exit, devnull, dup, dup2, read, write
from os import open as open_file

TYPE_CHECKING = False  # `typing` and `collections` would cost more than the interpreter's start.
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

READY = b"\x06ready\n"
PROGRAM, TESTS = "program.py", "tests.py"
_WORD = 32
_SPARE = 8 << 20  # Left to say that the memory is full.
_OPEN_FILES = 256
_COUNT = "__counted__"
_WIDTH, _TRACEBACK = 300, 4096  # A program of one long line shall not fill its output by its error.


def main() -> None:
    """Do what the arguments say: what to do, five limits, and the lengths of the two texts on standard input."""
    what = sys.argv[1]
    *limits, code_size, tests_size = map(int, sys.argv[2:])
    gate, desk = dup(0), dup(1)
    dup2(open_file(devnull, O_RDWR), 0)
    write(desk, READY)
    code, tests = _read(gate, code_size), _read(gate, tests_size)
    _limit(*limits)

    def tell(*report: object) -> None:
        line = "\t".join(map(str, report)).encode("utf-8", "replace")[:1000]
        write(desk, _read(gate, _WORD) + line)

    sys.argv, sys.path = [PROGRAM], [folder for folder in sys.path if folder]
    # `site`, which brings them, is left out for the time that it takes.
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    module = type(sys)("__main__" if what == "run" else "program")
    sys.modules[module.__name__] = module
    (_run if what == "run" else _test)(code, tests, module.__dict__, tell)


def _limit(seconds: int, memory: int, room: int, processes: int) -> None:
    wanted = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_AS: (memory, memory + _SPARE),
        resource.RLIMIT_FSIZE: (room, room),
        resource.RLIMIT_NOFILE: (_OPEN_FILES, _OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
    }
    if processes > 1:
        wanted[resource.RLIMIT_NPROC] = (processes + 1, processes + 1)  # The first of the namespace counts too.
    for which, (soft, hard) in wanted.items():
        most = resource.getrlimit(which)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)  # noqa: PLW2901 (nobody may raise a hard limit)
        resource.setrlimit(which, (soft, hard))


def _run(code: bytes, _: bytes, names: dict[str, Any], tell: Callable[..., None]) -> None:
    try:
        exec(compile(code, PROGRAM, "exec", dont_inherit=True), names)
    except SystemExit:
        raise
    except BaseException as error:
        _fail(error, {PROGRAM: code}, names, tell)


def _test(code: bytes, tests: bytes, names: dict[str, Any], tell: Callable[..., None]) -> None:
    ran = 0

    def counted() -> None:
        nonlocal ran
        ran += 1

    whole = dict(vars(builtins))
    try:
        asserts = _counting(tests)
        exec(compile(code, PROGRAM, "exec", dont_inherit=True), names)
        vars(builtins).update(whole)
        sys.settrace(None)
        sys.setprofile(None)
        names[_COUNT] = counted
        exec(asserts, names)
    except BaseException as error:  # SystemExit too: it leaves asserts out.
        vars(builtins).update(whole)
        _fail(error, {PROGRAM: code, TESTS: tests}, names, tell)
    _flush()
    tell("tested", ran)
    _exit(0)


def _counting(tests: bytes) -> CodeType:
    """Compile *tests* so that each assert that holds is counted: a test that asserts nothing shows nothing."""
    tree: Any = compile(tests, TESTS, "exec", PyCF_ONLY_AST, dont_inherit=True)
    todo = [tree]
    while todo:
        node = todo.pop()
        for field in node._fields:
            part = getattr(node, field, None)
            if isinstance(part, list):
                part[:] = [one for statement in part for one in _counted(statement)]
                todo += [one for one in part if hasattr(one, "_fields")]
    return compile(tree, TESTS, "exec", dont_inherit=True)


def _counted(statement: Any) -> list[Any]:  # noqa: ANN401 (any node of a syntax tree, also none at all)
    if not isinstance(statement, Assert):
        return [statement]
    at: dict[str, Any] = {"lineno": statement.lineno, "col_offset": statement.col_offset}
    call = Call(Name(_COUNT, Load(), **at), [], [], **at)
    return [statement, Expr(call, **at)]


def _fail(error: BaseException, texts: dict[str, bytes], names: dict[str, Any], tell: Callable[..., None]) -> None:
    """Report the last line of the tests, or else of the program, that the *error* came through, and end."""
    kind, place, line = type(error).__name__, PROGRAM, 0
    frames = error.__traceback__
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if name == TESTS or (name == PROGRAM and place == PROGRAM):
            place, line = name, frames.tb_lineno
        frames = frames.tb_next
    if isinstance(error, SyntaxError) and error.filename in texts and not line:
        place, line = error.filename, error.lineno or 0
    if isinstance(error, MemoryError):
        # What fills it is reachable from the frames and the names; beyond the soft limit there is room for a few words.
        error.__traceback__ = None
        names.clear()
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    elif not isinstance(error, SystemExit):
        _show(error, texts)
    _flush()
    tell("full" if isinstance(error, MemoryError) else "failed", place, line, kind)
    _exit(1)


def _show(error: BaseException, texts: dict[str, bytes]) -> None:
    try:
        import linecache  # noqa: PLC0415 (a program that fails waits for these, others don't)
        import traceback  # noqa: PLC0415

        for name, text in texts.items():
            lines = text.decode("utf-8", "replace").splitlines(keepends=True)
            linecache.cache[name] = (len(text), None, lines, name)
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename not in texts:
            frames = frames.tb_next  # Those of this file.
        told = traceback.format_exception(type(error), error, frames)
        lines = [line[:_WIDTH] + "\n" for line in "".join(told).splitlines()]
        sys.stderr.write("".join(lines)[-_TRACEBACK:])
    except BaseException:  # The program may have broken anything; the report still goes out.
        pass


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 (`contextlib` isn't imported, for its time)
            stream.flush()
        except BaseException:  # Closed, replaced or broken by the program.
            pass


def _read(source: int, size: int) -> bytes:
    whole = b""
    while len(whole) < size:
        part = read(source, size - len(whole))
        if not part:
            _exit(1)
        whole += part
    return whole


if __name__ == "__main__":
    main()
