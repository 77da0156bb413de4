import subprocess

import ffmpeg
import pytest

from encoder import filter_graphs, tool


def picture() -> object:
    return ffmpeg.input("color=s=64x64:r=10:d=1", f="lavfi").video


def test_a_command_is_split_into_inputs_graph_and_outputs() -> None:
    command = filter_graphs.command(ffmpeg.output(picture().hflip(), "out.mkv", an=None))  # type: ignore[attr-defined]
    assert command.inputs == ("-f", "lavfi", "-i", "color=s=64x64:r=10:d=1")
    assert command.graph == "[0:v]hflip[s0]"
    assert command.outputs == ("-map", "[s0]", "-an", "out.mkv")


def test_a_matrix_given_as_args_keeps_its_equal_signs() -> None:
    sound = ffmpeg.input("a.wav").audio.filter("pan", args="stereo|c0=0.5*c0+0.5*c1|c1=c1")
    assert "stereo|c0=0.5*c0+0.5*c1|c1=c1" in " ".join(filter_graphs.arguments(ffmpeg.output(sound, "-")))


def test_a_chain_has_no_labels() -> None:
    stream = ffmpeg.input("-").filter("scale", 32, 32).filter("setsar", 1)
    assert filter_graphs.chain(stream) == "scale=32:32,setsar=1"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_joined_graphs_run_in_ffmpeg(count: int) -> None:
    opening = filter_graphs.command(ffmpeg.output(picture().filter("fps", 5), "-"))  # type: ignore[attr-defined]
    first = filter_graphs.relabelled(opening.graph, "chunk")
    taps = filter_graphs.copies(ffmpeg.input("frames").video.hflip(), count, "split")
    encoding = filter_graphs.command(ffmpeg.merge_outputs(*(ffmpeg.output(tap, "-", f="null") for tap in taps)))
    graph = filter_graphs.joined(first, encoding.graph)
    assert filter_graphs.last_label(first) == "[chunk0]" and "[0:v]hflip" not in graph
    argv = [tool.ffmpeg_path(), "-v", "error", *opening.inputs, "-filter_complex", graph, *encoding.outputs]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
