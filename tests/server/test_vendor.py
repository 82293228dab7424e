"""Plotly's script as it is served: of the installed wheel, with the traces that are drawn here registered first."""

from __future__ import annotations

import re

import pytest

from pages.board.vendor import FIRST, PLOTLY, quick

WRAP = "(function(root, factory) {root.Plotly = factory();} (typeof self !== 'u' ? self : this, () => {\n%s\n}));\n"


@pytest.fixture(scope="module")
def script() -> str:
    return PLOTLY.read_text(encoding="utf-8")


def test_the_installed_script_registers_what_is_drawn_here_first(script: str) -> None:
    made = quick(script)
    assert made != script, "Plotly's script has changed: each tab would spend a second on traces that nothing draws"
    first, rest = re.findall(r"\.register\(\[([^\]]+)\]\)", made)
    (all_of_them,) = re.findall(r"\.register\(\[([^\]]+)\]\)", script)
    assert len(first.split(",")) == len(FIRST)
    assert sorted([*first.split(","), *rest.split(",")]) == sorted(all_of_them.split(","))
    assert abs(len(made) - len(script)) < 200


def test_a_script_that_is_built_otherwise_is_served_as_it_is(script: str) -> None:
    unnamed = script.replace('name:"heatmap"', 'name:"x"')
    for other in ("", "window.Plotly = {}", WRAP % "L.register([A(),B()])", unnamed):
        assert quick(other) == other


def test_only_the_registration_and_two_brackets_differ() -> None:
    one = 'var A=W((e,t)=>{t.exports={moduleType:"trace",name:"bar"}});'
    two = 'var B=W((e,t)=>{t.exports=C()});var C=W((e,t)=>{t.exports={moduleType:"trace",name:"heatmap"}});'
    plain = WRAP % f"{one}{two}L.register([A(),B()]);return L"
    registered = "L.register([B()]),L.registerRest=()=>{L.register([A()]);L.registerRest=null}"
    bracketed = plain.replace("this, () => {", "this, (() => {").replace("\n}));", "\n})));")
    assert quick(plain) == bracketed.replace("L.register([A(),B()])", registered)
