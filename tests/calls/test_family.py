"""Calls grouped by family, and the tree of legs behind it."""

from __future__ import annotations

from callctl.calls.call import Call
from callctl.calls.family import FamilyTree, families_of


def call(sid: str, parent: str | None = None) -> Call:
    return Call(sid, "completed", parent_call_sid=parent)


def test_a_family_stands_where_its_newest_leg_stood_and_its_first_child_comes_first() -> None:
    families = families_of([call("CA5", "CA1"), call("CA4"), call("CA3", "CA1"), call("CA1")])
    assert [family.sid for family in families] == ["CA1", "CA4"]
    assert [leg.sid for leg in families[0].legs] == ["CA1", "CA3", "CA5"]


def test_children_of_a_parent_that_is_not_listed_are_a_family() -> None:
    (family,) = families_of([call("CA3", "CA1"), call("CA2", "CA1")])
    assert (family.sid, family.parent) == ("CA1", None)
    assert [leg.sid for leg in family.legs] == ["CA2", "CA3"]


def test_a_leg_that_a_child_dialled_is_in_a_family_of_its_own() -> None:
    families = families_of([call("CA3", "CA2"), call("CA2", "CA1"), call("CA1")])
    assert [[leg.sid for leg in family.legs] for family in families] == [["CA3"], ["CA1", "CA2"]]


def test_a_call_that_is_its_own_parent_is_a_parent() -> None:
    (family,) = families_of([call("CA1", "CA1")])
    assert family.parent == call("CA1", "CA1")


def test_a_tree_joins_families_when_a_parent_becomes_known() -> None:
    tree = FamilyTree()
    assert tree.place("CA3", "CA2") == {"CA2"}
    assert tree.place("CA1", None) == {"CA1"}
    assert tree.place("CA2", "CA1") == {"CA1", "CA2"}
    assert set(tree.members("CA1")) == {"CA1", "CA2", "CA3"}
    assert set(tree.members("CA2")) == set()


def test_a_leg_that_is_removed_leaves_its_family() -> None:
    tree = FamilyTree()
    tree.place("CA1", None)
    tree.place("CA2", "CA1")
    tree.remove("CA2")
    assert list(tree.members("CA1")) == ["CA1"]


def test_legs_that_are_each_others_parents_are_one_family() -> None:
    tree = FamilyTree()
    for sid, parent in (("CA2", "CA3"), ("CA3", "CA1"), ("CA1", "CA2")):
        tree.place(sid, parent)
    assert set(tree.members("CA1")) == {"CA1", "CA2", "CA3"}
