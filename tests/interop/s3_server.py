"""Keeps objects as S3 does (moto), in a bucket named toko.

usage: s3_server.py

The first line is the port. Ends when its input does.
"""

import sys

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
client = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{port}",
    region_name="ap-southeast-3",
    aws_access_key_id="toko",
    aws_secret_access_key="rahasia",
)
client.create_bucket(Bucket="toko", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-3"})
print(port, flush=True)
sys.stdin.read()
server.stop()
