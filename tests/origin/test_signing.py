import calendar
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from origin.signing import Signer


@pytest.mark.parametrize("token", [None, "a-token/of+a=session"])
@pytest.mark.parametrize("path", ["/films/titles/a/r1/avc/1.m4s", "/films/a%20b/c%2Bd/~e_f.m4s"])
@pytest.mark.parametrize(("host", "region"), [("127.0.0.1:9000", "us-east-1"), ("films.s3.amazonaws.com", "eu-west-3")])
def test_signatures_are_those_of_botocore(path: str, host: str, region: str, token: str | None) -> None:
    credentials = ReadOnlyCredentials("AKIAEXAMPLE", "secret/with+signs", token, None)
    theirs = AWSRequest("GET", f"http://{host}{path}")
    S3SigV4Auth(credentials, "s3", region).add_auth(theirs)
    at_s = calendar.timegm(time.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    ours = Signer(credentials, region, host).headers(path, at_s)
    for name in ("authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"):
        assert ours.get(name) == theirs.headers.get(name)


def test_a_new_day_has_a_new_key() -> None:
    signer = Signer(ReadOnlyCredentials("AKIAEXAMPLE", "secret", None, None), "us-east-1", "host")
    first, second = (signer.headers("/a", at_s)["authorization"] for at_s in (0.0, 86_400.0))
    assert "/19700101/" in first and "/19700102/" in second
    assert first.rpartition("=")[2] != second.rpartition("=")[2]
    assert signer.headers("/a", 0.0)["authorization"] == first
