"""One endpoint's state, all of which may change while it runs: settings, fault plan, limits, ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...errors import SettingsError
from .capacity import Capacity
from .faults import FaultPlan
from .jobs import JOBS, Order
from .ledger import Ledger
from .limits import Limits
from .misreplies import IN_BATCHES, SHAPES, error_of
from .plans import plan_of
from .refusals import RefusalError
from .settings import OfflineSettings
from .wire import encode


class Service:
    """Settings, plan, limits, capacity and ledger of one endpoint."""

    def __init__(self, settings: OfflineSettings) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.limits = Limits(settings)
        self.capacity = Capacity(settings)
        self.ledger.set_limits(settings.rpm, settings.tpm)
        self.set_plan(settings.faults)

    def set_plan(self, plan: FaultPlan) -> None:
        """Follow another fault plan; its ``from_s`` and ``until_s`` count from now."""
        self.plan, self._planned_at = plan, time.monotonic()

    def plan_for(self, header: str | None) -> FaultPlan:
        """Return the plan that a request's ``X-Fault`` header holds, or the one that is set where there is none."""
        if header is None:
            return self.plan
        try:
            return plan_of(header, "X-Fault")
        except SettingsError as error:
            raise RefusalError(400, str(error), param="X-Fault") from error

    def fault(self, plan: FaultPlan, key: str, attempt: int) -> str | None:
        """Return which fault *plan* has for this attempt now; a header's plan is always within its time."""
        if not plan.rates:
            return None
        elapsed_s = time.monotonic() - self._planned_at if plan is self.plan else plan.from_s
        return plan.fault(key, attempt, elapsed_s)

    def change_limits(self, changes: object) -> None:
        """Change the limits that a JSON object names; SettingsError says what is wrong with it."""
        settings = self.settings.with_limits(changes)
        if (settings.rpm, settings.tpm) != (self.settings.rpm, self.settings.tpm):
            self.ledger.set_limits(settings.rpm, settings.tpm)
        self.settings = settings
        self.limits.change(settings)
        self.capacity.change(settings)

    def limits_json(self) -> dict[str, Any]:
        """Return the limits that are set, and how many requests are served and wait now."""
        now = {"serving": self.capacity.serving, "waiting": self.capacity.waiting}
        return {**self.settings.limits_json(), **now, "max_waiting": self.capacity.max_waiting}

    def batch_row(self, endpoint: str, body: Mapping[str, Any], order: Order) -> tuple[int, bytes]:
        """Return status and JSON for one row of a batch: the same reply as a live request with that client id."""
        fault = self.fault(order.plan, order.key, order.attempt)
        try:
            if fault in IN_BATCHES or fault in SHAPES:
                self.ledger.faults[fault] += 1
            if fault in IN_BATCHES:
                raise error_of(fault, order.plan)
            if body.get("stream"):
                raise RefusalError(400, "Streaming is not supported in the Batch API.", param="stream")
            return 200, JOBS[endpoint](order, body, self.settings, self.ledger).payload(fault)
        except RefusalError as refusal:
            return refusal.status, encode(refusal.body)
