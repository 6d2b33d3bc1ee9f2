"""`streamdex serve-embeddings`: the stand-in for the embedding service, on a port."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from streamdex.cli.signals import stopped_by_signals
from streamdex.standins.jina import FieldMode, JinaServer, Latency, Limits, Options, QuotaHeaders, WindowKind

_GRACE_S = 2.0  # for answers under way at the stop


def serve_embeddings(  # noqa: PLR0913 - a command's parameters are its flags
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8090,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="0: no limit.")] = 500,
    tokens_per_minute: Annotated[int, typer.Option(min=0, help="0: no limit.")] = 2_000_000,
    concurrency: Annotated[int, typer.Option(min=0, help="Requests at the same time; 0: no limit.")] = 50,
    window: Annotated[WindowKind, typer.Option(help="How limits per minute are counted.")] = WindowKind.FIXED,
    phase_s: Annotated[float, typer.Option(help="Moves the minutes of fixed and sliding-counter.")] = 0.0,
    count_rejected: Annotated[bool, typer.Option(help="Rejected requests use up the limit too.")] = False,
    quota_headers: Annotated[
        QuotaHeaders, typer.Option(help="Form of Retry-After; absent also leaves out X-RateLimit-Remaining-*.")
    ] = QuotaHeaders.ABSENT,
    latency_ms: Annotated[float, typer.Option(min=0, help="How long each answer takes.")] = 0.0,
    latency_per_1k_tokens_ms: Annotated[float, typer.Option(min=0, help="And how much longer per 1,000 tokens.")] = 0.0,
    fields: Annotated[
        FieldMode, typer.Option(help="strict refuses fields a model does not list; aliases also takes task_type etc.")
    ] = FieldMode.STRICT,
    billing_log: Annotated[
        Path | None, typer.Option(help="File that gets a line of JSON, with digests of the texts, per billed request.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="The only key accepted; any key when not given.")] = None,
) -> None:
    """Serve a stand-in for the Jina embedding API, for development without a key.

    Its vectors are lexical: texts that share words are near each other. There is no model behind it. Requests, answers,
    errors and limits are like the hosted service's. Ctrl-C ends it.

    Example: `streamdex serve-embeddings --port 8090 --requests-per-minute 100 --window sliding-log --latency-ms 40`
    """
    options = Options(
        host=host,
        port=port,
        api_key=api_key,
        fields=fields,
        limits=Limits(
            requests_per_minute or None, tokens_per_minute or None, concurrency or None, window, phase_s, count_rejected
        ),
        latency=Latency(latency_ms, latency_per_1k_tokens_ms),
        quota_headers=quota_headers,
        billing_log=billing_log,
    )
    asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    with stopped_by_signals(stop.set):
        server = JinaServer(options)
        await server.start()
        typer.echo(_announcement(server))
        await stop.wait()
        await server.stop(grace_s=_GRACE_S)
    typer.echo(f"Stopped after {server.stats.requests} requests, {server.stats.inputs_embedded} texts embedded.")


def _announcement(server: JinaServer) -> str:
    limits = server.options.limits
    figures = (
        ("requests/min", limits.requests_per_minute),
        ("tokens/min", limits.tokens_per_minute),
        ("concurrent", limits.concurrency),
    )
    shown = ", ".join(f"{figure:,} {name}" if figure else f"any {name}" for name, figure in figures)
    key = "that key" if server.options.api_key else "any key"
    return (
        f"A stand-in for the Jina embedding API listens on {server.base_url}\n"
        "Its vectors are lexical: it compares words, not meaning. Do not search for real with them.\n"
        f"Limits: {shown}, window {limits.window}; fields {server.options.fields}.\n"
        f"Point streamdex at it ({key} will do):\n"
        f"  STREAMDEX_JINA__BASE_URL={server.base_url} JINA_API_KEY=… streamdex run\n"
        "Ctrl-C ends it."
    )
