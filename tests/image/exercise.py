"""Run inside the image by test_image.py: use what training uses, print what came of it as JSON."""

import json
import os
import tempfile
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import safetensors.torch
import sagemaker_training.entry_point
import sagemaker_training.trainer
import torch
import torch.distributed
import torch.multiprocessing
import torchvision
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    model = torchvision.models.resnet18()
    output = model(torch.randn(4, 3, 64, 64))
    output.sum().backward()

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29500", GLOO_SOCKET_IFNAME="lo")
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    reduced = torch.ones(3)
    torch.distributed.all_reduce(reduced)
    torch.distributed.destroy_process_group()

    batches = {}
    for strategy in ("file_descriptor", "file_system"):  # the second starts torch/bin's shared memory manager
        torch.multiprocessing.set_sharing_strategy(strategy)  # type: ignore[no-untyped-call]  # torch's own
        loader = DataLoader(TensorDataset(torch.ones(64, 3)), batch_size=8, num_workers=2)
        batches[strategy] = sum(batch.sum().item() for (batch,) in loader)

    plt.plot([1, 2])
    plt.savefig(folder / "curve.png")
    torchvision.io.write_jpeg(torch.zeros(3, 32, 32, dtype=torch.uint8), str(folder / "image.jpg"))
    decoded = torchvision.io.decode_image(str(folder / "image.jpg"))

    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    restored = safetensors.torch.load_file(folder / "model.safetensors")
    same = all(torch.equal(value, restored[name]) for name, value in model.state_dict().items())

    program = torch.export.export(model.eval(), (torch.randn(2, 3, 64, 64),))
    document = {
        "resnet18": list(output.shape),
        "gloo": reduced.sum().item(),
        "nccl": torch.distributed.is_nccl_available(),
        "batches": batches,
        "png": (folder / "curve.png").read_bytes().startswith(b"\x89PNG"),
        "jpeg": list(decoded.shape),
        "safetensors": same,
        "exported": len(list(program.graph.nodes)) > 50,
        # Its compiled part, which has no types, is a module of its own.
        "toolkit": callable(sagemaker_training.trainer.train) and callable(import_module("gethostname").call),
    }
    print(json.dumps(document))  # noqa: T201 -- the answer


if __name__ == "__main__":
    main()
