"""Ask a hub in a session of its own, as the command line starts it: seconds of each look, the first and the later ones.

`python ask_hub.py STORE` prints JSON by look: `first`, in which the session loads and compiles what it needs, and the
median of the next five.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from personalake import hub_options, hub_view
from personalake.inputs import read_inputs
from personalake.llm.offline import OfflineSettings, serving
from personalake.session import open_session
from personalake.settings_file import load

TIMES = 6
CONFIG = Path(__file__).resolve().parents[2] / "conf" / "local.yaml"


def looks(persona: dict[str, str]) -> dict[str, list[str]]:
    """What is asked, by name: a *persona* of the hub lends its text, with words left out, and its id."""
    text = " ".join(word for number, word in enumerate(persona["text"].split()) if number % 5)
    where = ["--where", "occupation = 'nurse' AND region = 'ES'"]
    return {
        "all": [],
        "where": where,
        "like": ["--like", text],
        "like_where": ["--like", text, *where],
        "vector": ["--like", text, "--by", "vector"],
        "vector_where": ["--like", text, "--by", "vector", *where],
        "sample": ["--sample", "100", "--seed", "1"],
        "lineage": ["--lineage", persona["persona_id"][:12]],
    }


def main(store: str) -> None:
    with serving(OfflineSettings()) as base_url:
        embedding = "dedup.embedding.model=offline-embedding"
        settings, folder = load(str(CONFIG), [f"store.path={store}", f"llm.base_url={base_url}", embedding])
        inputs, parser = read_inputs(settings, folder, stages=()), argparse.ArgumentParser()
        hub_options.add_arguments(parser)
        spark = open_session({**settings.spark, "spark.master": "local[2]"}, log=Path(store, "spark.log"))

        def seconds(*options: str) -> float:
            look = hub_options.Look.of(parser.parse_args(options), settings)
            began = time.perf_counter()
            hub_view.hub(inputs, look, verbose=False)
            return time.perf_counter() - began

        found = spark.read.format("delta").load(f"{store}/hub").where("hop = 2").limit(1).collect()[0]
        told = {}
        for name, options in looks(found.asDict()).items():
            first, *later = [seconds(*options) for _ in range(TIMES)]
            told[name] = {"first": first, "later": statistics.median(later)}
        spark.stop()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
