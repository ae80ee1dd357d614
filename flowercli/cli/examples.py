"""What ends each ``--help``: lines to type. A test reads each as the program would."""

from __future__ import annotations

EXAMPLES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("classify",): (
        "flowers classify rose.jpg holiday/ 'more/**/*.png'",
        "flowers classify holiday/ --only rose,tulip --output answers.csv",
        "flowers classify garden/ --group folder",
        "flowers classify photographs/ --resume answers.jsonl",
        "find . -name '*.jpg' -print0 | flowers classify - --json",
        "flowers classify s3://bucket/photos --out s3://bucket/answers --shard 3/64",
    ),
    ("answers",): ("flowers answers s3://bucket/answers", "flowers answers answers/ --output answers.csv"),
    ("tag",): (
        "flowers tag holiday/ --dry-run",
        "flowers tag holiday/ --watch",
        "flowers tag --undo holiday/undo-20261130-101500-4711.jsonl",
    ),
    ("undo",): ("flowers undo sorted/undo-20261130-101500-4711.jsonl",),
    ("seen",): ("flowers seen rose.jpg", "flowers seen my_test_set/ --model garden --json"),
    ("teach",): (
        "flowers teach red_poppy photographs/poppies/",
        "flowers teach --folder photographs/ --output mine",
        "flowers teach --forget red_poppy --model mine --output without",
    ),
    ("models",): ("flowers models", "flowers models garden", "flowers models runs/20261130-101500-rexnet_150 --json"),
    ("doctor",): ("flowers doctor", "flowers doctor --no-benchmark --json"),
    ("download",): ("flowers download dataset", "flowers download --list", "flowers download --remove flower_photos"),
    ("download", "dataset"): (
        "flowers download dataset",
        "flowers download dataset https://example.org/garden.zip --name garden",
        "flowers download dataset oxford102",
    ),
    ("download", "model"): ("flowers download model OWNER/NAME", "flowers download model OWNER/NAME@v2 --all"),
    ("download", "backbone"): (
        "flowers download backbone",
        "flowers download backbone rexnet_200",
        "HF_ENDPOINT=https://mirror.example.org flowers download backbone",
    ),
    ("data",): ("flowers data init --remote s3://BUCKET/PREFIX", "flowers data push data/flower_photos"),
    ("data", "init"): (
        "flowers data init --remote s3://BUCKET/PREFIX",
        "flowers data init --remote s3://BUCKET --endpoint-url http://127.0.0.1:9000",
    ),
    ("data", "push"): ("flowers data push data/flower_photos", "flowers data push runs/20261130-101500-rexnet_150"),
    ("data", "pull"): ("flowers data pull", "flowers data pull data/flower_photos --force"),
    ("data", "status"): ("flowers data status", "flowers data status --local --json"),
    ("data", "pipeline"): (
        "flowers data pipeline data/flower_photos",
        "flowers data pipeline data/flower_photos --model tf_efficientnet_lite0",
    ),
    ("publish",): (
        "flowers publish runs/20261130-101500-rexnet_150 OWNER/NAME --dry-run",
        "flowers publish runs/20261130-101500-rexnet_150 OWNER/NAME --private",
    ),
    ("split",): (
        "flowers split flower_photos",
        "flowers split garden/ --stratify --ratios 0.8,0.1,0.1",
        "flowers split garden/ --outliers not_flowers/ --hold-out cats",
    ),
    ("merge",): (
        "flowers merge flower_photos flowers17 --output merged",
        "flowers merge flower_photos flowers17 --class tulip --class daisy --output two",
    ),
    ("pack",): ("flowers pack garden/ --output packed", "flowers pack garden/ --output packed --size 1GB"),
    ("train",): (
        "flowers train --data flower_photos --epochs 50",
        "flowers train --data garden/ --model rexnet_150 loss=supcon optim.lr=3e-4",
        "flowers train --resume",
    ),
    ("track",): ("flowers track runs/tracking/20261130-101500-rexnet_150-1f0c2a",),
    ("average",): ("flowers average runs/first runs/second --output runs/mean",),
    ("eval",): (
        "flowers eval runs/20261130-101500-rexnet_150",
        "flowers eval garden --data merged/ --outliers others/ --report report.html",
        "flowers eval runs/second --against runs/first --split val",
    ),
    ("export",): (
        "flowers export runs/20261130-101500-rexnet_150 --onnx --int8",
        "flowers export runs/20261130-101500-rexnet_150 --fp16 --trt",
        "flowers export garden --web site",
    ),
    ("serve",): (
        "flowers serve",
        "flowers serve garden --only rose,tulip --port 9000",
        "flowers serve --host 0.0.0.0 --allow-host flowers.example.org",
    ),
    ("serve-mlflow",): ("flowers serve-mlflow --model garden", "flowers serve-mlflow --tracking --runs runs"),
    ("reference",): ("flowers reference runs/20261130-101500-rexnet_150",),
    ("drift",): (
        "flowers drift answers.db --reference garden",
        "flowers drift answers.db --reference garden --since 7d --fail-on-drift",
    ),
}


def in_help(*words: str) -> str | None:
    """Return the examples of a command as Typer prints them at the end of its help."""
    lines = EXAMPLES.get(words)
    return None if lines is None else "\n".join(("Examples:", *(f"  {line}" for line in lines)))
