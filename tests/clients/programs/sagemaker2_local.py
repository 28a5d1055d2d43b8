"""SDK 2's own local mode: docker-compose runs the image, no service is asked for the job."""

import json
import sys
import time

import boto3
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

given = json.loads(sys.argv[1])
session = LocalSession(boto3.Session(region_name="us-east-1"))
session.config = {"local": {"local_code": True, "container_root": given["root"]}}
seconds = []
for _ in range(given.get("runs", 1)):
    start = time.perf_counter()
    estimator = Estimator(
        image_uri=given["image"],
        role="arn:aws:iam::000000000000:role/clients",
        instance_count=1,
        instance_type="local",
        output_path=f"file://{given['output']}",
        hyperparameters=given["hyperparameters"],
        sagemaker_session=session,
    )
    estimator.fit({name: f"file://{place}" for name, place in given["channels"].items()} or None)
    seconds.append(time.perf_counter() - start)
print()
print(json.dumps({"model": estimator.model_data, "seconds": seconds}))
