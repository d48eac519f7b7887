import pytest

from benchmark.errors import UserError
from benchmark.models import build, capabilities, code_hash, load_factory
from benchmark.spec import DataSpec
from zoo.ppca import PPCA

PLANE = DataSpec((2,))


def written(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return str(path)


def test_a_users_file_and_an_installed_module_go_through_the_same_door(tmp_path):
    path = written(
        tmp_path,
        "class Mine:\n    def __init__(self, spec): pass\n    def sample(self, n): pass\n",
    )
    assert build(f"{path}:Mine", PLANE, {}).spec == PLANE
    assert load_factory("zoo.ppca:PPCA") is PPCA


def test_capabilities_are_the_methods_that_are_there():
    assert capabilities(PPCA(PLANE)) == ["sample", "log_prob", "prior, decode", "encode", "fit"]


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        ("class Mine: pass", "Mien", "no model in .* named 'Mien'; did you mean 'Mine'"),
        ("import nowhere", "Mine", "fails to import: ModuleNotFoundError"),
        ("Mine = 3", "Mine", "is no class or function but int"),
        (
            "class Mine:\n    def __init__(self, spec, width): pass",
            "Mine",
            "cannot be built .*'width'",
        ),
        ("class Mine:\n    def __init__(self, spec): pass", "Mine", r"has no method sample\(n\)"),
    ],
)
def test_each_mistake_in_a_users_file_is_one_line(tmp_path, text, name, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        build(f"{written(tmp_path, text)}:{name}", PLANE, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["zoo.ppca", "nowhere.py:Mine", "zoo.nothing:Mine", ":Mine"])
def test_a_path_that_leads_nowhere_is_one_line(path):
    with pytest.raises(UserError):
        load_factory(path)


def test_an_edited_file_counts_as_another_model(tmp_path):
    before = code_hash(written(tmp_path, "a = 1") + ":Mine")
    assert before != code_hash(written(tmp_path, "a = 2") + ":Mine")
    assert code_hash("zoo.ppca:PPCA") not in (None, code_hash("zoo.gmm:gmm"))
    assert code_hash("zoo.nothing:Mine") is code_hash("nowhere.py:Mine") is None


def test_code_is_also_what_the_model_imports_of_its_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "family"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text("from family.sums import total\n")
    (package / "model.py").write_text("from family.losses import total\n\nMine = total\n")

    def hashed(sums):
        (package / "sums.py").write_text(sums)
        return code_hash("family.model:Mine")

    assert hashed("total = sum") != hashed("total = max")
