"""Reading and merging YAML: the fast and the plain loader agree, and properties of `merge`."""

from __future__ import annotations

import copy

import paths
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.yaml_files import FastLoader, StrictLoader, merge, read_yaml

LOADERS = pytest.mark.parametrize("loader", [FastLoader, StrictLoader])


@LOADERS
def test_numbers_without_a_dot(loader):
    text = "a: 1e-4\nb: -2.5E+3\nc: 3\nd: 1.2.3\ne: e5"
    assert yaml.load(text, loader) == {"a": 1e-4, "b": -2500.0, "c": 3, "d": "1.2.3", "e": "e5"}


@LOADERS
def test_a_key_given_twice_is_named_with_its_line(loader):
    with pytest.raises(ConfigError, match="line 3: key 'a' is given twice"):
        yaml.load("x:\n  a: 1\n  a: 2\n", loader)


def test_both_loaders_read_the_shipped_files_alike():
    for folder in ("configs", "experiments"):
        for file in sorted((paths.ROOT / folder).rglob("*.yaml")):
            text = file.read_text()
            assert yaml.load(text, FastLoader) == yaml.load(text, StrictLoader), file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n b: 2", r"line 2, column 3: b: 2 \^"),
        ("a: 1\nb: *here", r"undefined alias 'here'.* line 2"),
        ("a:\n\t- x", r"found character '\\t' .* line 2"),
        ("a: 1\n{b: 1}: 2", "line 2"),
    ],
)
def test_messages_give_the_line_and_quote_it(project, text, message):
    with pytest.raises(ConfigError, match=rf"a\.yaml is not valid YAML: .*{message}"):
        read_yaml(project.write("a.yaml", text))


KEYS = st.sampled_from("abc")
LEAVES = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
MAPPINGS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(KEYS, LEAVES | inner, max_size=3),
    max_leaves=8,
)
"""Nested mappings in which a key may hold a mapping in one layer and another value in the next."""
SAME_TYPES = st.fixed_dictionaries(
    {},
    optional={
        "a": LEAVES,
        "b": st.dictionaries(KEYS, LEAVES, max_size=3),
        "c": st.fixed_dictionaries({}, optional={"a": LEAVES, "b": st.dictionaries(KEYS, LEAVES)}),
    },
)
"""Mappings in which every key holds a mapping in all layers, or in none."""
few = settings(max_examples=50, deadline=None)


@few
@given(SAME_TYPES, SAME_TYPES, SAME_TYPES)
def test_merging_is_associative_where_types_agree(first, second, third):
    together = merge(first, second, third)
    assert merge(merge(first, second), third) == together
    assert merge(first, merge(second, third)) == together


@few
@given(MAPPINGS, MAPPINGS)
def test_the_later_layer_wins(first, second):
    def check(first: dict, second: dict, merged: dict) -> None:
        assert merged.keys() == first.keys() | second.keys()
        for key, value in merged.items():
            if key not in second:
                assert value == first[key]
            elif isinstance(first.get(key), dict) and isinstance(second[key], dict):
                check(first[key], second[key], value)
            else:
                assert value == second[key]

    check(first, second, merge(first, second))


@few
@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_merging_changes_no_layer(first, second, third):
    before = copy.deepcopy((first, second, third))
    merge(first, second, third)
    assert (first, second, third) == before


@few
@given(MAPPINGS)
def test_an_empty_layer_changes_nothing(layer):
    assert merge(layer, {}) == merge({}, layer) == merge(layer, layer) == merge(layer) == layer
