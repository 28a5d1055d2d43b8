"""The demo data."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from drydock.data import synthetic
from drydock.data.synthetic_bins import COUNTS, draw_bin


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def options(*, images: int = 50, seed: int = 0, size: int = 64) -> synthetic.Options:
    return synthetic.Options(images=images, seed=seed, size=size)


def test_equal_options_give_equal_bytes(tmp_path: Path) -> None:
    """Two sets drawn with the same options are the same to the byte; another seed changes every picture."""
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        assert synthetic.write_set(tmp_path / name, options(seed=seed))
    one, two, other = (digests(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


@pytest.mark.parametrize("images", [25, 27, 53, 400])
def test_every_split_has_every_class(images: int) -> None:
    """However many images, each split has each count, ids are unique, and most images train."""
    files = list(synthetic.pictures(options(images=images)))
    assert len(files) == images
    assert len({file.id for file in files}) == images
    assert {(file.split, file.count) for file in files} == {
        (split, count) for split in ("train", "validation", "test") for count in COUNTS
    }
    assert sum(file.split == "train" for file in files) >= images * 0.55


def test_the_set_is_an_image_folder(tmp_path: Path) -> None:
    """What lies on the disk is RGB JPEGs of the size asked for, below SPLIT/COUNT/ID.jpg."""
    synthetic.write_set(tmp_path / "set", options(images=25, size=96))
    files = sorted((tmp_path / "set").glob("*/*/*.jpg"))
    assert len(files) == 25
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 96))


@pytest.mark.parametrize("count", COUNTS)
def test_pictures_of_one_count_differ(count: int) -> None:
    """The seed changes the picture, and a picture is not one flat colour."""
    one, two = (draw_bin(count=count, side=64, seed=seed) for seed in ("a", "b"))
    assert one.tobytes() != two.tobytes()
    grey = one.convert("L").histogram()
    assert sum(1 for pixels in grey if pixels) > 60


def test_an_equal_set_is_reused_and_another_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run with equal options draws nothing; with other options it is refused unless forced."""
    output = tmp_path / "set"
    command = ["--output", str(output), "--images", "25", "--size", "32"]
    assert synthetic.main(command) == 0
    before = digests(output)
    assert synthetic.main(command) == 0
    assert "reused" in capsys.readouterr().out
    assert synthetic.main([*command, "--seed", "1"]) == 2
    assert "other options" in capsys.readouterr().err
    assert digests(output) == before
    assert synthetic.main([*command, "--seed", "1", "--force"]) == 0
    assert digests(output) != before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_of_the_users_own_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the output folder holds anything else, nothing is written, `--force` or not."""
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "manifest.json").write_text(json.dumps({"mine": 1}))
    assert synthetic.main(["--output", str(tmp_path), "--force"]) == 2
    assert "is no set of this program" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "thesis.txt"]


def test_a_run_that_ends_early_leaves_nothing(tmp_path: Path) -> None:
    """A set that was not drawn to its end is not there at all, nor is a rest of it."""

    def stop(done: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.write_set(tmp_path / "set", options(), progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "value"), [("--images", "3"), ("--images", "100000"), ("--size", "8")])
def test_options_out_of_range_are_named(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number that makes no sense is one line that names the option, and exit code 2."""
    assert synthetic.main(["--output", str(tmp_path / "set"), option, value]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{option} {value}" in error


def test_an_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path below a file is no traceback."""
    (tmp_path / "file").write_text("")
    assert synthetic.main(["--output", str(tmp_path / "file" / "set"), "--images", "25"]) == 2
    assert "cannot write" in capsys.readouterr().err
