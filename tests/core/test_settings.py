"""Settings: every fault at once with place and remedy, environment over file, secrets refused and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.init import built_in_configuration, example_configuration
from infra.settings import Settings, load_settings
from infra.settings_rules import warnings
from topics.errors import ConfigurationFault
from topics.instants import parse_s
from topics.meters import Timing

CANARY = "sk_" + "test_canary0123456789"
MINIMAL = '[[meters]]\nslug = "api_calls"\nevent_type = "api.request"\n'
ITEM = '[[customers]]\nid = "acme"\n[[customers.items]]\nmeter = "api_calls"\nstripe_subscription_item = "si_1"\n'


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    """Settings of a file with this text."""
    path = tmp_path / "tidemark.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environment or {})


def faults(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Place → sentence of every fault of that text."""
    with pytest.raises(ConfigurationFault) as caught:
        load(tmp_path, text, environment)
    assert caught.value.exit_code == 2
    return {fault.place: f"{fault.problem}. {fault.remedy}" for fault in caught.value.faults}


def test_without_a_file_the_defaults_of_surfaces_hold() -> None:
    """No file and no environment give the defaults that SURFACES names."""
    settings = load_settings(None, {})
    assert (settings.kafka.bootstrap, settings.kafka.partitions, settings.kafka.replication, settings.kafka.min_insync) == ("localhost:9092", 4, 3, 2)
    assert settings.kafka.retention_ms == 7 * 86_400_000
    assert settings.timing.record() == Timing()
    assert (settings.stripe.api_base, settings.stripe.mode, settings.stripe.calls_per_second) == ("https://api.stripe.com", "usage_records", 80)


@pytest.mark.parametrize("text", [example_configuration(), built_in_configuration()], ids=["init", "built-in"])
def test_what_we_write_ourselves_is_right(tmp_path: Path, text: str) -> None:
    """The files that `init` and `up` write load without a fault and propose meters."""
    assert load(tmp_path, text).meters


def test_every_key_of_surfaces_is_taken(tmp_path: Path) -> None:
    """The example of SURFACES, with every key it names, means what it says."""
    text = (
        '[kafka]\nbootstrap = "b:1"\npartitions = 8\nreplication = 3\nmin_insync = 2\nretention = "2d"\n[clickhouse]\nurl = "http://c:8123"\n'
        '[stripe]\napi_base = "https://api.stripe.com"\nmode = "usage_records"\ncalls_per_second = 50\n'
        '[timing]\ndedup = "1d"\nhorizon = "2d"\nfuture = "1m"\nrevision_delay = "1s"\n'
        '[[meters]]\nslug = "api_calls"\nevent_type = "api.request"\nvalue = "count"\nwhere = { region = "eu", ok = true, n = 3 }\nwindow = "15m"\n'
        'grace = "1m"\nallow_negative = true\nstripe_price = "price_1"\n'
        + ITEM
        + 'period_anchor = "2026-11-03T10:23:45Z"\nperiod = "month"\nscale = 1\nfractions = "refuse"\nlate = "hold"\n'
    )
    settings = load(tmp_path, text)
    (meter,) = settings.meter_records()
    assert (meter.window_s, meter.grace_ms, meter.where, meter.allow_negative) == (900, 60_000, {"region": "eu", "ok": True, "n": 3}, True)
    (item,) = settings.customers[0].items
    assert (item.period_anchor_s, item.period, item.scale) == (parse_s("2026-11-03T10:23:45Z"), "month", "1")


def test_all_faults_are_said_at_once_with_place_and_remedy(tmp_path: Path) -> None:
    """Eleven faults in six sections are eleven sentences, and an unknown key names the nearest right one."""
    text = (
        '[kafka]\npartitons = 4\nreplication = 1\nretention = 7\n[stripe]\nmode = "metered"\n[timing]\ndedup = "0s"\n[metters]\nx = 1\n'
        '[[meters]]\nslug = "Api"\nevent_type = "api.request"\nwindow = "7s"\n[[meters]]\nevent_type = "api.request"\nwher = {}\n'
        '[[customers]]\nid = "acme"\n[[customers.items]]\nmeter = "nope"\nstripe_subscription_item = "si_1"\n'
        'late = "next_year"\nfractions = "carry"\n'
    )
    found = faults(tmp_path, text)
    assert "Did you mean 'partitions'?" in found["kafka.partitons"]
    assert "no duration" in found["kafka.retention"]
    assert "min_insync = 1" in found["kafka.min_insync"]
    assert "less than 1s" in found["timing.dedup"]
    assert "Did you mean 'meters'?" in found["metters"]
    assert "meters" in found["stripe.mode"]
    assert "missing" in found["meters[1].slug"]
    assert "Did you mean 'where'?" in found["meters[1].wher"]
    assert "nope" in found["customers[0].items[0].meter"]
    assert "next_period" in found["customers[0].items[0].late"]
    assert "ledger" in found["customers[0].items[0].fractions"]
    assert all(sentence.rstrip()[-1] in ".?!" for sentence in found.values())


def test_a_fault_in_one_key_of_an_item_hides_none_in_its_others(tmp_path: Path) -> None:
    """A wrong anchor does not keep an unknown meter and an unknown policy from being said in the same message."""
    path = tmp_path / "tidemark.toml"
    path.write_text(
        '[[meters]]\nslug = "a"\nevent_type = "x"\nwhere = { b = 1.5 }\n[[customers]]\nid = "acme"\n[[customers.items]]\nmeter = "nope"\n'
        'stripe_subscription_item = "si_1"\nperiod_anchor = "2026-11-03"\nlate = "next_year"\n'
    )
    with pytest.raises(ConfigurationFault) as caught:
        load_settings(path, {})
    item = "customers[0].items[0]"
    wanted = ["meters[0].where.b", f"{item}.period_anchor", f"{item}.late", f"{item}.meter"]
    assert [fault.place for fault in caught.value.faults] == wanted


@pytest.mark.parametrize(
    ("text", "place", "variable"),
    [
        (f'[stripe]\napi_key = "{CANARY}"\n', "stripe.api_key", "STRIPE_API_KEY"),
        (f'[stripe]\nwebhook_secret = "{CANARY}"\n', "stripe.webhook_secret", "STRIPE_WEBHOOK_SECRET"),
        (f'[clickhouse]\npassword = "{CANARY}"\n', "clickhouse.password", "TIDEMARK_CLICKHOUSE__PASSWORD"),
        (f'[clickhouse]\nurl = "http://me:{CANARY}@c:8123"\n', "clickhouse.url", "TIDEMARK_CLICKHOUSE__PASSWORD"),
        (f'[stripe]\napi_base = "{CANARY}"\n', "stripe.api_base", "STRIPE_API_KEY"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str, place: str, variable: str) -> None:
    """A secret in the file is a fault that names its place and the variable to use, and never shows the secret."""
    with pytest.raises(ConfigurationFault) as caught:
        load(tmp_path, text)
    found = str(caught.value)
    assert any(fault.place == place and variable in str(fault) for fault in caught.value.faults)
    assert CANARY not in str(found)


def test_a_secret_from_the_environment_is_in_no_message(tmp_path: Path) -> None:
    """Keys and passwords come from the environment, and neither repr nor a fault beside them shows one."""
    environment = {"STRIPE_API_KEY": CANARY, "TIDEMARK_CLICKHOUSE__PASSWORD": CANARY, "TIDEMARK_CLICKHOUSE__USER": "u"}
    settings = load(tmp_path, MINIMAL, environment)
    assert settings.stripe.api_key is not None
    assert settings.stripe.api_key.get_secret_value() == CANARY
    assert CANARY not in repr(settings)
    assert CANARY not in str(faults(tmp_path, "[kafka]\npartitions = 0\n", environment))


def test_the_environment_wins_over_the_file_and_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    """`TIDEMARK_<SECTION>__<NAME>` overrides a key; a wrong value is blamed on the variable, an empty one is none."""
    text = '[kafka]\nbootstrap = "file:1"\npartitions = 8\n'
    settings = load(tmp_path, text, {"TIDEMARK_KAFKA__BOOTSTRAP": "env:2", "TIDEMARK_KAFKA__PARTITIONS": "", "TIDEMARK_KAFKA__RETENTION": "1d"})
    assert (settings.kafka.bootstrap, settings.kafka.partitions, settings.kafka.retention_ms) == ("env:2", 8, 86_400_000)
    found = faults(tmp_path, text, {"TIDEMARK_KAFKA__PARTITIONS": "many", "TIDEMARK_KAFKA__BOTSTRAP": "x", "TIDEMARK_KAFFKA__X": "1"})
    assert "many" in found["TIDEMARK_KAFKA__PARTITIONS"]
    assert "bootstrap" in found["TIDEMARK_KAFKA__BOTSTRAP"]
    assert "kafka" in found["TIDEMARK_KAFFKA__…"]


def test_a_running_stack_wins_over_all(tmp_path: Path) -> None:
    """A stack's own addresses win over environment and file, so that an embedded stack never speaks to a real account."""
    path = tmp_path / "t.toml"
    path.write_text('[stripe]\napi_base = "https://api.stripe.com"\n')
    stack = {"stripe": {"api_base": "http://127.0.0.1:9"}, "kafka": {"replication": 1, "min_insync": 1}}
    settings = load_settings(path, {"TIDEMARK_STRIPE__API_BASE": "https://elsewhere"}, stack)
    assert settings.stripe.api_base == "http://127.0.0.1:9"
    assert settings.embedded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[kafka\n", "no TOML"),
        ("kafka = 3\n", "no section"),
        ("meters = 3\n", "no list"),
        ("[worker]\nname = 'x'\n", "who starts the worker"),
        (MINIMAL + MINIMAL, "2 times"),
        (MINIMAL + ITEM + ITEM.replace("acme", "other"), "overwrite each other"),
        (MINIMAL + ITEM + 'period_anchor = "2026-11-03T10:23:45"\n', "no RFC 3339 instant"),
        (MINIMAL + ITEM + "scale = 0\n", "report nothing"),
        (MINIMAL + 'window = "50m"\n', "divide a day"),
        (MINIMAL.replace("api.request", "tidemark.x"), "reserved"),
        ("[kafka]\npartitions = true\n", "no whole number"),
    ],
)
def test_each_wrong_configuration_is_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    """Each of these files is refused with words that say what is wrong with it."""
    assert words in " ".join(faults(tmp_path, text).values())


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """A configuration file that is not there names `tidemark init`."""
    with pytest.raises(ConfigurationFault, match="tidemark init"):
        load_settings(tmp_path / "nowhere.toml", {})


def test_one_copy_is_allowed_and_warned_about(tmp_path: Path) -> None:
    """Replication 1 is taken, and the warning says that it is not for money."""
    settings = load(tmp_path, "[kafka]\nreplication = 1\nmin_insync = 1\n")
    assert any("not for money" in warning for warning in warnings(settings))
