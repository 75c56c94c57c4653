"""Every factual sentence of the article on trial: experiments by subject, and the sentences with their rules."""

from __future__ import annotations

from claims import rows_building, rows_judging, rows_operating
from claims.claim import Claim

PARTS: dict[str, list[Claim]] = {
    "Before the first step": rows_building.OPENING,
    "Step 1: setup": rows_building.SETUP,
    "Step 2: streaming": rows_building.STREAMING,
    "Step 3: errors and retries": rows_operating.ERRORS,
    "Step 4: health checks and nginx": rows_operating.DEPLOYMENT,
    "Step 5: clients": rows_judging.READERS,
    "Limitations": rows_judging.LIMITATIONS,
    "Frequent questions": rows_judging.QUESTIONS,
    "Closing": rows_judging.CLOSING,
}
"""The article's parts, with their claims in its order."""
