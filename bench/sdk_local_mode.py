"""SDK 2's own local mode, for bench/local_overhead.py: each line on stdin is answered by `fit SECONDS`.

Runs in the environment build/clients/sagemaker2, with an image and a folder as arguments.
"""

import contextlib
import sys
import time

import boto3
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

image, folder = sys.argv[1:]
session = LocalSession(boto3.Session(region_name="us-east-1"))
session.config = {"local": {"local_code": True, "container_root": folder}}
for _ in sys.stdin:
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # the job's log
        Estimator(
            image_uri=image,
            role="arn:aws:iam::000000000000:role/bench",
            instance_count=1,
            instance_type="local",
            output_path=f"file://{folder}/output",
            sagemaker_session=session,
        ).fit()
    print(f"fit {time.perf_counter() - start}", flush=True)
