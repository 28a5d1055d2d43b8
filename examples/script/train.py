"""A training script as people have them: plain PyTorch, nothing of Drydock. Run it in Drydock's image:

make local-script SOURCE=examples/script SET="HyperParameters.epochs=2"
"""

import argparse
import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


def main() -> None:
    """Train a small network on SM_CHANNEL_TRAIN; save its weights into SM_MODEL_DIR."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    args = parser.parse_args()

    torch.manual_seed(0)
    transform = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    images = datasets.ImageFolder(args.train, transform)
    loader = DataLoader(images, batch_size=args.batch_size, shuffle=True)
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(images.classes))),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for batch, labels in loader:
            loss = nn.functional.cross_entropy(model(batch), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch types it so
            optimizer.step()
            total += loss.item() * len(labels)
        print(f"Epoch {epoch}: Training set: Average loss: {total / len(images):.4f}")
    torch.save(model.state_dict(), args.model_dir / "model.pth")


if __name__ == "__main__":
    main()
