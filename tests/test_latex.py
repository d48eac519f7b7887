import re
import shutil
import subprocess

import pytest
from factories import MODELS, cell, full_suite, result

from benchmark.report.latex import latex_table
from benchmark.report.tables import build_table, build_tables

ARTICLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs}
\begin{document}
\input{table}
\end{document}
"""


def nasty_table(kind):
    nasty = cell("digits", "my_model", 0, failure="50% of $x_i$ & {y} ~ #1 \\ é → 日 ^2")
    return build_table(kind, "digits", [*full_suite(("digits",)), nasty], MODELS)


def tabulars(text):
    return text.split(r"\begin{tabular}")[1:]


def large_table():
    """Four columns of 36 models, each with a reason of its own for the values it lacks."""
    metrics = ("fid", "kid", "precision", "recall")
    cells = [
        cell("digits", f"model_{number}", seed, [result(m, 1234.5678) for m in metrics])
        for number in range(36)
        for seed in (0, 1)
    ]
    cells += [
        cell("digits", f"model_{number}", 2, failure=f"it ended in the year {1900 + number}")
        for number in range(36)
    ]
    return build_table("samples", "digits", cells, [f"model_{number}" for number in range(36)])


@pytest.mark.parametrize("kind", ["likelihood", "bounds", "samples", "cost"])
def test_it_is_balanced_and_plain(kind):
    text = latex_table(nasty_table(kind))
    body = re.sub(r"\\[\\%&$#_{}]", "", text.split("\n", 1)[1])
    assert body.count("{") == body.count("}")
    assert body.count("$") % 2 == 0
    assert "%" not in body
    assert "#" not in body
    assert all(ord(character) < 256 for character in text)
    open_now = []
    for what, name in re.findall(r"\\(begin|end){(\w+)}", text):
        if what == "begin":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert not open_now
    for tabular in tabulars(body):
        counts = {line.count("&") for line in tabular.splitlines() if "&" in line}
        assert counts == {re.match("{l(r+)}", tabular)[1].count("r")}


def test_columns_beyond_a_page_go_on_below_with_every_row():
    table = build_table("likelihood", "digits", full_suite(("digits",)), MODELS)
    parts = tabulars(latex_table(table))
    assert len(parts) > 1
    shown = [re.match("{l(r+)}", part)[1].count("r") for part in parts]
    assert sum(shown) == len(table.columns)
    for part in parts:
        assert all(part.count(f"\n{model} ") == 1 for model in ("vae", "gmm"))


def test_what_is_beyond_a_page_goes_on_in_a_table_of_the_same_number():
    text = latex_table(large_table())
    first, *others = text.split(r"\begin{table}")[1:]
    assert others
    for continued in (r"\addtocounter{table}{-1}", r"\caption{Continued.}"):
        assert continued not in first
        assert all(continued in each for each in others)
    assert all(f"year {1900 + number}" in text for number in range(36))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX is installed here")
@pytest.mark.parametrize("which", ["nasty", "large", "suite"])
def test_a_standard_class_sets_it_within_its_margins(which, tmp_path):
    tables = {
        "nasty": lambda: [nasty_table("likelihood"), nasty_table("cost")],
        "large": lambda: [large_table()],
        "suite": lambda: [
            table
            for name in ("ring", "digits")
            for table in build_tables(name, full_suite((name,)), MODELS)
            if table.columns
        ],
    }[which]()
    (tmp_path / "table.tex").write_text("\n".join(map(latex_table, tables)), encoding="utf-8")
    (tmp_path / "article.tex").write_text(ARTICLE, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2_000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout
