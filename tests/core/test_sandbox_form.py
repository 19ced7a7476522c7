"""The sandbox reads Stripe's form encoding and refuses what Stripe refuses, in Stripe's words."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox import form, specs
from infra.sandbox.errors import ApiError
from infra.sandbox.form import Tree
from infra.sandbox.params import Metadata, Spec, validate

NAMES = st.text(st.characters(exclude_characters="[]", codec="utf-8"), min_size=1, max_size=8)
TREES = st.recursive(st.text(max_size=8), lambda children: st.dictionaries(NAMES, children, min_size=1, max_size=3), max_leaves=8)


def _pairs(tree: Any, prefix: str = "") -> list[tuple[str, str]]:
    """The inverse of decoding, written independently of it."""
    if isinstance(tree, str):
        return [(prefix, tree)]
    return [pair for name, child in tree.items() for pair in _pairs(child, f"{prefix}[{name}]" if prefix else name)]


def _refusal(spec: Spec, text: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        validate(spec, form.decode(text))
    return caught.value


@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_every_tree_survives_the_form(tree: Tree) -> None:
    """Whatever tree is written as a form is read back as the same tree."""
    assert form.decode(urlencode(_pairs(tree))) == tree


def test_empty_brackets_append() -> None:
    """`a[]=x` appends to a list, as the older client libraries write it."""
    assert validate({"expand": specs.EXPAND["expand"]}, form.decode("expand[]=a&expand[]=b")) == {"expand": ["a", "b"]}


def test_array_order_is_the_index() -> None:
    """The entries of a list come in the order of their indices, whatever order the form had."""
    read = validate({"expand": specs.EXPAND["expand"]}, form.decode("expand[10]=c&expand[2]=b&expand[0]=a"))
    assert read["expand"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text", ["[a]=1", "a[b=1", "a]b=1", "a[b]c=1", "a=1&a[b]=2", "a[b]=1&a=2", "a[b]=1&a[b][c]=2", "%ff=1", "a" + "[b]" * 9 + "=1"]
)
def test_unreadable_forms_are_refused(text: str) -> None:
    """A form that cannot be read is a 400, never a crash and never half read."""
    with pytest.raises(ApiError) as caught:
        form.decode(text)
    assert caught.value.status == 400


@given(st.text(max_size=60))
def test_no_text_crashes_the_form(text: str) -> None:
    """Any text is either a tree or a 400."""
    status = 200
    try:
        form.decode(text)
    except ApiError as error:
        status = error.status
    assert status in {200, 400}


@pytest.mark.parametrize(
    ("spec", "text", "code", "param", "message"),
    [
        (specs.USAGE_CREATE, "quantity=1&foo=2", "parameter_unknown", "foo", "Received unknown parameter: foo"),
        (specs.USAGE_CREATE, "quantity=1&foo=2&bar=3", "parameter_unknown", "foo", "Received unknown parameters: foo, bar"),
        (specs.USAGE_CREATE, "quantity=1&subscription_item=si_1", "parameter_unknown", "subscription_item", None),
        (specs.USAGE_CREATE, "timestamp=1", "parameter_missing", "quantity", "Missing required param: quantity."),
        (specs.USAGE_CREATE, "quantity=1.5", "parameter_invalid_integer", "quantity", "Invalid integer: 1.5"),
        (specs.USAGE_CREATE, "quantity=1e3", "parameter_invalid_integer", "quantity", "Invalid integer: 1e3"),
        (specs.USAGE_CREATE, "quantity=NaN", "parameter_invalid_integer", "quantity", "Invalid integer: NaN"),
        (specs.USAGE_CREATE, "quantity=-1", "parameter_invalid_integer", "quantity", "This value must be greater than or equal to 0."),
        (specs.USAGE_CREATE, f"quantity={2**63}", "parameter_invalid_integer", "quantity", None),
        (specs.USAGE_CREATE, "quantity=", "parameter_invalid_empty", "quantity", None),
        (specs.USAGE_CREATE, "quantity=1&action=add", None, "action", None),
        (specs.USAGE_CREATE, "quantity=1&timestamp=1700000000000", "parameter_invalid_integer", "timestamp", None),
        (specs.USAGE_CREATE, "quantity[a]=1", None, "quantity", None),
        (specs.SUMMARY_LIST, "limit=0", "parameter_invalid_integer", "limit", "This value must be greater than or equal to 1."),
        (specs.SUMMARY_LIST, "limit=101", "parameter_invalid_integer", "limit", "This value must be less than or equal to 100."),
        (specs.SUBSCRIPTION_CREATE, "customer=c&items[0][price]=p&items[0][foo]=1", "parameter_unknown", "items[0][foo]", None),
        (specs.SUBSCRIPTION_CREATE, "customer=c&items[0][quantity]=1", "parameter_missing", "items[0][price]", None),
        (specs.SUBSCRIPTION_CREATE, "customer=c&items=x", None, "items", None),
        (specs.PRICE_CREATE, "currency=usd&recurring[interval]=hour", None, "recurring[interval]", None),
        (specs.PRODUCT_CREATE, "name=a&active=yes", None, "active", None),
        (specs.PRODUCT_CREATE, "name=a&metadata=x", None, "metadata", None),
        (specs.PRODUCT_CREATE, "name=a&metadata[" + "k" * 41 + "]=x", None, "metadata", None),
        (specs.PRODUCT_CREATE, "name=a&metadata[k]=" + "x" * 501, None, "metadata[k]", None),
    ],
)
def test_refused_parameters(spec: Spec, text: str, code: str | None, param: str, message: str | None) -> None:
    """Each kind of wrong parameter is refused with Stripe's code and the parameter's full name, and with its words where they are known."""
    error = _refusal(spec, text)
    assert (error.status, error.kind, error.code, error.param) == (400, "invalid_request_error", code, param)
    assert message is None or error.message == message


def test_now_is_a_timestamp_of_usage_only() -> None:
    """`timestamp=now` is read as the clock's instant, which no other timestamp offers."""
    assert validate(specs.USAGE_CREATE, form.decode("quantity=0&timestamp=now")) == {"quantity": 0, "timestamp": None}
    assert _refusal(specs.SUBSCRIPTION_CREATE, "customer=c&items[0][price]=p&backdate_start_date=now").param == "backdate_start_date"


def test_an_empty_value_unsets_what_can_be_unset() -> None:
    """An empty string unsets a description or all metadata, as in Stripe's updates."""
    assert validate(specs.PRODUCT_UPDATE, form.decode("description=&metadata=")) == {"description": None, "metadata": None}


def test_metadata_keeps_at_most_fifty_keys() -> None:
    """Fifty keys of metadata are taken, the fifty-first is refused."""
    fifty = {f"k{n}": "v" for n in range(50)}
    assert len(Metadata().read({**fifty}, "metadata")) == 50
    with pytest.raises(ApiError):
        Metadata().read({**fifty, "k50": "v"}, "metadata")
