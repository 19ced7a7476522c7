"""The parameters of billing's own endpoints: test clocks, invoices, invoice items, credit notes."""

from __future__ import annotations

from infra.sandbox.params import Param, Spec, String, Timestamp
from infra.sandbox.specs import EXPAND, PAGE

CLOCK_CREATE: Spec = {"frozen_time": Param(Timestamp(), required=True), "name": Param(String(300)), **EXPAND}
CLOCK_ADVANCE: Spec = {"frozen_time": Param(Timestamp(), required=True), **EXPAND}
CLOCK_LIST: Spec = PAGE
