"""What an amendment says: computed exactly from the event, refused in a sentence where it cannot be meant, and answered with the right exit code."""

from __future__ import annotations

import pytest

from infra.amending.amend import Amended
from infra.amending.drafts import Draft, NothingToDo, Original, Past, Share, accept, correct, kept, set_to, void
from infra.amending.effects import Effect
from infra.amending.publishing import Outcome, _state
from infra.proposal import Answer
from topics.amendments import ALREADY, Of, read_amendment
from topics.errors import TidemarkError, UsageError
from topics.event import Event, parse_event
from topics.instants import format_s
from topics.quantity import ONE
from topics.windows import Window

START_S = 1_795_219_200
CALLS, DAILY = (Window("acme", meter, START_S, START_S + size_s) for meter, size_s in (("calls", 3600), ("daily", 86_400)))


def original(*now: int, verdict: str = "counted", history: tuple[Past, ...] = ()) -> Original:
    """An event of 7 on each meter, of which something else may count now."""
    shares = tuple(Share(window, 7 * ONE, scaled * ONE) for window, scaled in zip((CALLS, DAILY), now or (7, 7), strict=False))
    of = Of(source="gw", id="e1", partition=1, generation=0, offset=5)
    return Original(of, "acme", "api.request", START_S * 10**6 + 5, 0, verdict, "it says so", shares, history)


def postings(draft: Draft) -> list[tuple[str, str]]:
    """(meter, difference), as the record's own bytes say, which the fold can read."""
    event = parse_event(draft.event().value)
    assert isinstance(event, Event)
    reading = read_amendment(event)
    assert not isinstance(reading, str)
    assert (event.subject, reading.time_us, reading.digest) == (draft.customer, draft.time_us, draft.event().digest)
    return [(entry.meter, entry.quantity) for entry in reading.record.postings]


def test_a_void_takes_back_what_counts_now() -> None:
    """Of an event that was amended before it takes back what is left, on the meters on which anything is, and names the amendment before."""
    assert postings(void(original(), "r", "ann")) == [("calls", "-7"), ("daily", "-7")]
    before = Past("set", "ann", "why", 0, "the digest")
    draft = void(original(3, 0, history=(before,)), "r", "ann")
    assert postings(draft) == [("calls", "-3")]
    assert draft.record.replaces == "the digest"
    with pytest.raises(NothingToDo, match="counts nothing already: ann amended it"):
        void(original(0, 0, history=(before,)), "r", "ann")
    with pytest.raises(NothingToDo, match="there is nothing to void"):
        void(original(0, 0), "r", "ann")


def test_a_set_is_the_difference_on_one_meter() -> None:
    """It names the meter where there are several, refuses one that the event does not count on, and says so where nothing would change."""
    assert postings(set_to(original(), 5 * ONE // 2, "calls", "r", "ann")) == [("calls", "-4.5")]
    assert postings(set_to(original(3), 0, None, "r", "ann")) == [("calls", "-3")]
    with pytest.raises(UsageError, match="say which one with --meter: calls, daily"):
        set_to(original(), 0, None, "r", "ann")
    with pytest.raises(UsageError, match="counts on no meter 'bytes', but on calls, daily"):
        set_to(original(), 0, "bytes", "r", "ann")
    with pytest.raises(NothingToDo, match="counts 7 on meter 'calls' already"):
        set_to(original(), 7 * ONE, "calls", "r", "ann")
    with pytest.raises(UsageError, match=r"more than any event may count"):
        set_to(original(-1), 10**18 * ONE, "calls", "r", "ann")


@pytest.mark.parametrize("verdict", ["duplicate", "rejected", "too_late", "rerouted", "control", "unexplained"])
def test_what_counts_nothing_says_what_to_do_instead(verdict: str) -> None:
    """An event of any other verdict is neither voided nor set; it may be accepted as it is."""
    why = r"event 'e1' of source 'gw' \(1:5\): it"
    with pytest.raises(TidemarkError, match=why):
        void(original(verdict=verdict), "r", "ann")
    with pytest.raises(TidemarkError, match=why):
        set_to(original(verdict=verdict), 0, "calls", "r", "ann")
    assert postings(accept(original(verdict=verdict), "r", "ann")) == []


def test_a_correction_names_its_revision() -> None:
    """Or that there is none; its instant is the window's start."""
    draft = correct(CALLS, -ONE, (0, 9), "r", "replay")
    assert postings(draft) == [("calls", "-1")]
    assert (draft.time_us, draft.record.postings[0].generation, draft.record.postings[0].through_offset) == (START_S * 10**6, 0, 9)
    begun = correct(DAILY, ONE, None, "r", "replay").record.postings[0]
    assert (begun.start, begun.generation, begun.through_offset) == (format_s(START_S), -1, -1)


def test_why_and_who_are_kept_and_needed() -> None:
    """Without blanks around them; none, or a whole essay, is wrong use."""
    assert kept("reason", " by hand \n") == "by hand"
    for words in ("", "  ", "x" * 1001):
        with pytest.raises(UsageError, match="reason"):
            kept("reason", words)


def test_exit_codes_say_what_came_of_it() -> None:
    """0 it is so (also where it was so before, or the meter had the same record already), 1 refused or it would be, 3 no meter answered."""
    draft = void(original(), "r", "ann")
    ours = Answer(1, "acme", "refused", sentence=ALREADY)
    states = {_state(answer) for answer in (ours, Answer(1, "acme", "in force"))}
    assert states == {"applied"}
    assert _state(Answer(1, "acme", "refused", sentence="no")) == "refused"
    assert _state(Answer(1, "acme", "no answer")) == "no answer"
    live, final = (Effect(CALLS, 7 * ONE, 0, "delivered", is_final, "") for is_final in (False, True))
    codes = {
        "unchanged": Amended(original(), [], "unchanged", ""),
        "applied": Amended(original(), [live], "applied", "", Outcome(draft, "applied", 1, 9)),
        "would act": Amended(original(), [live], "dry run", ""),
        "would be refused": Amended(original(), [live, final], "dry run", ""),
        "refused": Amended(original(), [live], "refused", ""),
        "no answer": Amended(original(), [live], "no answer", ""),
    }
    assert [each.exit_code for each in codes.values()] == [0, 0, 0, 1, 1, 3]
    said = codes["applied"].document()
    assert (said["amendment"], said["windows"][0]["difference"], said["event"]["counted_first"]) == ("1:9", "-7", {"calls": "7", "daily": "7"})
