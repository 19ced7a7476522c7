"""What to do about each reason. One sentence a reason, for a person who did not write the producer."""

from __future__ import annotations

from typing import Final

ADVICE: Final[dict[str, str]] = {
    "too_large": "above 256 KiB: `--remove data.NAME` takes a member away; mend the producer, which must not send documents",
    "not_json": "`--strip-bom` for a byte order mark, `--decode` for another encoding, `--set data.NAME=…` for NaN; else mend the producer",
    "not_cloudevents": "`--set specversion=1.0` where the rest is there; else mend the producer",
    "missing_field": "`--rename` where it has another name, `--set` where you know it (an id: one that its producer will never give again)",
    "bad_control": "it is no usage and is never sent again: `tidemark apply` writes control records anew",
    "key_mismatch": "`--key-from-subject` where the subject is right, `--set subject=…` where the key is; mend the producer's key",
    "routing_loop": "replay it as it is: it goes straight to its home; it carried the header of a re-routed record from elsewhere",
    "bad_time": "`--set time=…` where you know it; `--remove time` counts it at the instant it was received",
    "future": "replay it as it is once its time has come; a clock that is wrong: `--set time=…` or `--remove time`",
    "too_late": "its window is final and stays so: an amendment or a correction by hand; `--set time=…` only where the time itself was wrong",
    "no_meter": "no meter took its type at its time; a meter that was added later holds from then on, so `--set time=…` or let it be",
    "bad_quantity": "`--number data.NAME` where it is a number in a string, `--set data.NAME=…` where you know it",
    "out_of_range": "more than 12 places or above 10¹⁸: nothing is rounded here; `--set data.NAME=…` with the number that is meant",
    "negative": "the meter takes none: `--set data.NAME=…`, or allow_negative for the meter from now on",
}
"""By the reasons of `topics/event.py`; a test keeps the two together."""


def advice(reason: str) -> str:
    """What to do; a reason of a newer program says so."""
    return ADVICE.get(reason, "this program does not know the reason; see the sentence")
