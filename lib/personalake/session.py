"""The Spark session: found or started, quiet, with Delta; and the sessions that a paid run refuses."""

from __future__ import annotations

import atexit
import functools
import hashlib
import io
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from personalake import jars
from personalake.errors import InputError, PersonalakeError, SettingsError, first_line

if TYPE_CHECKING:
    from importlib.abc import Traversable

    from pyspark.sql import SparkSession

T = TypeVar("T")

_CONNECT_PORT, _CONNECT_S = 15002, 10.0
_ENDING_S = 2.0

_CATALOG = "spark.sql.catalog.spark_catalog"
_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    _CATALOG: "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

_LOCAL = {
    # One line per reason: each was measured on the bundled corpus (two cores).
    "spark.ui.enabled": "false",  # nobody looks at it in a run of a minute, and it binds a port
    "spark.ui.showConsoleProgress": "false",  # writes over our own lines
    "spark.databricks.delta.snapshotPartitions": "1",  # the default, 50, is 50 tasks for each read of a small table
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.files.openCostInBytes": "1048576",
    "spark.driver.memory": "2g",
    "spark.sql.session.timeZone": "UTC",
}

HURRIED = {
    # For a corpus of a few megabytes nearly all time goes into compiling: Java's second compiler, and Spark's own,
    # which writes a class for each query. Measured on the bundled corpus, two cores, nothing else running, as ratios to
    # all four: 1.3 with adaptive execution, 1.6 with generated code too, over 2.2 with Java's second compiler as well.
    # A large corpus needs what is left out here. The first compiler alone gets 48 MB for its code, which some 30,000
    # methods of Spark fill; it then stops for good, so it gets what it has beside the second.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
"""Settings of a local session for a small corpus."""


def jars_folder() -> Path:
    """The project's own folder of Delta's jars (`make` fills it); `PERSONALAKE_JARS` names another."""
    return Path(os.environ.get("PERSONALAKE_JARS") or Path(__file__).parents[2] / ".jars")


@contextmanager
def session_for(
    conf: Mapping[str, str], *, verbose: bool = False, log: Path | None = None, hurried: bool = False
) -> Iterator[SparkSession]:
    """The session of :func:`open_session` while the context lasts; one that was active before stays open behind it."""
    before = _active()
    spark = open_session(conf, verbose=verbose, log=log, hurried=hurried)
    try:
        yield spark
    finally:
        if before is None:
            # Where Java is gone, its end has been told, and there is nothing to stop.
            with suppress(OSError, *spark_errors()):
                spark.stop()


def _active() -> SparkSession | None:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 (a second of import that bad settings must not cost)
    except ImportError as error:
        raise InputError("pyspark isn't installed", cure="pip install 'personalake[spark]'") from error
    return SparkSession.getActiveSession()


def open_session(
    conf: Mapping[str, str], *, verbose: bool = False, log: Path | None = None, hurried: bool = False
) -> SparkSession:
    """Return the active session, or start one with Delta.

    - A session that already exists (Databricks, a notebook) is used as it is.
    - Under `spark-submit` the submitter's settings win, but for those in *conf*; Delta's are added where missing.
    - `spark.remote` in *conf*, or `SPARK_REMOTE`, connects to a Spark Connect server.
    - In a plain Python process a local one is started, tuned for a small corpus where *hurried*: Delta's jars come from
      the project's folder or, where it has none, through Ivy, and what the JVM says goes to *log* unless *verbose*.

    Workers on other machines get this very package. Raises :class:`InputError` where no session can be started,
    :class:`SettingsError` where its settings can't hold.
    """
    active = _active()
    if not verbose:
        # pyspark repeats each failed query there, as pages of JSON; what failed is told by our own line.
        for name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger", "py4j.clientserver"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger().addFilter(_is_not_py4j)
    if active is not None:
        send_package(active)
        return active
    if address := _remote(conf):
        _look_for_server(address)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if java := jars.java_home():
        os.environ["JAVA_HOME"] = java
    from pyspark.sql import SparkSession  # noqa: PLC0415 (as in _active)

    with _jvm_output(None if verbose else log):
        try:
            session = _builder(SparkSession.builder, conf, hurried).getOrCreate()
        except Exception as error:
            # Py4J, the gateway and Connect raise unrelated types here; all of them mean "no session".
            raise InputError(f"Spark did not start: {first_line(error)}", cure=_hint(conf, verbose, log)) from error
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        _own_interrupt()
    send_package(session)
    return session


def _hint(conf: Mapping[str, str], verbose: bool, log: Path | None) -> str:
    if _remote(conf):
        return "is the server of `spark.remote` there, and pyspark's extra `connect` here?"
    return f"see {log}" if log and not verbose else "Java 17 or 21 is needed: `java -version`"


def _submitted() -> bool:
    """Whether `spark-submit` started this process, and with it the JVM."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _remote(conf: Mapping[str, str]) -> str:
    """The address of the Spark Connect server that is meant, or nothing."""
    return str(conf.get("spark.remote") or os.environ.get("SPARK_REMOTE") or "")


def _look_for_server(address: str) -> None:
    """Raise :class:`InputError` where nobody listens: pyspark would try for ten minutes before it says so."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "sc" or any(name in os.environ for name in ("grpc_proxy", "https_proxy", "http_proxy")):
        return  # An address of another kind, or one that this machine can't reach itself.
    cure = "start it, or correct `spark.remote`"
    try:
        socket.create_connection((parts.hostname or "", parts.port or _CONNECT_PORT), _CONNECT_S).close()
    except OSError as error:
        where = f"sc://{parts.hostname}:{parts.port or _CONNECT_PORT}"
        what = f"no Spark Connect server answers: {error.strerror or error}"
        raise InputError(what, where=where, cure=cure) from error
    except ValueError as error:
        raise InputError(f"its port is no number: {error}", where="spark.remote", cure=cure) from error


@contextmanager
def explained(log: Path | None, cure: str) -> Iterator[None]:
    """Say in one line what Spark raises, where the whole of it stands, and the *cure*."""
    raised: tuple[type[Exception], ...] = (*spark_errors(), ConnectionError)
    try:
        yield
    except raised as error:
        log_name = log or "the log of the driver"
        if _java_has_ended(error):
            what = "Spark's Java process has ended; perhaps it needs more `spark.driver.memory`"
            raise PersonalakeError(what, where=f"in full in {log_name}", cure=cure) from error
        if isinstance(error, ConnectionError):
            raise  # somebody else's
        where = f"{type(error).__name__}, in full in {log_name}"
        raise PersonalakeError(f"Spark failed: {last_words(error)}", where=where, cure=cure) from error


def _java_has_ended(error: Exception) -> bool:
    """Whether *error*, which doesn't tell, was raised since the Java process that we started is gone."""
    from py4j.protocol import Py4JError, Py4JJavaError  # noqa: PLC0415 (Spark only where it is used)
    from pyspark import SparkContext  # noqa: PLC0415 (as above)

    process = getattr(SparkContext._gateway, "proc", None)
    if process is None or isinstance(error, Py4JJavaError) or not isinstance(error, (Py4JError, ConnectionError)):
        return False
    try:
        process.wait(_ENDING_S)  # Its connections end before it does.
    except subprocess.TimeoutExpired:
        return False
    return True


def spark_errors() -> tuple[type[Exception], ...]:
    """What Spark raises: its own errors, and Java's where it has none of its own, as for a file that is no Parquet."""
    from py4j.protocol import Py4JError  # noqa: PLC0415 (Spark only where it is used)
    from pyspark.errors import PySparkException  # noqa: PLC0415 (as above)

    return PySparkException, Py4JError


def last_words(error: Exception) -> str:
    """The line of a Spark error that names the cause: the end of a worker's traceback, or the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines or [type(error).__name__])[-1 if named else 0][:300]


def tasks_run_here(conf: Mapping[str, str], spark: SparkSession | None) -> bool:
    """Whether the tasks of *spark*, or of the session that :func:`open_session` would return, run on this machine."""
    session = spark or _active()
    if session is None:
        return _starts_local(conf)
    return not _is_remote(session) and (session.sparkContext.master or "").startswith("local")


def _starts_local(conf: Mapping[str, str]) -> bool:
    return not _submitted() and not _remote(conf) and str(conf.get("spark.master", "local")).startswith("local")


def own_log(conf: Mapping[str, str], folder: Path) -> Path | None:
    """The file that gets what the JVM says, for a JVM that :func:`open_session` would start; null for others'."""
    return None if _submitted() or _remote(conf) or _active() else folder / "spark.log"


def _builder(builder: SparkSession.Builder, conf: Mapping[str, str], hurried: bool) -> SparkSession.Builder:
    options: dict[str, str] = {}
    if _submitted():
        options.update(_missing_delta())
    elif not _remote(conf):
        options.update(_DELTA, **_LOCAL, **{"spark.master": "local[*]"}, **_delta_jars())
        # Not `spark-warehouse` in whatever folder the user stands in.
        options["spark.sql.warehouse.dir"] = str(Path(tempfile.gettempdir()) / "personalake-warehouse")
    if _starts_local(conf):
        options.update(HURRIED if hurried else {})
        if "SPARK_LOCAL_IP" not in os.environ:
            # Not the host's name: a laptop that changes networks, or a name that resolves nowhere, fails Spark's start.
            os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    options.update(conf)
    for key, value in options.items():
        builder = builder.config(key, value)
    # A server's session takes no new name, and says so in a warning.
    return builder if _remote(conf) else builder.appName("personalake")


def _missing_delta() -> dict[str, str]:
    """Delta's settings that the submitter left out; other extensions stay."""
    from pyspark import SparkConf  # noqa: PLC0415 (the JVM's own settings: there is one under spark-submit)

    given = SparkConf()
    extensions = [name for name in (given.get("spark.sql.extensions") or "").split(",") if name]
    if _DELTA["spark.sql.extensions"] not in extensions:
        extensions.append(_DELTA["spark.sql.extensions"])
    return {
        "spark.sql.extensions": ",".join(extensions),
        _CATALOG: str(given.get(_CATALOG) or _DELTA[_CATALOG]),
    }


def send_package(spark: SparkSession) -> None:
    """Send this package to the workers, where they may not have it, or have another version of it.

    As a zip, because pyspark's workers import from no other archive: a wheel given to `--py-files` reaches the driver's
    path alone. Named by its content, so that a second run in the same session sends nothing.
    """
    if _is_remote(spark) or not (spark.sparkContext.master or "").startswith("local") or _archived():
        spark.addArtifacts(str(_zipped()), pyfile=True)


def _is_remote(spark: SparkSession) -> bool:
    return type(spark).__module__.startswith("pyspark.sql.connect")


def _archived() -> bool:
    """Whether this package was imported from a wheel or zip."""
    return not Path(__file__).exists()


@functools.cache
def _zipped() -> Path:
    """This package as a zip, kept as long as the process: executors that join later fetch it then."""
    package = resources.files(__package__)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in _sources(package, __package__):
            # A constant time, so that the same files make the same bytes.
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes())
    folder = Path(tempfile.mkdtemp(prefix="personalake-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / f"personalake-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}.zip"
    target.write_bytes(content.getvalue())
    return target


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for child in sorted(folder.iterdir(), key=lambda child: child.name):
        if child.is_dir():
            if child.name != "__pycache__":
                yield from _sources(child, f"{name}/{child.name}")
        else:
            yield f"{name}/{child.name}", child


def _delta_jars() -> dict[str, str]:
    found = jars.found(jars_folder())
    if found:
        return {"spark.jars": ",".join(str(jar) for jar in found)}
    return {"spark.jars.packages": ",".join(jars.packages())}


@contextmanager
def _jvm_output(log: Path | None) -> Iterator[None]:
    """Send what the JVM will ever write to stderr into *log*: it inherits the descriptor that it was started with."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    saved = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _own_interrupt() -> None:
    """Let Ctrl-C raise here and nothing else: pyspark's handler would cancel the jobs whose replies are being saved."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_not_py4j(record: logging.LogRecord) -> bool:
    """Whether a record is none of Py4J's tracebacks, logged as the root: our own line says what they are about."""
    return not (record.exc_info and "py4j" in Path(record.pathname).parts)


def parallelism(spark: SparkSession) -> int:
    """How many tasks the session runs at once."""
    if not _is_remote(spark):
        return int(spark.sparkContext.defaultParallelism)
    from pyspark.sql import functions as F  # noqa: PLC0415 (as above; Spark's usual name)

    # A server doesn't tell, but a range is cut into as many parts.
    return int(spark.range(1 << 16).select(F.spark_partition_id()).distinct().count())


def at_once(*actions: Callable[[], T]) -> list[T]:
    """Run Spark actions that don't need each other, and return what they return, in their order.

    One thread plans a query and waits for Delta's log, and that is most of a small query's time. All actions end before
    an error of one is raised, so nothing is left half committed.
    """
    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result() for future in [pool.submit(action) for action in actions]]


def refuse_speculation(spark: SparkSession) -> None:
    """Refuse a session that may run a paying task twice at the same time; raises :class:`SettingsError`."""
    if str(spark.conf.get("spark.speculation", "false")).lower() == "true":
        raise SettingsError(
            "speculation would pay for the same requests twice",
            where="spark.speculation=true",
            cure="start the session with spark.speculation=false",
        )
