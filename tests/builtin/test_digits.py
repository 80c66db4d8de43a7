import subprocess
import sys
from pathlib import Path

from PIL import Image

from daemon.demo.digits import write_digits


def test_the_digits_are_written_once_and_an_interrupted_writing_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "images"
    assert write_digits(folder) == 1797
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == len(list(folder.glob("*.txt"))) == 1797
    assert len(list(folder.iterdir())) == 2 * 1797, "no temporary file stays"
    seven = folder / "0007-7.png"
    assert seven.with_suffix(".txt").read_text() == "a handwritten seven\n"
    with Image.open(seven) as picture:
        assert (picture.size, picture.mode) == ((16, 16), "L")

    before = {path: path.stat().st_mtime_ns for path in pictures}
    seven.unlink()
    (folder / ".0007-7.png.tmp").write_bytes(b"half")
    assert write_digits(folder) == 1797
    changed = [path for path in pictures if path.stat().st_mtime_ns != before[path]]
    assert changed == [seven]
    assert not (folder / ".0007-7.png.tmp").exists()


def test_writing_the_digits_needs_neither_torch_nor_the_trainer(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import daemon.demo.digits as d; assert 'sklearn' not in sys.modules;"
        f"d.write_digits(Path({str(tmp_path)!r})); sys.exit(any(m.split('.')[0] in ('torch', 'trainer_runner') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
