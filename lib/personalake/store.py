"""The only door to tables: addresses, creation, conforming appends, and what makes a repeated append harmless."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import cast

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from personalake import schemas
from personalake.errors import StoreError, first_line
from personalake.schemas import TABLES, Table
from personalake.settings import StoreSettings
from personalake.work import Folder, absolute, spark_address

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_MARKER = "store.json"


class Store:
    """The tables of one store, at a root path or in `catalog.schema`.

    Rows get in by :meth:`append` alone, which conforms them to their schema and stamps the run's `seq`. A table is
    created when it gets its first rows (nineteen creations would be ten seconds of a first run's two minutes); until
    then it reads as empty.
    """

    def __init__(self, spark: SparkSession, settings: StoreSettings) -> None:
        check_address(settings)
        self.spark, self.settings = spark, settings
        self.work = Folder(absolute(settings.work_path))
        self.store_id = ""
        self._known: set[str] = set()

    def open(self) -> Store:
        """Create what is missing and check the rest; raises :class:`StoreError` for a store that can't be used."""
        marker = self.work.read(_MARKER)
        if marker is None:
            layout = self._layout_of_tables()
            marker = json.dumps({"layout": layout, "store_id": uuid.uuid4().hex}).encode()
        try:
            found = json.loads(marker)
            layout, self.store_id = int(found["layout"]), str(found["store_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{_MARKER} is damaged", where=self.work.address, cure="restore it, or start a new store"
            ) from error
        if layout != schemas.LAYOUT:
            raise StoreError(
                f"the store has layout {layout}, this version of personalake writes layout {schemas.LAYOUT}",
                where=self.address,
                cure="use the version that made it, or another store.path",
            )
        if not self.settings.path:
            self._create_schema()
            if found.get("landed") and not self.exists("runs"):
                # Going on would pay again for what the forgotten tables hold.
                raise StoreError(
                    "the catalog doesn't know the tables of this store any more",
                    where=self.address,
                    cure="use a catalog that outlives a session (a Hive metastore, Unity Catalog), or a new store.work",
                )
        # Written even where it stands: whether this run may write is known before anything is paid.
        self.work.write(_MARKER, marker)
        return self

    @property
    def address(self) -> str:
        """The store's address, for people."""
        settings = self.settings
        return settings.path or f"{settings.catalog}.{settings.schema_}"

    def table_address(self, name: str) -> str:
        """Where the table *name* lies: its path, or its three-part name."""
        settings = self.settings
        if settings.path:
            return f"{absolute(settings.path)}/{name}"
        return f"{settings.catalog}.{settings.schema_}.{name}"

    def _sql_name(self, name: str) -> str:
        if self.settings.path:
            return f"delta.`{spark_address(self.table_address(name))}`"
        return ".".join(f"`{part}`" for part in self.table_address(name).split("."))

    def exists(self, name: str) -> bool:
        """Whether the table was created."""
        if name not in self._known:
            if self.settings.path:
                found = (Folder(self.table_address(name)) / "_delta_log").exists()
            else:
                found = self.spark.catalog.tableExists(self._sql_name(name))
            if found:
                self._known.add(name)
        return name in self._known

    def read(self, name: str, *, after_seq: int = 0, until_seq: int | None = None) -> DataFrame:
        """The rows of table *name* of runs after *after_seq* and up to *until_seq*; none where it was never written."""
        if not self.exists(name):
            return self.spark.createDataFrame([], struct(TABLES[name]))
        rows = (
            self.spark.read.format("delta").load(spark_address(self.table_address(name)))
            if self.settings.path
            else self.spark.table(self._sql_name(name))
        )
        # Dropped and added columns of other versions don't get past this door.
        rows = rows.select(*TABLES[name].names)
        rows = rows.where(rows["seq"] > after_seq) if after_seq else rows
        return rows if until_seq is None else rows.where(rows["seq"] <= until_seq)

    def append(self, name: str, rows: DataFrame, seq: int, *, txn: str | None = None) -> None:
        """Append *rows* (the table's columns but `seq`) as run *seq*.

        With *txn*, a second append under the same name does nothing: Delta keeps the names that it has landed.
        Raises :class:`StoreError` where the rows don't fit the table.
        """
        self._create(TABLES[name])
        writer = (
            conform(rows.withColumn("seq", F.lit(seq).cast("long")), TABLES[name]).write.format("delta").mode("append")
        )
        if txn is not None:
            writer = writer.option("txnAppId", f"{self.store_id}/{txn}").option("txnVersion", 1)
        self._save(writer, name)

    def append_new(self, name: str, rows: DataFrame, seq: int, *, after_seq: int) -> None:
        """Append those *rows* whose key no run after *after_seq* has landed.

        A stage that was cut off between two appends starts again from its last finished `seq`: what it had already
        appended lies above that, so the look-up reads little.
        """
        key = list(TABLES[name].key)
        landed = self.read(name, after_seq=after_seq).select(*key)
        self.append(name, rows.join(landed, key, "left_anti"), seq)

    def replace(self, name: str, rows: DataFrame, seq: int, *, where: str) -> None:
        """Put *rows* in the place of those that fulfil the SQL condition *where*, in one commit."""
        self._create(TABLES[name])
        fitted = conform(rows.withColumn("seq", F.lit(seq).cast("long")), TABLES[name])
        self._save(fitted.write.format("delta").mode("overwrite").option("replaceWhere", where), name)

    def delete(self, name: str, keys: DataFrame) -> None:
        """Delete the rows of *name* that agree with a row of *keys* in all of its columns, in one commit."""
        self._merge(name, keys, "DELETE")

    def change(self, name: str, keys: DataFrame, values: Mapping[str, str]) -> None:
        """Give the rows that agree with a row of *keys* new *values*, SQL over the old row `t`, in one commit."""
        self._merge(name, keys, "UPDATE SET " + ", ".join(f"t.`{column}` = {sql}" for column, sql in values.items()))

    def _merge(self, name: str, keys: DataFrame, action: str) -> None:
        # MERGE, because Delta's DELETE and UPDATE take no subquery; SQL, because it works on Connect, too.
        if not self.exists(name):
            return
        on = " AND ".join(f"t.`{column}` = k.`{column}`" for column in keys.columns)
        view = f"personalake_{uuid.uuid4().hex}"
        keys.distinct().createOrReplaceTempView(view)
        try:
            self.spark.sql(
                f"MERGE INTO {self._sql_name(name)} AS t USING {view} AS k ON {on} WHEN MATCHED THEN {action}"
            )
        finally:
            self.spark.catalog.dropTempView(view)

    def stage(self, rows: DataFrame, name: str) -> DataFrame:
        """Materialise *rows* under the work folder and read them back: computed once, in any kind of session."""
        return self.keep(rows, self.work / "staged" / name)

    def keep(self, rows: DataFrame, folder: Folder) -> DataFrame:
        """Materialise *rows* in a *folder* of the work folder, which stays there, and read them back."""
        rows.write.mode("overwrite").parquet(folder.for_spark)
        return self.spark.read.schema(rows.schema).parquet(folder.for_spark)

    def kept(self, folder: Folder) -> DataFrame:
        """The rows that :meth:`keep` wrote, of which there must be some."""
        return self.spark.read.parquet(folder.for_spark)

    def clear_staged(self) -> None:
        """Delete what :meth:`stage` wrote; called when a run ends, however it ends."""
        (self.work / "staged").delete()

    def stager(self, prefix: str) -> Callable[[DataFrame, str], DataFrame]:
        """A function like :meth:`stage` for transforms that must not know the store, its names under *prefix*."""
        return lambda rows, name: self.stage(rows, f"{prefix}-{name}")

    def _save(self, writer: DataFrameWriter, name: str) -> None:
        if self.settings.path:
            writer.save(spark_address(self.table_address(name)))
        else:
            writer.saveAsTable(self._sql_name(name))

    def _create(self, table: Table) -> None:
        if self.exists(table.name):
            return
        columns = ", ".join(
            f"`{c.name}` {c.type}{' NOT NULL' if c.required else ''} COMMENT {_quoted(c.comment)}"
            for c in table.columns
        )
        properties = ", ".join(f"{_quoted(k)}={_quoted(v)}" for k, v in table.properties.items())
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self._sql_name(table.name)} ({columns}) USING delta "
            f"COMMENT {_quoted(table.comment)} TBLPROPERTIES ({properties})"
        )
        self._known.add(table.name)
        if table.name == "runs":
            told = {"layout": schemas.LAYOUT, "store_id": self.store_id, "landed": True}
            self.work.write(_MARKER, json.dumps(told).encode())

    def _create_schema(self) -> None:
        """Create the schema where there is none: where somebody else made it, no right to create is needed."""
        name = f"`{self.settings.catalog}`.`{self.settings.schema_}`"
        try:
            if not self.spark.catalog.databaseExists(name):
                self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {name}")
        except PySparkException as error:
            raise StoreError(
                f"the schema can't be used: {first_line(error)}",
                where=self.address,
                cure="correct store.catalog and store.schema, or have the schema created for you",
            ) from error

    def _layout_of_tables(self) -> int:
        """The layout that the tables themselves name, for a store whose work folder was lost."""
        if not self.exists("runs"):
            return schemas.LAYOUT
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {self._sql_name('runs')} ('personalake.layout')").collect()
        value = str(rows[0]["value"]) if rows else ""
        return int(value) if value.isdigit() else 0


def check_address(settings: StoreSettings) -> None:
    """Refuse an address that could mean something else inside SQL or on a disk; raises :class:`StoreError`."""
    for part in (settings.catalog, settings.schema_):
        if part is not None and not _NAME.match(part):
            raise StoreError(
                f"{part!r} is no name of a catalog or schema", where="store", cure="letters, digits, `_` and `-` only"
            )
    for setting, path in (("store.path", settings.path), ("store.work", settings.work)):
        if path is not None and (not path.strip() or re.search(r"[`'\"\x00-\x1f;*?{}\[\]]", path)):
            raise StoreError(f"{path!r} can't be a folder of tables", where=setting, cure="no quotes, `;` or wildcards")


def struct(table: Table) -> StructType:
    """The table's schema for Spark, comments included."""
    parsed = cast("StructType", StructType.fromDDL(table.ddl)).fields
    return StructType(
        [
            StructField(field.name, field.dataType, not column.required, {"comment": column.comment})
            for field, column in zip(parsed, table.columns, strict=True)
        ]
    )


def conform(rows: DataFrame, table: Table) -> DataFrame:
    """Select the table's columns in order; raises :class:`StoreError` for missing, surplus or wrongly typed ones."""
    given = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    wanted = {field.name: field.dataType.simpleString() for field in struct(table).fields}
    wrong = [f"{name} is missing" for name in wanted if name not in given]
    wrong += [f"{name} is not a column" for name in given if name not in wanted]
    wrong += [f"{n} is {given[n]}, not {wanted[n]}" for n in wanted if n in given and given[n] != wanted[n]]
    if wrong:
        raise StoreError("; ".join(wrong), where=f"table {table.name}", cure="select the columns of schemas.py")
    return rows.select(*table.names)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
