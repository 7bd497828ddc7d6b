"""SynthHeads-10: ten frozen recipes that today's code can build, and published hashes that are compared."""

import json

from recon.synth.datasets import named
from recon.synth.hair.build import Growth
from recon.synth.hair.styles import SHORT_FAMILIES
from recon.synth.model.identity import Identity, split_of_identity

PEOPLE = {
    "aldo": "bald",
    "bela": "buzz",
    "chen": "short",
    "dirk": "side_parted",
    "emre": "swept_back",
    "fara": "long",
    "gina": "curly",
    "hana": "bob",
    "imani": "afro",
    "jana": "ponytail",
}


def test_the_ten_are_there_and_belong_to_the_test_split():
    recipes = named.named_recipes()
    assert [recipe["name"] for recipe in recipes] == list(PEOPLE)
    families = ["bald" if recipe["hair"] is None else recipe["hair"]["style"]["family"] for recipe in recipes]
    assert families == list(PEOPLE.values())
    assert sum(name in SHORT_FAMILIES for name in families) == 5
    for recipe in recipes:
        assert recipe["split"] == "test"
        assert split_of_identity(Identity.from_recipe(recipe["identity"])) == "test"
        if recipe["hair"] is not None:
            again = Growth.from_recipe(recipe["hair"]).recipe()
            assert json.loads(json.dumps(again)) == recipe["hair"]
    melanin = [recipe["person"]["melanin"] for recipe in recipes]
    ages = [recipe["person"]["age_years"] for recipe in recipes]
    assert min(melanin) < 0.15 and max(melanin) > 0.8 and min(ages) < 25 and max(ages) > 60


def test_differing_files_are_named(tmp_path, monkeypatch):
    published = {"scenes": {"ann": {"key": "k", "files": {"a": "1", "b": "2"}}}}
    monkeypatch.setattr(named, "MANIFEST", tmp_path / "m.json")
    assert named.differing_files({}) is None
    named.MANIFEST.write_text(json.dumps(published))
    assert named.differing_files({"ann": {"key": "other", "files": {}}}) is None
    assert named.differing_files({"ann": {"key": "k", "files": {"a": "1", "b": "2"}}}) == {"ann": []}
    assert named.differing_files({"ann": {"key": "k", "files": {"a": "1", "b": "9"}}}) == {"ann": ["b"]}
