"""`export`: a detector of the store as one plain torch file."""

from ptl_sweep.cli.arguments import OK, command_parser
from ptl_sweep.cli.predict.arguments import STAGE_WORDS, parse_request
from ptl_sweep.terminal import answer, file_size


def export_command(arguments: list[str]) -> int:
    """Write a detector as a plain torch file, which opens without this package or its store."""
    parser = command_parser(export_command, words=STAGE_WORDS)
    request = parse_request(parser, arguments, "FILE.pt")
    from ptl_sweep.predict.export import export_detector

    size = export_detector(request.published, request.place)
    key, architecture = request.published.key, request.published.spec.architecture
    content = {"stage": key, "file": str(request.place), "bytes": size}
    text = f"wrote {request.place} ({file_size(size)}): {key} ({architecture})"
    answer(content, text, as_json=request.options.json)
    return OK
