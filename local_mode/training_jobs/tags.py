"""The operations of tags: kept by ARN, with the job, until it is deleted."""

from collections.abc import Callable, Mapping
from typing import Any

from local_mode.errors import ValidationException
from local_mode.service import Service


def add_tags(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Adds or overwrites; the reply has all tags of the resource."""
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    return {"Tags": _documents(service.jobs.store.add_tags(request["ResourceArn"], tags))}


def list_tags(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """All tags: a resource has at most 50 and a page at least as many, so there is no second one."""
    if "NextToken" in request:
        raise ValidationException("NextToken: this is none of the tokens that ListTags gave")
    return {"Tags": _documents(service.jobs.store.tags(request["ResourceArn"]))}


def delete_tags(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """A key that the resource does not have is no error, as on AWS."""
    service.jobs.store.delete_tags(request["ResourceArn"], request["TagKeys"])
    return {}


OPERATIONS: Mapping[str, Callable[[Service, dict[str, Any]], dict[str, Any]]] = {
    "AddTags": add_tags,
    "DeleteTags": delete_tags,
    "ListTags": list_tags,
}


def _documents(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
