"""The command line: every stage alone and all of them, one JSON object where it is asked for, exit codes that tell.

Nothing heavy is imported before the settings hold: `--help` and a misspelt setting answer at once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personalake import __version__, hub_options
from personalake.errors import DeferredError, PersonalakeError, SettingsError

if TYPE_CHECKING:
    from personalake.settings import Settings

_INTERRUPTED = 130

_EPILOG = """exit codes: 0 done; 2 bad settings or input, nothing was paid; 3 deferred, run it again (endpoint, quota or
budget); 4 another run works on this store; 130 interrupted, run it again; 1 anything else"""

_COMMANDS = {
    "plan": "say what the next run would ask, cost and take; sends nothing",
    "pilot": "do all stages on a sample of pages, so that `plan` knows their figures (pays)",
    "run": "all stages: ingest, infer, dedup, expand, synthesize, export, report",
    "ingest": "read new corpus files into documents, and your own personas",
    "infer": "ask who stands behind each new page (pays)",
    "dedup": "keep the personas that repeat nobody",
    "expand": "ask who is in close relation to the hub's personas, hop by hop (pays)",
    "synthesize": "let the personas write the tasks' examples (pays)",
    "export": "write the examples as files to train on",
    "report": "write the HTML report",
    "status": "what the store holds and how its last runs ended",
    "hub": "show personas of the hub",
    "diversity": "how diverse personas or examples are, by group, or beside another store's",
    "rejects": "show what was refused, and why; or ask again (--replay; pays)",
    "reaccept": "read stored replies again under today's checks; pays nothing",
    "tasks": "list and check the task files",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "serve-offline":
        from personalake.llm.offline import serve  # noqa: PLC0415 (see the module's first lines)

        return serve(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(arguments) if getattr(arguments, "input", None) is None else _dedup_own_data(arguments)
    except DeferredError as error:
        return _fail(arguments, error, arguments.deferred_exit_code)
    except PersonalakeError as error:
        return _fail(arguments, error, error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted: what was answered is kept; run the same command again to go on")
        return _INTERRUPTED


def _terminate(number: int, frame: object) -> None:
    """A scheduler's SIGTERM ends a run as Ctrl-C does: replies that are under way are saved first."""
    raise KeyboardInterrupt


def _fail(arguments: argparse.Namespace, error: PersonalakeError, code: int) -> int:
    if arguments.json:
        known = {"error": str(error), "where": error.where, "cure": error.cure, "exit_code": code}
        _print(json.dumps(known, ensure_ascii=False))
    _say(f"personalake {arguments.command}: {error}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="personalake",
        description="Build a Persona Hub in a lakehouse: personas from a web corpus, and the data that they write.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"personalake {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in _COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what, epilog=_EPILOG)
        _add_common(command)
        if name in ("run", "export"):
            command.add_argument(
                "--accept-licence", action="store_true", help="export also where a licence is unknown or non-commercial"
            )
        if name == "pilot":
            command.add_argument("-n", type=int, default=200, metavar="N", help="pages of the sample (default 200)")
        if name == "hub":
            hub_options.add_arguments(command)
        if name == "diversity":
            _add_diversity(command)
        if name == "rejects":
            command.add_argument("--where", help="SQL condition on the table's columns")
            command.add_argument("--limit", type=int, default=20, help="rows shown (default 20)")
            command.add_argument("--replay", action="store_true", help="ask again for what was refused, and pay for it")
        if name in ("rejects", "reaccept"):
            steps = "infer, a step such as synthesize.math.problem, or synthesize for all of them"
            command.add_argument("--stage", metavar="S", required=name == "reaccept", help=steps)
        if name == "dedup":
            _add_dedup(command)
        if name == "tasks":
            command.add_argument(
                "task", metavar="TASK", nargs="?", help="a task file, or the name of one; with --preview"
            )
            command.add_argument("--preview", type=int, metavar="N", help="print what N personas would be asked")
            command.add_argument("--personas", metavar="FILE", help="JSONL, CSV or Parquet of personas; with --preview")
    trial = commands.add_parser("try", help="ask a task of a few personas, without Spark (pays)", epilog=_EPILOG)
    trial.add_argument("task", metavar="TASK", help="a task file, or the name of one in `tasks/` beside the settings")
    trial.add_argument("--personas", required=True, metavar="FILE", help="JSONL, CSV or Parquet of personas")
    trial.add_argument("-n", type=int, default=5, metavar="N", help="personas asked, the first of the file (default 5)")
    _add_common(trial)
    serve = commands.add_parser("serve-offline", help="start the embedded endpoint alone (rules, not a model)")
    from personalake.llm.offline import add_arguments  # noqa: PLC0415 (loads no web server)

    add_arguments(serve)
    return parser


def _add_dedup(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rebuild", action="store_true", help="compare all personas anew, under other settings than before"
    )
    own = command.add_argument_group("your own table instead of the store's personas")
    own.add_argument("--input", metavar="PATH", help="Parquet, JSONL or Delta, a file or a folder")
    own.add_argument("--column", metavar="NAME", help="column of the texts")
    own.add_argument("--id", metavar="NAME", help="column of unique ids; without it, rows are numbered in their order")
    own.add_argument("--out", metavar="DIR", help="folder of the Delta tables `kept` and `duplicates`")


def _add_diversity(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--of", choices=("hub", "personas", "examples"), default="hub", help="what is measured (default %(default)s)"
    )
    command.add_argument(
        "--by",
        metavar="WHAT",
        help="hop, source, language, domain, relation or model of personas (default hop and source); "
        "task, model, source, language or variation of examples (default task and model)",
    )
    command.add_argument(
        "--against", metavar="STORE", help="another store's folder (or catalog.schema): both side by side"
    )


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", default="conf/local.yaml", metavar="FILE", help="settings file (default %(default)s)"
    )
    command.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="A.B=VALUE",
        help="settings on top of it",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout; all else goes to stderr")
    command.add_argument("--verbose", action="store_true", help="show what Spark says")
    command.add_argument(
        "--deferred-exit-code",
        type=int,
        default=3,
        metavar="N",
        help="exit code where the rest has to wait (default 3)",
    )


def _run(arguments: argparse.Namespace) -> int:
    from personalake.settings_file import load  # noqa: PLC0415 (see the module's first lines)

    if any(getattr(arguments, name, None) is not None for name in ("column", "id", "out")):
        raise SettingsError("--column, --id and --out go with --input", cure="name your table: --input mine.parquet")
    overrides = list(arguments.overrides)
    if getattr(arguments, "accept_licence", False):
        overrides.append("export.accept_licence=true")
    settings, folder = load(arguments.config, overrides)
    from personalake.inputs import STAGES, read_inputs  # noqa: PLC0415 (as above)

    command: str = arguments.command
    alone = {"try": _try, "plan": _plan_or_pilot, "pilot": _plan_or_pilot, "hub": _hub, "tasks": _tasks}
    if command in alone:
        return alone[command](arguments, settings, folder)
    if command == "reaccept" or getattr(arguments, "replay", False) or getattr(arguments, "rebuild", False):
        return _correct(arguments, settings, folder)
    stages = STAGES if command == "run" else (command,) if command in STAGES else ()
    inputs = read_inputs(settings, folder, stages)
    from personalake import show  # noqa: PLC0415 (this is where Spark's import begins)
    from personalake.pipeline import execute  # noqa: PLC0415 (as above)

    if stages:
        from personalake.terminal import Terminal  # noqa: PLC0415 (as above)

        with Terminal() as terminal:
            done = execute(inputs, stages, verbose=arguments.verbose, say=terminal.say, progress=terminal.progress)
        return _finish(arguments, done)
    showing: dict[str, Callable[..., Any]] = {
        "status": show.status, "rejects": show.rejects, "diversity": show.diversity,
    }  # fmt: skip
    named = ("where", "limit", "stage", "of", "by", "against")
    options = {name: getattr(arguments, name) for name in named if hasattr(arguments, name)}
    return _finish(arguments, showing[command](inputs, verbose=arguments.verbose, **options))


def _hub(arguments: argparse.Namespace, settings: Settings, folder: Path) -> int:
    from personalake.inputs import read_inputs  # noqa: PLC0415 (as above)

    look, inputs = hub_options.Look.of(arguments, settings), read_inputs(settings, folder, stages=())
    from personalake import hub_view  # noqa: PLC0415 (this is where Spark's import begins)

    return _finish(arguments, hub_view.hub(inputs, look, verbose=arguments.verbose))


def _dedup_own_data(arguments: argparse.Namespace) -> int:
    from personalake.settings_file import load  # noqa: PLC0415 (as above)

    if arguments.rebuild:
        raise SettingsError("--rebuild is for a store's hub, not for --input", cure="give one of the two")
    if arguments.column is None or arguments.out is None:
        raise SettingsError("--input needs --column and --out", cure="--column text --out deduplicated")
    settings, _ = load(arguments.config, [*arguments.overrides, f"store.path={json.dumps(arguments.out)}"])
    from personalake.own_data import dedup_files  # noqa: PLC0415 (as above)

    done = dedup_files(
        settings, arguments.input, arguments.column, arguments.id, arguments.out, say=_say, verbose=arguments.verbose
    )
    return _finish(arguments, done)


def _tasks(arguments: argparse.Namespace, settings: Settings, folder: Path) -> int:
    from personalake import trial, trial_view  # noqa: PLC0415 (as above; no Spark among it)
    from personalake.inputs import read_inputs, task_file  # noqa: PLC0415 (as above)
    from personalake.synthesis.tasks import load_task  # noqa: PLC0415 (as above)

    given = {"TASK": arguments.task, "--preview": arguments.preview, "--personas": arguments.personas}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        from personalake import show  # noqa: PLC0415 (as above)

        return _finish(arguments, show.tasks(settings, folder))
    if missing:
        cure = "personalake tasks math --preview 3 --personas tests/data/personas.jsonl"
        raise SettingsError(f"{missing[0]} is missing: a preview is of a task and some personas", cure=cure)
    if arguments.preview < 1:
        raise SettingsError(f"--preview {arguments.preview} shows nothing", cure="give 1 or more")
    task = load_task(task_file(arguments.task, folder, where="TASK"))
    writers = trial.read_writers(arguments.personas, arguments.preview, settings.personas)
    inputs = read_inputs(settings, folder, stages=())
    return _finish(arguments, trial_view.previewed(trial.preview(inputs, task, writers)))


def _try(arguments: argparse.Namespace, settings: Settings, folder: Path) -> int:
    from personalake import trial, trial_view  # noqa: PLC0415 (as above; no Spark among it)
    from personalake.inputs import read_inputs, task_file  # noqa: PLC0415 (as above)
    from personalake.synthesis.tasks import load_task  # noqa: PLC0415 (as above)

    if arguments.n < 1:
        raise SettingsError(f"-n {arguments.n} asks nobody", cure="give 1 or more")
    task = load_task(task_file(arguments.task, folder, where="TASK"))
    tried = trial.try_task(
        read_inputs(settings, folder, stages=()),
        task,
        trial.read_writers(arguments.personas, arguments.n, settings.personas),
    )
    code = _finish(arguments, trial_view.shown(tried))
    if tried.deferred:
        cure = "try again; nothing that was answered is asked again"
        raise DeferredError(f"some requests have to wait: {tried.deferred}", where=settings.llm.address, cure=cure)
    return code


def _correct(arguments: argparse.Namespace, settings: Settings, folder: Path) -> int:
    from personalake import reaccept, rebuild, replay, show  # noqa: PLC0415 (as above)
    from personalake.inputs import read_inputs  # noqa: PLC0415 (as above)
    from personalake.terminal import Terminal  # noqa: PLC0415 (as above)

    show.refuse_no_store(settings)
    inputs = read_inputs(settings, folder, stages=())
    with Terminal() as terminal:
        told: dict[str, Any] = {"verbose": arguments.verbose, "say": terminal.say, "progress": terminal.progress}
        if arguments.command == "dedup":
            done = rebuild.rebuild(inputs, **told)
        elif arguments.command == "reaccept":
            done = reaccept.reaccept(inputs, arguments.stage, **told)
        else:
            done = replay.replay(inputs, arguments.where, arguments.stage, **told)
    return _finish(arguments, done)


def _plan_or_pilot(arguments: argparse.Namespace, settings: Settings, folder: Path) -> int:
    from personalake.inputs import read_inputs  # noqa: PLC0415 (as above)

    inputs = read_inputs(settings, folder)
    if arguments.command == "plan":
        from personalake.plan import plan  # noqa: PLC0415 (as above)

        return _finish(arguments, plan(inputs, verbose=arguments.verbose))
    from personalake.pilot import pilot  # noqa: PLC0415 (as above)
    from personalake.terminal import Terminal  # noqa: PLC0415 (as above)

    with Terminal() as terminal:
        told = pilot(inputs, arguments.n, verbose=arguments.verbose, say=terminal.say, progress=terminal.progress)
    code = _finish(arguments, told)
    if told.data["deferred"]:
        cure = "`pilot` again goes on; nothing that was answered is asked again"
        raise DeferredError(told.data["deferred"], where=settings.llm.address, cure=cure)
    return code


def _finish(arguments: argparse.Namespace, shown: Any) -> int:  # noqa: ANN401 (a Shown; its module loads late)
    _print(json.dumps(shown.data, ensure_ascii=False, default=str) if arguments.json else shown.text)
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
