"""The command line: what may be asked, and how mistakes are answered."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from benchmark.errors import UserError

app = typer.Typer(
    name="benchmark",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Which generative model is better, in which sense, and how sure can one be?\n\n"
    "Trains a zoo of GANs, VAEs and autoregressive models, measures each by likelihood, sample "
    "quality, mode coverage and cost, and writes tables with an error, a floor and a ceiling "
    "beside every number.\n\n"
    "Start with `python -m benchmark all`: it needs no network and no GPU, ends in about "
    "half an hour on two cores and leaves its tables in reports/quick. Then bring your own model "
    "(`check`, `all --model`) or your own samples (`score`).",
)

DataRoot = Annotated[
    Path | None,
    typer.Option(
        envvar="BENCHMARK_DATA",
        metavar="DIR",
        help="Folder that holds (or is to hold) torchvision's MNIST, FashionMNIST and "
        "cifar-10-batches-py.",
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="Results, tables and figures go to DIR/SUITE.")
]
InceptionWeights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="torch-fidelity's Inception weights, for RGB images where they can't be downloaded.",
    ),
]


@app.command("all")
def all_command(
    suite: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="A suite (see `list suites`), or a TOML file of your own."
        ),
    ] = "quick",
    models: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Only these models of the suite, as in `vae,gan`."),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Only these data sets, as in `ring,digits`; a path is your own."
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS", help="Training seeds, as in `0,1,2`; else the suite's own."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE:CLASS",
            help="Add a model of your own, `my_model.py:MyModel`; repeatable.",
        ),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(metavar="FRACTION", help="Of every training length: 0.05 is a quick look."),
    ] = 1.0,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Samples each model gives to the sample metrics; else the suite's own.",
        ),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Test examples likelihoods are averaged over; else the suite's own."
        ),
    ] = None,
    reference: Annotated[
        Literal["test", "train"],
        typer.Option(
            metavar="SPLIT",
            help="Compared with by sample metrics: test, or train (as published for CIFAR-10).",
        ),
    ] = "test",
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu or cuda; auto takes a GPU.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="Of training: 32-true, or bf16-mixed on a GPU.")
    ] = "32-true",
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Cells that run side by side; else one a core."),
    ] = None,
    together: Annotated[
        bool | None,
        typer.Option(
            "--together/--apart",
            help="Train the seeds of a model as one batched model, or each alone; else together "
            "on a GPU, and on a CPU where the suite says so.",
            show_default=False,
        ),
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Take stored results as they are, even those of another machine."
        ),
    ] = False,
    data_root: DataRoot = None,
    inception_weights: InceptionWeights = None,
    out: Out = Path("reports"),
    runs: Annotated[
        Path, typer.Option(metavar="DIR", help="Checkpoints and samples go to DIR/SUITE.")
    ] = Path("runs"),
) -> None:
    """Train the models, measure them and write the tables.

    Each cell (data set x model x seed) is stored as it ends. Stop the program at any moment and
    give the same command again: it goes on where it was and ends with the same numbers. When
    everything is there, nothing is trained or measured again. Results that came with a clone
    are measured anew here, unless `--reuse` takes them as they are.

    Examples:
    * `python -m benchmark all` runs the quick suite.

    * `python -m benchmark all --datasets digits --models vae,pixelcnn_pp --seeds 0`

    * `python -m benchmark all --reuse --model my_model.py:MyModel` adds your model as a row to
    the results that are there.

    * `python -m benchmark all --suite mnist --data-root DIR --budget 0.01 --samples 500`

    Exit status: 0 when every cell was measured, 1 when some failed (the others are in the
    tables), 2 when the command itself can't be carried out.
    """
    from benchmark.job import run_suite
    from benchmark.planning import Options
    from benchmark.suite import load_suite

    if precision not in ("32-true", "bf16-mixed"):
        raise UserError(f"no precision named {precision!r}; known: 32-true, bf16-mixed")
    whole = load_suite(suite)
    chosen = whole.narrowed(_names(models), _names(datasets), _numbers(seeds, "--seeds"))
    for factory in model or []:
        chosen = chosen.with_model(factory)
    options = Options(
        budget=budget,
        samples=samples,
        examples=examples,
        reference=reference,
        device=device,
        precision=precision,
        data_root=data_root,
        inception_weights=inception_weights,
        out=out,
        runs=runs,
        reuse=reuse,
        together=together,
    )
    order = [entry.name for entry in whole.models]
    console = Console(highlight=False)
    failed = run_suite(chosen, order, options, workers, console)
    for outcome in failed:
        identity = outcome.plan.identity
        name = f"{identity.dataset} {identity.model} seed {identity.seed}"
        typer.echo(f"failed: {name}: {outcome.failure}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def report(
    suite: Annotated[str, typer.Option(metavar="NAME", help="Name of the suite.")] = "quick",
    out: Out = Path("reports"),
) -> None:
    """Write tables, figures and page again, from the stored results alone.

    Nothing is trained or measured, and the same results give the same files, byte for byte:
    Markdown, CSV and LaTeX tables, results.csv (every value, one a row), figures, and
    index.html, which needs no network to be read.
    """
    from benchmark.job import report_suite

    report_suite(out / Path(suite).stem, Console(highlight=False))
    typer.echo(f"Tables, figures and page: {out / Path(suite).stem}")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A model of the suite's results.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    suite: Annotated[str, typer.Option(metavar="NAME", help="Name of the suite.")] = "quick",
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this data set; else all there are.")
    ] = None,
    out: Out = Path("reports"),
) -> None:
    """Say which of two models is better, in every metric and on the same real data.

    From stored results alone: for each metric the mean difference with a 95 % interval, a
    p-value corrected for the number of metrics, and a verdict: one of the two, or undecided.
    Likelihoods are compared on the same test examples, sample metrics on the same random halves
    of the real data. Where a value is a bound, the interval holds how far below it the truth
    may lie.

    Example: `python -m benchmark compare pixelcnn_pp gmm`
    """
    from benchmark.compare import comparison_text

    typer.echo(comparison_text(out / Path(suite).stem, first, second, data))


@app.command("list")
def list_command(
    what: Annotated[
        Literal["models", "metrics", "data", "suites"] | None,
        typer.Argument(help="models, metrics, data or suites; all four if not given."),
    ] = None,
    suite: Annotated[
        str, typer.Option(metavar="NAME", help="The suite whose models are listed.")
    ] = "quick",
) -> None:
    """List the models, metrics, data sets and suites there are."""
    from benchmark.listing import print_listing

    print_listing(what, suite, Console(highlight=False))


@app.command()
def check(
    model: Annotated[
        str, typer.Argument(metavar="FILE:CLASS", help="As in `my_model.py:MyModel`.")
    ],
    data: Annotated[
        str, typer.Option(metavar="NAME", help="The data set whose shape it is built for.")
    ] = ("digits"),
    data_root: DataRoot = None,
) -> None:
    """Say what a model can do, and whether it keeps its promises.

    Builds the model for the data set and, where it can be built, for a space small enough to
    enumerate; trains it for a moment; then looks at shapes, range, dtype, repeatability under a
    seed, and whether densities sum or integrate to one. Exit status 1 if a promise is broken.
    """
    from benchmark.conformance import check_model
    from benchmark.listing import print_checks

    checks = check_model(model, data, data_root)
    print_checks(model, checks, Console(highlight=False))
    if any(item.kept is False for item in checks):
        raise typer.Exit(1)


@app.command()
def score(
    samples: Annotated[
        Path, typer.Argument(metavar="PATH", help="An .npz file or a folder of PNG files.")
    ],
    data: Annotated[
        str, typer.Option(metavar="NAME", help="The data set that the samples imitate.")
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER", help="Other samples, to be compared with these metric by metric."
        ),
    ] = None,
    data_root: DataRoot = None,
    inception_weights: InceptionWeights = None,
) -> None:
    """Measure samples alone, beside the floors and ceilings at the same sample count.

    An .npz file holds `images` (integers, NHWC or NCHW) or, for 2-D toys, `points`. PNG files
    hold grey levels as they are: 0 to 16 for digits.

    Example: `python -m benchmark score mine.npz --data digits --against theirs.npz`
    """
    from benchmark.scoring import score_samples

    console = Console(highlight=False)
    score_samples(samples, data, data_root, inception_weights, console, against)


@app.command()
def speed(
    what: Annotated[
        Literal["ais", "metrics", "sampling", "training"],
        typer.Argument(
            help="ais: annealed importance sampling; metrics: of samples; sampling: of images; "
            "training: of PixelCNN++."
        ),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Of metrics or models, only these, as in `frechet,kid`; leaves no file.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto, cpu or cuda; metrics are timed on the processor.",
        ),
    ] = "auto",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The table goes there, as JSON and Markdown.")
    ] = Path("reports/speed"),
) -> None:
    """Measure what a computation costs here, as a ratio to another way of doing it.

    Both run in turn in one process, and medians are compared. `ais` against its plain form takes
    about twelve minutes on two cores, nearly all of them the plain form's; `metrics` against
    torch-fidelity, prdc and POT about six; `sampling` from autoregressive models against running
    the whole network for every pixel, a minute of it for each model, about six; `training` of
    PixelCNN++ against a plain loop about three. The last line is JSON.
    """
    console = Console(highlight=False)
    if what == "metrics":
        from benchmark.speed.metrics import speed_metrics

        speed_metrics(console, out, _names(only))
        return
    import torch

    from benchmark.planning import resolve_device

    place = torch.device(resolve_device(device))
    if what == "sampling":
        from benchmark.speed.sampling import speed_sampling

        speed_sampling(console, place, out, _names(only))
        return
    if what == "training":
        from benchmark.speed.training import speed_training

        speed_training(console, place, out, _names(only))
        return
    from benchmark.speed.ais import speed_ais

    speed_ais(console, place, out)


@app.command()
def calibrate(
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Only these studies, as in `fid,nn_p`; leaves no tables."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; else one a core.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Tables, figure and repeats go there.")
    ] = Path("reports/calibration"),
) -> None:
    """Find out by simulation whether error bars, p-values and verdicts keep their promises.

    P-values between equal populations are compared with the uniform distribution, 95 % intervals
    are counted that hold a known value, and verdicts that `compare` gives between a model and
    itself. About seventeen minutes on two cores. Stop at any moment: the same command goes on from
    there. Exit status 1 if a promise is broken.
    """
    from benchmark.calibration.calibrate import calibrate as run_studies

    if not run_studies(Console(highlight=False), out, _names(only), workers).hold:
        raise typer.Exit(1)


# Typer's own word for a wrong option, whichever click it was built with.
_UsageError: Any = typer.BadParameter.__bases__[0]


def run() -> None:
    """Runs the command line; a user's mistake is one line and exit status 2."""
    try:
        raise SystemExit(app(standalone_mode=False))
    except UserError as error:
        _fail(str(error))
    except _UsageError as error:
        message = error.format_message().rstrip(".")
        _fail(f"{message}; see --help" if message else "no command given, see above")
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; what was done is kept, the same command goes on from there", 130)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _fail(f"{error.strerror}: {error.filename or 'while writing'}; what was done is kept")


def _fail(message: str, status: int = 2) -> None:
    sys.stdout.flush()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status)


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] if text is not None else None


def _numbers(text: str | None, option: str) -> list[int] | None:
    try:
        return [int(name) for name in _names(text) or []] if text is not None else None
    except ValueError as error:
        raise UserError(f"{option} takes whole numbers, as in 0,1,2; got {text!r}") from error
