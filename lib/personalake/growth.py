"""How the hub grows: pages are asked, then personas, hop by hop; whoever repeats nobody stays; until there are enough.

A round asks, compares what came with all that was kept, and counts. Nobody of a hop is asked before the hop before was
compared: who goes isn't asked for relations. Rounds ask by hash rank, lowest first, so that a target is met by the same
personas in any order of replies, and a round is never larger than what is missing takes by the yield so far, nor than
a wave.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import own_personas
from personalake.asking import asker, expand_ask, infer_ask, pages_to_infer, parents_to_expand
from personalake.compare import compare_personas, known_personas
from personalake.dedup.sketches import persona_sketches
from personalake.inputs import Inputs
from personalake.judging import judge_personas, without_low
from personalake.llm.complete import Ask
from personalake.personas import infer as of_pages
from personalake.personas.expand import HOPS, PARENT, hop_of, stage_of
from personalake.prompts import Prompt
from personalake.reach import DEDUP_OF_HOP
from personalake.runs import Run
from personalake.settings import MOST_HOPS
from personalake.stage_record import StageRecord

_OF_PAGE = ("doc_id", "text", "title", "language", "url", "path", "licence")


def infer(run: Run, inputs: Inputs) -> None:
    """Ask who stands behind each new page, and those whose answer had to wait; with a target, until it is met."""
    news = run.has_news("infer", "ingest") or run.reach.left("infer") or run.store.exists("pending")
    if inputs.settings.hub.target is None:
        if news:
            _ask_pages(run, inputs, None)
        return
    dedup(run, inputs)  # What there is counts first.
    while news and (most := _next_round(run, inputs, "infer", inputs.settings.infer.personas_per_page)):
        if not _ask_pages(run, inputs, most):
            return
        dedup(run, inputs)


def expand(run: Run, inputs: Inputs) -> None:
    """Ask the hub's personas for others in relation to them, hop by hop, each compared before the next is paid for."""
    settings = inputs.settings.expand
    hops = range(1, settings.hops + 1)
    if not run.store.exists("pending") and not any(_has_parents(run, hop) for hop in hops):
        return
    rests = _rests(run, settings.min_new)
    for hop in hops:
        asked, after = False, rests.get(hop, 0)
        while most := _next_round(run, inputs, stage_of(hop), settings.fan_out):
            found = _ask_parents(run, inputs, hop, most, after)
            if found is None:
                break
            asked = True
            if found < settings.min_new:
                run.say(f"hop {hop} brought {found:.2f} new personas a request: nobody further is asked")
                return
        else:
            return  # The target is met.
        if after and not asked:
            return  # Where a hop has come to rest, the next ones do.


def _has_parents(run: Run, hop: int) -> bool:
    """Whether somebody may have come into the hub whom a hop hasn't asked; told without a query."""
    stage, before = stage_of(hop), f"{DEDUP_OF_HOP}{hop - 1}"
    return run.reach.left(stage) or run.has_news(stage, "dedup", before)


def dedup(run: Run, inputs: Inputs) -> None:
    """Compare the new personas with each other and with the hub; keep those that repeat nobody."""
    if run.has_news("dedup", "infer", own_personas.STAGE, *map(stage_of, range(1, MOST_HOPS + 1))):
        _keep(run, inputs, "dedup")


def _keep(run: Run, inputs: Inputs, stage: str) -> int:
    """Let the personas into the hub that no dedup has seen and that repeat nobody; returns how many these are."""
    every = run.fresh("personas", "dedup")
    judge_personas(run, inputs, every)
    record = StageRecord(stage)
    fresh, low = without_low(run.store, inputs, every)
    texts = fresh.selectExpr("persona_id AS id", "text", "quality")
    compared = compare_personas(run, inputs, texts, known_personas(run, inputs), stage)
    kept = fresh.drop("seq").join(compared.rows["duplicates"].selectExpr("id AS persona_id"), "persona_id", "left_anti")
    made, refused = {"hub": kept, "sketches": hub_sketches(kept), **compared.rows}, 0
    if low is not None and (refused := low.count()):
        made["rejects"] = low
    run.append(made, ["dedup"])
    if compared.told:
        run.say(f"by vectors: {compared.told}")
    record.message = compared.told
    record.seconds = time.monotonic() - record.began - sum(each.seconds for each in compared.asked)
    record.add(items=compared.total + refused, accepted=compared.total - compared.repeats)
    record.add(duplicates=compared.repeats, item_rejects=refused)
    run.close(*compared.asked, record)
    return compared.total - compared.repeats


def hub_sketches(kept: DataFrame) -> DataFrame:
    """The rows of `sketches` that personas make which are kept."""
    return persona_sketches(kept).withColumn("stage", F.lit("dedup"))


@dataclass(frozen=True)
class _Chosen:
    """Who is asked in a round, and the highest hash rank among them (null: all there were)."""

    rows: DataFrame
    rank: str | None


def _choose(run: Run, rows: DataFrame, most: float, name: str) -> _Chosen | None:
    """Of *rows*, those of lowest rank, at most so many, and all that had to wait; null where there are none."""
    if math.isinf(most):
        return None if rows.isEmpty() else _Chosen(rows, None)
    waiting, fresh = rows.where("parts IS NOT NULL"), rows.where("parts IS NULL")
    lowest = fresh.orderBy("rank").limit(int(most))
    chosen = run.store.stage(waiting.unionByName(lowest), name)
    told = chosen.agg(
        F.count("*").alias("all"), F.count_if(F.col("parts").isNull()).alias("fresh"), F.max("rank").alias("rank")
    ).collect()[0]
    if not told["all"]:
        return None
    return _Chosen(chosen, str(told["rank"]) if told["fresh"] == int(most) else None)


def _ask_pages(run: Run, inputs: Inputs, most: float | None) -> bool:
    """Ask about pages, at most so many; whether there were any."""
    pages = pages_to_infer(run.store, run.reach, inputs.settings.seed)
    chosen = _choose(run, pages, math.inf if most is None else most, "pages-chosen")
    if chosen is None:
        return False
    run.next_round("infer")
    _ask(run, infer_ask(chosen.rows, inputs), inputs.infer_prompt, chosen, inputs)
    return True


def _ask_parents(run: Run, inputs: Inputs, hop: int, most: float, after_seq: int) -> float | None:
    """Ask personas for a hop, at most so many; returns how many stayed for each request, null where nobody is left."""
    parents = parents_to_expand(run.store, run.reach, hop, inputs.settings.seed)
    wanted = (F.col("seq") > after_seq) | F.col("parts").isNotNull()
    chosen = _choose(run, parents.where(wanted), most, f"parents-{hop}")
    if chosen is None:
        return None
    run.next_round(stage_of(hop), "dedup")
    record = _ask(run, expand_ask(chosen.rows, hop, inputs), inputs.expand_prompt, chosen, inputs)
    return _keep(run, inputs, f"{DEDUP_OF_HOP}{hop}") / record.counts["requests"]


def _ask(run: Run, ask: Ask, prompt: Prompt, chosen: _Chosen, inputs: Inputs) -> StageRecord:
    record = StageRecord(ask.stage, through_rank=chosen.rank)
    run.remember_prompts([(prompt.prompt_id, prompt.name, prompt.template, prompt.schema_json)])
    answers, spent = run.completer.complete([ask])
    if ask.stage == "infer":
        judged = judged_pages(answers, chosen.rows, inputs)
    else:
        judged = judged_parents(answers, chosen.rows, ask.stage, inputs)
    run.land_outcomes({ask.stage: record}, {"personas": judged}, spent)
    run.close(record)
    return record


def judged_pages(answers: DataFrame, pages: DataFrame, inputs: Inputs) -> DataFrame:
    """What became of each of *pages*, by the *answers* to its requests: outcome rows with their stage."""
    beside = answers.join(pages.select(*_OF_PAGE).withColumnRenamed("doc_id", "origin_id"), "origin_id")
    settings = inputs.settings
    outcomes = of_pages.accept_personas(
        beside, settings.infer, settings.accept, inputs.domains, settings.seed, inputs.infer_prompt
    )
    return outcomes.withColumn("stage", F.lit("infer"))


def judged_parents(answers: DataFrame, parents: DataFrame, stage: str, inputs: Inputs) -> DataFrame:
    """What became of each of *parents* in a hop's *stage*, by the *answers* to its request: outcome rows with it."""
    beside = answers.join(parents.select(*PARENT).withColumnRenamed("persona_id", "origin_id"), "origin_id")
    return asker(inputs).accept(beside).withColumn("stage", F.lit(stage))


def _next_round(run: Run, inputs: Inputs, stage: str, hopes: int) -> float:
    """How many may be asked in the next round of *stage*: 0 where the target is met, infinity where there is none.

    As many as what is missing takes, if each brings what those asked so far have brought; before, the most they may.
    """
    target = inputs.settings.hub.target
    if target is None:
        return math.inf
    hub = run.store.read("hub").count()
    if hub >= target:
        return 0
    runs = run.store.read("runs").where(F.col("stage") == stage)
    asked = int(runs.selectExpr("coalesce(sum(answered + rejected), 0) AS n").collect()[0]["n"])
    kept = run.store.read("hub").where((F.col("hop") == hop_of(stage)) & F.col("request_key").isNotNull()).count()
    each = kept / asked if asked and kept else hopes
    most = min(math.ceil((target - hub) / each), inputs.settings.llm.wave_rows)
    known = f"{each:.2f} stayed of each so far" if asked else f"each may bring {hopes}"
    run.say(f"hub: {hub:,} of {target:,} personas; {stage}: {known}, so up to {most:,} are asked now")
    return most


def _rests(run: Run, min_new: float) -> dict[int, int]:
    """The hops whose last round kept too few, each with its `seq`: only who came later is asked."""
    runs = run.store.read("runs").where(F.col("stage").startswith(HOPS) | F.col("stage").startswith(DEDUP_OF_HOP))
    hop, asks = F.substring_index("stage", ".", -1).cast("int").alias("hop"), F.col("stage").startswith(HOPS)
    rounds = runs.groupBy(hop, "seq").agg(
        F.sum(F.when(asks, F.col("requests"))).alias("requests"), F.sum(F.when(~asks, F.col("accepted"))).alias("kept")
    )
    # Of a round that was cut off, or waits, nobody knows yet what it keeps.
    last = rounds.where("requests > 0 AND kept IS NOT NULL").groupBy("hop")
    found = (
        last.agg(F.max_by(F.struct("seq", "requests", "kept"), "seq").alias("last")).select("hop", "last.*").collect()
    )
    return {int(row["hop"]): int(row["seq"]) for row in found if row["kept"] / row["requests"] < min_new}
