"""Calls grouped by family, and the tree of legs behind it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.call import Call
from callctl.calls.family import FamilyTree, ancestors, families_of, parents_first


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


def test_the_legs_above_a_leg_are_its_parent_first() -> None:
    parents = {"CA3": "CA2", "CA2": "CA1"}
    assert ancestors("CA3", parents.get) == ("CA2", "CA1")
    assert ancestors("CA1", parents.get) == ()


def test_legs_that_are_each_others_parents_have_none_above_them() -> None:
    parents = {"CA1": "CA2", "CA2": "CA1", "CA3": "CA1", "CA4": "CA4"}
    assert [ancestors(sid, parents.get) for sid in parents] == [(), (), ("CA1", "CA2"), ()]


def test_parents_come_before_their_children_however_deep_and_each_leg_once() -> None:
    parents = {"CA2": "CA1", "CA3": "CA2", "CA5": "CA4"}
    named = ["CA3", "CA5", "CA2", "CA1", "CA4", "CA6", "CA3"]
    assert parents_first(named, parents.get) == [["CA1", "CA4", "CA6"], ["CA5", "CA2"], ["CA3"]]


def test_of_a_leg_whose_parent_is_not_named_the_one_further_up_comes_first() -> None:
    parents = {"CA2": "CA1", "CA3": "CA2"}
    assert parents_first(["CA3", "CA1"], parents.get) == [["CA1"], ["CA3"]]
    assert parents_first(["CA3"], parents.get) == [["CA3"]]


_SIDS = st.sampled_from([f"CA{number}" for number in range(8)])


@given(named=st.lists(_SIDS), parents=st.dictionaries(_SIDS, _SIDS))
def test_a_leg_comes_after_all_above_it_whatever_parents_are_reported(
    named: list[str], parents: dict[str, str]
) -> None:
    groups = parents_first(named, parents.get)
    assert sorted(sid for group in groups for sid in group) == sorted(set(named))
    place = {sid: number for number, group in enumerate(groups) for sid in group}
    for sid in place:
        assert all(place[above] < place[sid] for above in ancestors(sid, parents.get) if above in place)
