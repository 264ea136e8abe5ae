"""Builds that another program asks for: which store a request means, and building it as a child.

    python -m pipeline.ondemand resolve NICENESS
    python -m pipeline.ondemand run NICENESS COMMAND ...
    python -m pipeline.ondemand cancel ROOT KEY

Whoever starts one of them holds its standard input: when that ends, so does the child, as by
SIGTERM, and what it has finished is kept. So no build goes on whose program was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec, PiCacheError, SourceError
from pi_cache.specs import StoreSpec
from pipeline.options import open_request
from pipeline.request import GramianRequest, Request, Wanted, resolve, resolve_gramian
from pipeline.sources.base import Source

Opened = tuple[Source, StoreSpec]


def find_store(asked: Mapping[str, Any], root: Path, how: Mapping[str, Any]) -> Iterator[Any]:
    """Which store a request means, a mapping at a time: first its spec, then what it will take.

    asked: `sources`, each a saved request of its own (see `pipeline.request.KNOWN`) of which the
    first that has the samples is taken; `fingerprint` and `key`, where they are to be these; and
    what is computed: `recipe`, `diagram`, `image`, `gramian`. how: some of `Options`.

    The first mapping has `source` (the number of the one that was taken), `spec` as
    `StoreSpec.to_document` has it, and `keys` of the stores that are built, the last one the one
    that is asked for. The second is what `pipeline plan --json` tells. Raises PiCacheError.
    """
    number, (data, spec) = _matching(asked)
    if asked.get("key") not in (None, spec.key):
        raise InvalidSpec(
            f"this release computes another store ({spec.key[:12]}) than the spec says"
            f" ({asked['key'][:12]}): its numbers would be others; leave out key, checksum and"
            " algorithm to ask for that one"
        )
    yield {"source": number, "spec": spec.to_document(), "keys": _keys(spec)}
    yield _estimate(data, spec, root, how)


def _matching(asked: Mapping[str, Any]) -> tuple[int, Opened]:
    """The first source that has the samples asked for, opened, with the spec of their store."""
    wanted, problems = asked.get("fingerprint"), []
    for number, source in enumerate(asked["sources"]):
        try:
            data, spec = _opened({**_computed(asked), **source})
        except SourceError as error:
            if wanted is None:
                raise
            problems.append(str(error))
            continue
        if wanted in (None, spec.source.fingerprint):
            return number, (data, spec)
    told = f" ({'; '.join(problems)})" if problems else ""
    raise SourceError(
        f"no source that is offered here holds the samples of this spec (fingerprint "
        f"{str(wanted)[:12]}){told}; name a source, with a recipe or the specs"
    )


def _computed(asked: Mapping[str, Any]) -> dict[str, Any]:
    names = ("recipe", "diagram", "image", "gramian")
    return {name: asked[name] for name in names if asked.get(name) is not None}


def _opened(saved: Mapping[str, Any]) -> Opened:
    """The samples of a saved request, and the spec of the store that it means."""
    request: Wanted
    if saved.get("gramian") is not None:
        request = resolve_gramian(saved, {})
        data = open_request(request, _silent)
        return data, _gramian_spec(data, request)
    request = resolve(saved, {})
    data = open_request(request, _silent)
    return data, _image_spec(data, request)


def _image_spec(data: Source, request: Request) -> StoreSpec:
    from pipeline.recipes import recorded_name

    spec = StoreSpec(source=data.spec(), diagram=request.diagram, image=request.image)
    name = "" if request.recipe.name == "default" else request.recipe.name
    return spec.replace(recipe=recorded_name(name, spec.diagram, spec.image))


def _gramian_spec(data: Source, request: GramianRequest) -> StoreSpec:
    from pipeline.build import gramian_store

    return gramian_store(data, request.gramian)


def _keys(spec: StoreSpec) -> list[str]:
    """The keys of the stores that are built for a spec, in order."""
    from pipeline.cutting import raw_image

    if spec.gramian is None and spec.image.normalise == "dataset-max":
        return [spec.replace(image=raw_image(spec.image)).key, spec.key]
    return [spec.key]


def _estimate(data: Source, spec: StoreSpec, root: Path, how: Mapping[str, Any]) -> dict[str, Any]:
    """What a build would take, measured on a few samples."""
    from pipeline.buildoptions import Options
    from pipeline.planning import make_plan

    return make_plan(data, spec, options=Options(**how), root=root).to_dict()


def _silent(text: str) -> None:
    """What a request says of itself; the one who asked is told by its state."""


def answer_request(text: str) -> Iterator[str]:
    """The lines that answer a line of JSON: the mappings of `find_store`, or a refusal."""
    given = json.loads(text)
    how = dict(given["how"])
    try:
        for found in find_store(given["asked"], Path(given["root"]), how):
            yield json.dumps(found)
    except PiCacheError as error:
        yield json.dumps({"refused": str(error), "kind": type(error).__name__})
    except ModuleNotFoundError as error:
        remedy = 'pip install "pi-cache[pipeline]" where the service runs'
        told = f"{error.name} is not installed; {remedy}"
        yield json.dumps({"refused": told, "kind": type(error).__name__})


def cancel_jobs(root: Path, key: str) -> list[str]:
    """Cancel the jobs of SLURM that build a store; which. What is done is kept.

    Raises PiCacheError where there is no plan of it, or SLURM says no.
    """
    from pipeline.cluster.jobs import rounds_of
    from pipeline.cluster.slurm import cancel
    from pipeline.cluster.workplan import find_plan

    jobs = [job for each in rounds_of(find_plan(key, root)) for job in (each.array, each.finish)]
    cancel(jobs)
    return jobs


def end_with_parent() -> None:
    """End this process, as by SIGTERM, once nobody holds the other end of its standard input."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(words: list[str]) -> None:
    """Run what the words say, see the module."""
    if words[:1] == ["resolve"]:
        os.nice(int(words[1]))
        line = sys.stdin.readline()
        end_with_parent()
        for answer in answer_request(line):
            print(answer, flush=True)
        return
    if words[:1] == ["cancel"]:
        end_with_parent()
        try:
            print("cancelled: jobs", *cancel_jobs(Path(words[1]), words[2]), file=sys.stderr)
        except PiCacheError as error:
            sys.exit(f"pipeline: {error}")
        return
    from pipeline.cli import main as run_command

    os.nice(int(words[1]))
    end_with_parent()
    sys.argv = ["pipeline", *words[2:]]
    run_command()


if __name__ == "__main__":
    main(sys.argv[1:])
