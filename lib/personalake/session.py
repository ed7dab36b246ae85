"""The Spark session: found or started, quiet, with Delta; and the sessions that a paid run refuses."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from personalake import jars
from personalake.errors import InputError, SettingsError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
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

_OURS: set[int] = set()
"""Sessions that this process started, by identity."""


def jars_folder() -> Path:
    """The project's own folder of Delta's jars (`make` fills it); `PERSONALAKE_JARS` names another."""
    return Path(os.environ.get("PERSONALAKE_JARS") or Path(__file__).parents[2] / ".jars")


def open_session(conf: Mapping[str, str], *, verbose: bool = False, log: Path | None = None) -> SparkSession:
    """Return the active session, or start one with Delta.

    A session that already exists (Databricks, a notebook, Connect) is used as it is. Under `spark-submit` the
    submitter's settings win. In a plain Python process a local one is started: Delta's jars come from the project's
    folder or, where it has none, through Ivy, and all that the JVM says goes to *log* unless *verbose*.
    Raises :class:`InputError` where no session can be started, :class:`SettingsError` where its settings can't hold.
    """
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 (a second of import that bad settings must not cost)
    except ImportError as error:
        raise InputError("pyspark isn't installed", cure="pip install 'personalake[spark]'") from error
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if java := jars.java_home():
        os.environ["JAVA_HOME"] = java
    with _jvm_output(None if verbose else log):
        try:
            session = _builder(SparkSession.builder, conf).getOrCreate()
        except Exception as error:
            # Py4J, the gateway and Connect raise unrelated types here; all of them mean "no session".
            hint = f"see {log}" if log and not verbose else "Java 17 or 21 is needed: `java -version`"
            raise InputError(f"Spark did not start: {_first_line(error)}", cure=hint) from error
    _OURS.add(id(session))
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        _own_interrupt()
    return session


def _builder(builder: SparkSession.Builder, conf: Mapping[str, str]) -> SparkSession.Builder:
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    remote = "SPARK_REMOTE" in os.environ or "spark.remote" in conf
    options: dict[str, str] = {}
    if not remote:
        options.update(_DELTA)
    if not submitted and not remote:
        options.update(_LOCAL, **{"spark.master": "local[*]"}, **_delta_jars())
        # Not `spark-warehouse` in whatever folder the user stands in.
        options["spark.sql.warehouse.dir"] = str(Path(tempfile.gettempdir()) / "personalake-warehouse")
    if (
        not submitted
        and "SPARK_LOCAL_IP" not in os.environ
        and str(conf.get("spark.master", "local")).startswith("local")
    ):
        # Not the host's name: a laptop that changes networks, or a name that resolves nowhere, fails Spark's start.
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    options.update(conf)
    for key, value in options.items():
        builder = builder.config(key, value)
    return builder.appName("personalake")


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


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def borrowed(spark: SparkSession) -> bool:
    """Whether the session was there before us, so that stopping it is not ours."""
    return id(spark) not in _OURS


def parallelism(spark: SparkSession) -> int:
    """How many tasks the session runs at once, as far as it tells: Connect doesn't, and then it is 2."""
    context = getattr(spark, "_sc", None)
    return 2 if context is None else int(context.defaultParallelism)


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
