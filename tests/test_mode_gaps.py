from dataclasses import replace

import pytest
from factories import cell, result

from benchmark.report.files import csv_table, markdown_table
from benchmark.report.mode_gaps import mode_gaps
from benchmark.report.tables import build_tables

WEIGHTS = [0.89, 0.1, 0.01]


def gaps(model, seed, values, examples=(890, 100, 10), meaning="exact"):
    found = result("worst_mode_gap", max(v for v in values if v is not None), meaning=meaning)
    details = {"gaps": values, "examples": [*examples], "weights": WEIGHTS, "overall": 0.1}
    return cell("ring", model, seed, [replace(found, details=details)])


def test_the_gap_of_every_mode_is_averaged_over_seeds_and_keeps_its_sign():
    cells = [gaps("gmm", 0, [0.1, 0.2, 3.0]), gaps("gmm", 1, [0.3, 0.2, 5.0])]
    cells += [gaps("vae", seed, [0.5, 0.6, 7.0], meaning="sandwich") for seed in (0, 1)]
    found = mode_gaps(cells, ())
    assert [column.head for column in found.columns] == [
        "Mode 1 ↓ (nats, weight 0.89)",
        "Mode 2 ↓ (nats, weight 0.1)",
        "Mode 3 ↓ (nats, weight 0.01)",
    ]
    assert [entry.mean for entry in found.entries["gmm"]] == pytest.approx([0.2, 0.2, 4.0])
    assert found.entries["gmm"][2].spread == pytest.approx(2**0.5)
    assert [found.columns[2].text(found.entries[model][2]) for model in ("gmm", "vae")] == [
        "4.00 ± 1.41",
        "≈ 7.00 ± 0.00",
    ]


def test_modes_with_few_examples_or_none_say_so():
    few = gaps("vae", 0, [0.5, 0.6, None], examples=(98, 2, 0))
    (table,) = [t for t in build_tables("ring", [few], ()) if t.name == "mode_gaps"]
    text = markdown_table(table)
    assert "0.60 [a] | — [b]" in " ".join(text.split())
    assert "- a: from 2 test examples\n- b: no test example of this mode" in text
    assert "mode_2: from 2 test examples" in csv_table(table)


def test_a_seed_without_gaps_is_missing_and_a_model_without_any_has_no_row():
    cells = [gaps("gmm", 0, [0.1, 0.2, 3.0]), cell("ring", "gmm", 1, failure="out of memory")]
    cells += [cell("ring", "gan", 0, [result("worst_mode_gap", reason="samples only")])]
    found = mode_gaps(cells, ())
    assert list(found.entries) == ["gmm"]
    assert (found.entries["gmm"][0].measured, found.entries["gmm"][0].seeds) == (1, 2)
    assert mode_gaps(cells[1:], ()) is None
    before = replace(cells[0].results[0], details={"gaps": [1.0], "examples": [3]})
    assert mode_gaps([replace(cells[0], results=(before,))], ()) is None
