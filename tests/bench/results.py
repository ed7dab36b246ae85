"""One JSON file a benchmark, and the same on the screen."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Result:
    """A figure, what it was compared with in the same run, and the goal; `detail` has its parts."""

    name: str
    value: float
    unit: str
    compared_with: str
    compared_value: float
    goal: str
    command: str
    detail: dict[str, float] = field(default_factory=dict)

    def keep(self) -> None:
        """Write the figure to `results/<name>.json` and print it."""
        whole = {
            **asdict(self),
            "ratio": round(self.value / self.compared_value, 3),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        }
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{self.name}.json").write_text(json.dumps(whole, indent=2) + "\n")
        print(f"\n{self.name}: {self.value:,.2f} {self.unit}; {self.compared_with}: {self.compared_value:,.2f}")  # noqa: T201 (for whoever ran it)
        print(f"  goal: {self.goal}\n  " + ", ".join(f"{k} {v:,.2f}" for k, v in self.detail.items()))  # noqa: T201 (as above)
