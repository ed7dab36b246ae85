"""What a local session needs beside Python packages, as set-up left it: Delta's jars and a fitting Java."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from personalake.errors import InputError, PersonalakeError

_RECORD = "resolved"  # the packages on the first line, then the jars' names; written last, so it vouches for them all
_LOG = "fetch.log"
_STALE_SECONDS = 3600


def packages() -> list[str]:
    """Return the coordinates of Delta's jars for the installed pyspark and delta-spark.

    Delta's own helper is asked, since the artifact's name has changed with its versions (`delta-spark_2.13`,
    `delta-spark_4.2_2.13`). Raises :class:`InputError` where either package is missing.
    """
    try:
        from delta import configure_spark_with_delta_pip  # noqa: PLC0415 (the extra `spark` may not be installed)
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise InputError("pyspark or delta-spark isn't installed", cure="pip install 'personalake[spark]'") from error
    builder = configure_spark_with_delta_pip(SparkSession.Builder())
    return str(builder._options["spark.jars.packages"]).split(",")


def found(folder: Path) -> list[Path]:
    """Return the jars that :func:`fetch` left in *folder* for the installed versions; none unless all are there."""
    try:
        wanted, *names = (folder / _RECORD).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    jars = [folder.resolve() / name for name in names]
    return jars if wanted == ",".join(packages()) and all(jar.is_file() for jar in jars) else []


def fetch(folder: Path) -> list[Path]:
    """Resolve Delta's jars through Spark's own Ivy into *folder*, unless they are there, and return them.

    Works in a scratch folder inside *folder* and moves the jars out when all have come, so that an interrupted fetch
    leaves nothing half done. Raises :class:`PersonalakeError` with the reason that Ivy gave; its full log stays in
    *folder*.
    """
    folder = folder.resolve()  # Ivy wants an absolute path
    present = found(folder)
    if present:
        return present
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    wanted = packages()
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        jars = _resolve(wanted, Path(scratch), folder / _LOG)
        return _publish(wanted, jars, folder)


def java_home(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the Java that set-up chose for this virtual environment; None where it chose none or has been overruled.

    The record holds the chosen folder and the `JAVA_HOME` of that day. A `JAVA_HOME` that has changed since is its
    user's decision and wins; the same one was looked at, and may have been passed over for its version.
    """
    try:
        chosen, asked = (Path(sys.prefix) / "java_home").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    overruled = environ.get("JAVA_HOME", "") not in ("", asked)
    return None if overruled or not Path(chosen, "bin", "java").exists() else chosen


def _resolve(wanted: list[str], scratch: Path, log: Path) -> list[Path]:
    """Let spark-submit fetch *wanted* for a program that does nothing; its driver starts no session."""
    import pyspark  # noqa: PLC0415

    home = Path(pyspark.__file__).parent
    program = scratch / "nothing.py"
    program.touch()
    ivy = scratch / "ivy"
    # What Spark ships is left out: Spark's class loader would prefer its own copy anyway, and it is 85 of 100 MB.
    shipped = sorted({re.sub(r"-\d.*", "", jar.name) for jar in (home / "jars").glob("*.jar")})
    command = [str(home / "bin" / "spark-submit"), "--master", "local[1]", "--packages", ",".join(wanted)]
    command += ["--exclude-packages", ",".join(f"*:{name}" for name in shipped)]
    command += ["--conf", f"spark.jars.ivy={ivy}", *_proxy_options(os.environ), str(program)]
    here = {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    chosen = java_home()
    java = {"JAVA_HOME": chosen} if chosen else {}
    with log.open("wb") as out:
        done = subprocess.run(
            command,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", **here, **java},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    jars = sorted((ivy / "jars").glob("*.jar"))
    if done.returncode != 0 or not jars:
        raise PersonalakeError(
            f"Delta's jars did not come: {_reason(log)}",
            where=str(log),
            cure="with a network, or with DEFAULT_ARTIFACT_REPOSITORY naming a Maven mirror, run it again",
        )
    return jars


def _publish(wanted: list[str], jars: list[Path], folder: Path) -> list[Path]:
    (folder / _RECORD).unlink(missing_ok=True)
    for old in folder.glob("*.jar"):
        old.unlink()
    for jar in jars:
        jar.replace(folder / jar.name)
    record = jars[0].with_name(_RECORD)
    record.write_text("\n".join([",".join(wanted), *(jar.name for jar in jars)]) + "\n", encoding="utf-8")
    record.replace(folder / _RECORD)
    return [folder / jar.name for jar in jars]


def _sweep(folder: Path) -> None:
    """Remove what a killed fetch left; a younger one may still be at work."""
    for scratch in folder.glob(".fetch-*"):
        if time.time() - scratch.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(scratch, ignore_errors=True)


def _proxy_options(environ: Mapping[str, str]) -> list[str]:
    """Tell the JVM of the proxy that pip found in the environment: Java doesn't look there."""
    address = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    proxy = urllib.parse.urlsplit(address if address and "//" in address else f"//{address or ''}")
    if not proxy.hostname:
        return []
    return ["--driver-java-options", f"-Dhttps.proxyHost={proxy.hostname} -Dhttps.proxyPort={proxy.port or 80}"]


def _reason(log: Path) -> str:
    """Return the line of Ivy's log that says most."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    telling = re.compile(r"unresolved dependency|UnknownHost|SERVER ERROR|FAILED|JAVA_HOME|java.*not found|Exception")
    return next((line for line in lines if telling.search(line)), lines[-1] if lines else "no word from it")[:300]


def main(arguments: list[str]) -> int:
    """Fetch into the folder named (`python -m personalake.jars .jars`); exit code 1 with a message where that fails."""
    try:
        fetch(Path(*arguments))
    except PersonalakeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # what a shell says of a program that Ctrl-C ended; the scratch folder is gone
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
