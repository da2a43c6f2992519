"""The command line: `trackside`."""

from __future__ import annotations

import gc
import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from app.commands.access import password, tokens_app
from app.commands.client import PASSED_ON, export, import_, runs, sync, watch
from app.commands.console import console, errors, fail
from app.commands.datasets import datasets_app
from app.commands.group import Commands
from app.commands.home import check_database, chosen, home_settings, prepare_home
from app.commands.offline import evaluate, predict, train
from app.commands.options import Device, Host, Port, parse_workers
from app.commands.search import search_app
from app.settings import Settings, misspelled

main = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Launch and watch the training of image classifiers.",
)
main.add_typer(datasets_app, name="datasets")
main.add_typer(tokens_app, name="tokens")
main.add_typer(search_app, name="search")


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trackside {version('trackside')}")
        raise typer.Exit


@main.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # For this process and its children: CUDA then counts GPUs as NVML does.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


@main.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[str, typer.Option(help="auto, or how many", callback=parse_workers)] = "auto",
    demo: Annotated[bool, typer.Option(help="Queue one short example run on a new home.")] = False,
    root_path: Annotated[
        str | None, typer.Option(help="Path under which a reverse proxy serves it, as /trackside: TRACKSIDE_ROOT_PATH.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve other machines without a password.")] = False,
    cluster: Annotated[bool, typer.Option("--cluster", help="Train on other machines too, which join it.")] = False,
    listen: Annotated[str, typer.Option(help="Address at which they join.")] = "",
    cluster_address: Annotated[
        str | None, typer.Option(help="Address of an existing cluster of Ray, to train on its nodes.")
    ] = None,
) -> None:
    """Serve the dashboard, with a worker for each device and the predictor."""
    from app.auth.exposure import cautions, check_exposure
    from app.commands.cluster import cluster_children, how_to_join
    from app.commands.demo import prepare_demo, queue_built_in_dataset
    from app.host.devices import devices_in_words, find_devices
    from app.host.network_home import caution
    from app.supervisor import check_address, free_port
    from app.supervisor import serve as run_server

    settings = chosen(
        host=host, port=port, root_path=root_path, expect_workers=workers != "0", insecure=insecure or None
    )
    check_address(settings.host, settings.port)
    if settings.port == 0:
        settings = settings.model_copy(update={"port": free_port(settings.host)})
    check_exposure(settings)
    prepare_home(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s serve %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if demo:
        prepare_demo(settings, console)
    else:
        queue_built_in_dataset(settings)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    console.print(f"Trackside on [bold]http://{shown}:{settings.port}{settings.root_path}[/bold]", end="")
    console.print(f", kept in {settings.home.resolve()}. Ctrl-C ends it.", markup=False)
    for line in filter(None, (caution(settings.home), *cautions(settings), *misspelled(os.environ))):
        errors.print(line, style="yellow", markup=False)
    others = cluster_children(settings, listen, cluster_address) if cluster or cluster_address else []
    if others:
        console.print(how_to_join(settings, cluster_address or listen), markup=False, soft_wrap=True)
    if workers == "0":
        run_server(settings, [], others)
        return
    devices = find_devices()
    for line in devices_in_words(devices):
        errors.print(line, style="yellow", markup=False)
    run_server(settings, devices.names(workers), others)


@main.command(hidden=True)
def web(host: Host = None, port: Port = None) -> None:
    """The web process alone, on a database that has been migrated."""
    gc.disable()  # a fifth of the startup time would be spent on objects that are all kept
    from app.host.open_files import raise_open_files_limit
    from app.host.parent import end_with_parent
    from app.main import create_app
    from app.web.server import run

    end_with_parent()
    open_files = raise_open_files_limit()
    settings = home_settings(host=host, port=port)
    # Live streams must leave connections for other requests.
    settings = settings.model_copy(update={"max_streams": min(settings.max_streams, open_files // 2)})
    check_database(settings)
    app = create_app(settings)
    gc.freeze()  # later collections, while requests wait, skip these objects
    gc.enable()
    run(app, settings, max_connections=open_files * 3 // 4)


@main.command()
def worker(device: Device = "cpu") -> None:
    """A worker alone: claims queued runs and has them trained on its device."""
    from app.host.parent import end_with_parent
    from app.worker import main as run_worker

    end_with_parent()
    settings = home_settings()
    check_database(settings)
    run_worker(device, settings)


@main.command(hidden=True)
def outpost(address: str) -> None:
    """The process that trains on the nodes of a cluster."""
    from app.cluster.outpost import main as run_outpost
    from app.host.parent import end_with_parent

    end_with_parent()
    settings = home_settings()
    check_database(settings)
    run_outpost(settings, address)


@main.command()
def join(
    address: Annotated[str, typer.Argument(help="HOST:PORT of a `trackside serve --cluster`")],
    token_file: Annotated[Path, typer.Option(help="A copy of cluster-token of its home")] = Path("cluster-token"),
    name: Annotated[str, typer.Option(help="Name of this machine; its host name by default.")] = "",
    folder: Annotated[Path, typer.Option(help="Where datasets and runs are kept meanwhile.")] = Path("node"),
    workers: Annotated[str, typer.Option(help="auto, or how many devices", callback=parse_workers)] = "auto",
    cpu_devices: Annotated[int, typer.Option(help="Without a GPU: devices that share its cores.", min=1, max=64)] = 1,
) -> None:
    """Train the runs of another machine on this one. SIGTERM saves and returns them to the queue."""
    from app.commands.cluster import join as join_cluster
    from app.host.identity import host_name

    join_cluster(address, name or host_name(), token_file, folder, workers, cpu_devices)


main.command()(train)
main.command()(evaluate)
main.command()(predict)


@main.command()
def backup(file: Annotated[Path, typer.Argument(help="The tar to write")]) -> None:
    """Copy all that is kept into one file, while anything runs. It holds the password's and the tokens' hashes."""
    from app.commands.backup import back_up

    try:
        count = back_up(Settings(), file)
    except OSError as error:
        raise fail(str(error)) from None
    console.print(f"{count:,} files, {file.stat().st_size / 1e6:,.0f} MB, in {file}", markup=False, highlight=False)


@main.command()
def restore(file: Annotated[Path, typer.Argument(help="A tar of trackside backup")]) -> None:
    """Make a home, TRACKSIDE_HOME, from a backup. Runs that had not ended resume from their last checkpoint."""
    import tarfile

    from app.commands.backup import CannotRestore
    from app.commands.backup import restore as unpack

    try:
        unpack(home_settings(), file)
    except (CannotRestore, OSError, tarfile.TarError) as error:
        raise fail(str(error)) from None
    reindex()


@main.command()
def reindex(
    from_nothing: Annotated[
        bool, typer.Option("--from-nothing", help="Empty the database first: it is rebuilt from the home alone.")
    ] = False,
) -> None:
    """Add runs that the database lacks: those of `train`, or all if it was deleted. Stop `serve` first."""
    from app.commands.reindex import reindex as rebuild

    damaged = 0
    for item in rebuild(home_settings(), from_nothing=from_nothing):
        outcome = item.status or f"left alone: {item.reason}"
        console.print(f"{item.folder.name} {outcome}", markup=False, highlight=False)
        damaged += item.damaged
    raise typer.Exit(1 if damaged else 0)


@main.command()
def doctor(
    join: Annotated[
        str | None, typer.Option(help="HOST:PORT of a cluster: can this machine join it?", show_default=False)
    ] = None,
    token_file: Annotated[Path, typer.Option(help="A copy of cluster-token of its home")] = Path("cluster-token"),
) -> None:
    """Check the environment, the data directory, and the cluster if there is one."""
    from app.commands.doctor import examine

    raise typer.Exit(examine(Settings(), console, join, token_file))


main.command(**PASSED_ON)(runs)
main.command(**PASSED_ON)(watch)
main.command(**PASSED_ON)(sync)
main.command("import", **PASSED_ON)(import_)
main.command(**PASSED_ON)(export)
main.command()(password)  # last, because the help lists commands in this order

if __name__ == "__main__":
    main()
