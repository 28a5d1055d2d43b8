"""S3 from disk: the operations that clients of SageMaker use, on objects that outlive the service."""
