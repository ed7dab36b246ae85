"""The endpoint as a child process: its address, its ledger, and that it never outlives its parent."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from personalake.errors import SettingsError
from personalake.llm import offline
from personalake.llm.offline import CHAT_MODEL, OfflineEndpoint, OfflineSettings, add_arguments, plan_of
from personalake.llm.offline.faults import BATCH_KINDS, KINDS, LATENCY_KINDS, RETRY_STYLES
from personalake.llm.offline.options import limit_options, settings_of
from personalake.llm.offline.plans import FIELDS
from personalake.llm.offline.process import main
from personalake.llm.offline.settings import LIMIT_FIELDS, LIMIT_HEADERS, LIMIT_WINDOWS, QUEUE_FULL

LIBRARY = str(Path(offline.__file__).parents[3])


def python(*arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": LIBRARY}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_an_endpoint_serves_counts_takes_faults_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINE_TEST_KEY", "sk-test")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with OfflineEndpoint(api_key_env="OFFLINE_TEST_KEY") as endpoint:
        process = endpoint._process
        assert process is not None
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        os.kill(process.pid, signal.SIGINT)  # a Ctrl-C in the terminal is the driver's to handle
        ask = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "hello"}]}
        monkeypatch.delenv("http_proxy")
        with openai.OpenAI(base_url=endpoint.base_url, api_key="sk-test", max_retries=0) as client:
            assert client.chat.completions.create(**ask).choices  # type: ignore[call-overload] # literal dicts
            endpoint.set_faults(plan_of({"kind": "500"}))
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**ask)  # type: ignore[call-overload] # literal dicts
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert endpoint.ledger()["statuses"] == {"200": 1, "500": 1}
    assert process.poll() == 0
    endpoint.close()


def test_the_child_ends_when_its_parent_s_end_of_stdin_closes() -> None:
    child = python("-m", "personalake.llm.offline", "--stop-with-stdin", stdin=subprocess.PIPE)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["base_url"].startswith("http://127.0.0.1:")
    child.communicate()
    assert child.returncode == 0


def test_the_child_dies_with_a_parent_that_was_killed() -> None:
    script = (
        "import os, sys, time\nfrom personalake.llm.offline import OfflineEndpoint\n"
        "endpoint = OfflineEndpoint()\nendpoint.start()\n"
        "sys.stdout.write(f'{endpoint._process.pid}\\n')\nsys.stdout.flush()\ntime.sleep(60)\n"
    )
    parent = python("-c", script)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    watched = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    parent.kill()
    parent.communicate()
    if watched is None:
        pytest.skip("this system has no pidfd to wait on a grandchild with")
    import select  # noqa: PLC0415 - only where pidfd exists

    assert select.select([watched], [], [], 10)[0]
    os.close(watched)


def test_alone_it_says_where_it_is_and_stops_on_sigterm() -> None:
    child = python("-m", "personalake.llm.offline", "--latency-ms=1", "--faults", '{"rates": {"429": 0.1}}')
    assert child.stdout is not None
    address = json.loads(child.stdout.readline())["base_url"]
    child.terminate()
    _, said = child.communicate(timeout=10)
    assert address in said.decode()
    assert child.returncode == 0


def test_importing_the_package_loads_no_web_server() -> None:
    code = "import sys, personalake.llm.offline; sys.exit('aiohttp.web' in sys.modules or 'aiohttp' in sys.modules)"
    child = python("-c", code)
    child.communicate()
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--faults", '{"rates": {"boom": 1}}'], "unknown fault 'boom'"),
        (["--faults", "{"], "not JSON"),
        (["--flaws", "3"], "flaws is 3.0"),
        (["--api-key-env", "NO_SUCH_VARIABLE_HERE"], "NO_SUCH_VARIABLE_HERE is not set"),
        (["--reply", "fast"], "reply is neither 'rules' nor 'canned'"),
        (["--reply", '{"kind": "canned", "chars": 0}'], "reply.chars is 0"),
        (["--faults", '{"batch": "expird"}'], "did you mean 'expired'?"),
        (["--limit-window", "hour"], "unknown limit_window 'hour'"),
        (["--limit-headers", "azur"], "did you mean 'azure'?"),
        (["--limit-retry-style", "soon"], "unknown limit_retry_style 'soon'"),
        (["--queue-full", "500"], "unknown queue_full '500'"),
        (["--rpm", "-1"], "rpm is -1"),
        (["--capacity", "-1"], "capacity is -1"),
        (["--host", "203.0.113.1"], "can't listen on 203.0.113.1:0"),
    ],
)
def test_bad_options_end_with_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == SettingsError.exit_code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_help_names_every_fault_and_every_way_to_order_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    words = [*KINDS, *BATCH_KINDS, *RETRY_STYLES, *LATENCY_KINDS, *LIMIT_WINDOWS, *LIMIT_HEADERS, *QUEUE_FULL]
    assert [word for word in words if word not in shown] == []
    assert [field for field in FIELDS if field not in shown] == []
    assert [field for field in LIMIT_FIELDS if f"--{field.replace('_', '-')}" not in shown] == []


def test_options_become_settings_and_settings_options() -> None:
    limits = {"rpm": 5, "limit_window": "minute", "limit_headers": "none", "refund": True, "capacity": 2, "queue": 0}
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = [*limit_options(limits), "--reply=canned", "--latency-ms=3", '--faults={"seed": 4}']
    settings = settings_of(parser.parse_args(arguments))
    assert settings == OfflineSettings(faults=settings.faults).with_limits(limits)
    assert settings.faults == plan_of({"seed": 4, "latency": 3.0, "reply": "canned"})
