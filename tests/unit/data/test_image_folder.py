"""Scanning a channel: classes, bad files, what is refused."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from drydock.data.image_folder import ImageFolder, bad_reason, scan
from drydock.errors import UserError


def draw(path: Path, shade: int = 90, size: tuple[int, int] = (24, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 40, 200)).save(path)
    return path


def look(folder: Path, **changes: object) -> ImageFolder:
    settings: dict[str, object] = {"channel": "train", "max_bad_fraction": 0.0}
    return scan(folder, **{**settings, **changes})  # type: ignore[arg-type]  # a test's shorthand


def test_numeric_classes_are_sorted_by_number(tmp_path: Path) -> None:
    """Class 2 comes before class 10, and labels index that order."""
    for name in ("10", "2", "1"):
        draw(tmp_path / name / "a.png")
    found = look(tmp_path)
    assert found.class_names == ("1", "2", "10")
    assert [sample.label for sample in found.samples] == [0, 1, 2]


def test_hidden_files_and_nested_folders(tmp_path: Path) -> None:
    """Hidden files are passed over, images in folders below a class folder belong to it."""
    draw(tmp_path / "a" / "x" / "1.jpg")
    draw(tmp_path / "b" / "1.jpg")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    assert [sample.path.name for sample in look(tmp_path).samples] == ["1.jpg", "1.jpg"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp"])
def test_a_whole_image_is_good_and_a_truncated_one_bad(tmp_path: Path, suffix: str) -> None:
    """Cutting a file's end off is noticed in every format."""
    path = tmp_path / f"image.{suffix}"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    assert bad_reason(path) is None
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert bad_reason(path)


def test_files_that_are_no_images_are_bad(tmp_path: Path) -> None:
    """Text under an image's name and an empty file are named as what they are."""
    text, empty = tmp_path / "a.jpg", tmp_path / "b.jpg"
    text.write_text("not an image")
    empty.touch()
    assert bad_reason(text) == "no image"
    assert bad_reason(empty) == "empty file"


def bad_tree(folder: Path) -> None:
    for name in ("1", "2"):
        for index in range(5):
            draw(folder / name / f"{index}.jpg")
    (folder / "1" / "bad.jpg").write_text("no image at all")
    whole = (folder / "2" / "0.jpg").read_bytes()
    (folder / "2" / "cut.jpg").write_bytes(whole[: len(whole) // 2])


def test_bad_files_within_the_limit_are_counted_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Up to max-bad-fraction bad files are skipped, with a warning that says how many and which."""
    bad_tree(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = look(tmp_path, max_bad_fraction=0.2)
    assert len(found.samples) == 10
    assert "2 of 12 files" in caplog.text
    assert "1/bad.jpg: no image" in caplog.text
    assert "2/cut.jpg" in caplog.text


def test_bad_files_above_the_limit_end_the_job(tmp_path: Path) -> None:
    """Above max-bad-fraction the same files are an error that names them."""
    bad_tree(tmp_path)
    with pytest.raises(UserError, match=r"2 of 12 files .*max-bad-fraction=0.1 .*1/bad.jpg: no image"):
        look(tmp_path, max_bad_fraction=0.1)


def test_a_missing_an_empty_and_a_flat_folder_are_refused(tmp_path: Path) -> None:
    """Each says which channel, which folder and what was expected."""
    with pytest.raises(UserError, match=r"channel train: no folder .*nowhere"):
        look(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is empty: expected one folder"):
        look(tmp_path)
    draw(tmp_path / "1.jpg")
    with pytest.raises(UserError, match=r"1 files but no class folders"):
        look(tmp_path)


def test_one_class_and_an_empty_class_are_refused(tmp_path: Path) -> None:
    """A classifier needs two classes, and images of each."""
    draw(tmp_path / "cat" / "1.jpg")
    with pytest.raises(UserError, match=r"one class folder only \(cat\)"):
        look(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match=r"no image in class folder dog"):
        look(tmp_path)


def test_another_channel_takes_the_training_classes(tmp_path: Path) -> None:
    """Validation labels index the classes of train, and a class that train lacks is refused."""
    draw(tmp_path / "b" / "1.jpg")
    found = look(tmp_path, channel="validation", class_names=("a", "b"))
    assert [sample.label for sample in found.samples] == [1]
    with pytest.raises(UserError, match=r"channel validation: class folders that channel train lacks: b"):
        look(tmp_path, channel="validation", class_names=("a", "c"))
