import hashlib
import os
import subprocess
import uuid
from pathlib import Path

import imageio_ffmpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core.errors import ConfigError, MasterError, StorageError
from headend.core.storage.local_server import LocalS3
from headend.core.storage.masters import check_unchanged, identify, opened, redact
from headend.core.storage.s3 import S3Store, connect
from tests.support.makers import make_master
from tests.support.s3_servers import BUCKET


class TestLocalMasters:
    def test_a_local_masters_identity_is_the_digest_of_its_content(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = os.urandom(1000)
        (tmp_path / "film.mov").write_bytes(content)
        monkeypatch.chdir(tmp_path)
        master = identify("film.mov")
        assert master.url == str(tmp_path / "film.mov")
        assert master.size_bytes == 1000
        assert master.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        with opened(master) as source:
            assert source.url == master.url
        check_unchanged(master)

    def test_progress_ends_at_the_full_size(self, tmp_path: Path) -> None:
        size_bytes = (9 << 20) + 1
        (tmp_path / "film.mov").write_bytes(bytes(size_bytes))
        progress: list[tuple[int, int]] = []
        identify(str(tmp_path / "film.mov"), on_progress=lambda done, total: progress.append((done, total)))
        assert progress == [(8 << 20, size_bytes), (size_bytes, size_bytes)]

    def test_a_touched_or_replaced_file_has_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "film.mov"
        path.write_bytes(b"12345")
        master = identify(str(path))
        os.utime(path, ns=(0, int(master.version) + 1))
        with pytest.raises(MasterError, match="has changed since the job was planned; submit it again"):
            check_unchanged(master)
        path.write_bytes(b"123456")
        os.utime(path, ns=(0, int(master.version)))
        with pytest.raises(MasterError, match="has changed"):
            check_unchanged(master)
        path.unlink()
        with pytest.raises(MasterError, match="there is no file"):
            check_unchanged(master)

    def test_a_delivery_that_is_not_complete_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "film.mov"
        path.write_bytes(b"first part")

        def deliver_more(_done: int, _total: int) -> None:
            with path.open("ab") as file:
                file.write(b"second part")
            assert path.stat().st_size < 1000, "it is read for as long as it grows"

        with pytest.raises(MasterError, match="changed while it was being read; wait until its delivery ends"):
            identify(str(path), on_progress=deliver_more)

    def test_anything_but_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mov").touch()
        os.mkfifo(tmp_path / "pipe.mov")
        refused = {
            str(tmp_path / "none.mov"): "there is no file",
            str(tmp_path): "is a folder",
            str(tmp_path / "empty.mov"): "is empty",
            str(tmp_path / "pipe.mov"): "is a pipe or a device",
            "/dev/zero": "is a pipe or a device",
            str(tmp_path / "empty.mov" / "film.mov"): "can't be read: Not a directory",
            "https://example.com/film.mov": "copy it to one of these first",
            "": "a master is a file's path",
        }
        for url, reason in refused.items():
            with pytest.raises(MasterError, match=reason):
                identify(url)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "film.mov").write_bytes(b"x")
        (tmp_path / "film.mov").chmod(0)
        with pytest.raises(MasterError, match="this user may not read"):
            identify(str(tmp_path / "film.mov"))


@pytest.fixture(params=["rclone_s3", "moto_s3"])
def server(request: pytest.FixtureRequest) -> LocalS3:
    found: LocalS3 = request.getfixturevalue(request.param)
    return found


class TestMastersInS3:
    def test_a_master_in_s3_is_identified_by_its_etag(self, server: LocalS3) -> None:
        folder = S3Store(BUCKET, uuid.uuid4().hex, server.endpoint_url)
        folder.put("film one.mov", b"content")
        master = identify(f"{folder.url}/film one.mov", server.endpoint_url)
        assert master.url == f"{folder.url}/film one.mov"
        assert master.size_bytes == 7
        assert master.version == folder.head("film one.mov").etag
        assert master.digest == f"etag:{master.version}-7"
        check_unchanged(master, server.endpoint_url)

    def test_a_replaced_object_has_changed(self, server: LocalS3) -> None:
        folder = S3Store(BUCKET, uuid.uuid4().hex, server.endpoint_url)
        folder.put("film.mov", b"content")
        master = identify(f"{folder.url}/film.mov", server.endpoint_url)
        folder.put("film.mov", b"CONTENT")
        with pytest.raises(MasterError, match="has changed"):
            check_unchanged(master, server.endpoint_url)
        folder.delete("film.mov")
        with pytest.raises(MasterError, match="there is no s3://"):
            check_unchanged(master, server.endpoint_url)

    def test_anything_but_an_object_is_refused(self, server: LocalS3) -> None:
        S3Store(BUCKET, "", server.endpoint_url).put("masters/empty.mov", b"")
        refused = {
            f"s3://{BUCKET}/masters/none.mov": "there is no s3://films/masters/none.mov; check the bucket and the key",
            "s3://no-such-bucket/film.mov": "there is no s3://no-such-bucket/film.mov",
            f"s3://{BUCKET}": "is a folder",
            f"s3://{BUCKET}/masters/": "is a folder",
            f"s3://{BUCKET}/masters/empty.mov": "is empty",
        }
        for url, reason in refused.items():
            with pytest.raises(MasterError, match=reason):
                identify(url, server.endpoint_url)

    def test_wrong_credentials_are_a_storage_error(self, rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "w" * 40)
        with pytest.raises(StorageError, match=r"can't access s3://films/film\.mov: access is denied"):
            identify(f"s3://{BUCKET}/film.mov", rclone_s3.endpoint_url)

    def test_an_address_with_credentials_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="without credentials"):
            identify("s3://key:secret@films/film.mov")

    def test_an_archived_object_must_be_restored_first(self, moto_s3: LocalS3) -> None:
        client = connect(moto_s3.endpoint_url)
        client.put_object(Bucket=BUCKET, Key="masters/old.mov", Body=b"x", StorageClass="DEEP_ARCHIVE")
        with pytest.raises(MasterError, match=r"is archived \(DEEP_ARCHIVE\); restore it first"):
            identify(f"s3://{BUCKET}/masters/old.mov", moto_s3.endpoint_url)
        client.restore_object(Bucket=BUCKET, Key="masters/old.mov", RestoreRequest={"Days": 1})
        assert identify(f"s3://{BUCKET}/masters/old.mov", moto_s3.endpoint_url).size_bytes == 1

    def test_versions_are_part_of_the_identity(self, moto_s3: LocalS3) -> None:
        client = connect(moto_s3.endpoint_url)
        bucket = f"versioned-{uuid.uuid4().hex}"
        client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        version_id = client.put_object(Bucket=bucket, Key="film.mov", Body=b"x")["VersionId"]
        assert identify(f"s3://{bucket}/film.mov", moto_s3.endpoint_url).digest.endswith(f"-1-{version_id}")


class TestRedact:
    def test_ffmpegs_output_about_a_master_in_s3_contains_no_secret(self, rclone_s3: LocalS3) -> None:
        with opened(make_master(f"s3://{BUCKET}/none.mov"), rclone_s3.endpoint_url) as source:
            argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "verbose", "-i", source.url]
            output = subprocess.run(argv, capture_output=True, check=False, text=True).stderr
        token = source.url.split("/")[3]
        assert token in output
        assert token not in redact(output)
        assert "http://127.0.0.1:" in redact(output)

    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            ("GET http://h/a.mov?X-Amz-Signature=5ec2e7: 404", "GET http://h/a.mov?… 404"),
            ("-i 'https://h/a.mov?Signature=5ec2e7' -y", "-i 'https://h/a.mov?…' -y"),
            ("https://key:5ec2e7@h:1/a.mov", "https://…@h:1/a.mov"),
            ("cut &X-Amz-Credential=5ec2e7/s3&X-Amz-Signature=5ec2e7", "cut &X-Amz-Credential=…&X-Amz-Signature=…"),
            ("AWS_SECRET_ACCESS_KEY=5ec2e7 headend", "AWS_SECRET_ACCESS_KEY=… headend"),
            ('{"aws_session_token": "5ec2e7"}', '{"aws_session_token": "…"}'),
            ("Authorization: AWS4-HMAC-SHA256 Credential=5ec2e7\nnext", "Authorization: …\nnext"),
            ("x-amz-security-token: 5ec2e7==", "x-amz-security-token: …"),
        ],
    )
    def test_redaction_removes_secrets(self, text: str, clean: str) -> None:
        assert redact(text) == clean

    @pytest.mark.parametrize(
        "text",
        [
            "frame= 12 fps=0.0 q=-1.0",
            "http://127.0.0.1:9000/films/a.mov",
            "/films/a?b.mov",
            "mail a@b",
            "",
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile",
        ],
    )
    def test_redaction_keeps_all_other_text(self, text: str) -> None:
        assert redact(text) == text

    @given(st.text(alphabet="ahtps:/?=&@ \n\"'X-Amz-Signature", max_size=60))
    def test_redacting_twice_changes_nothing_more(self, text: str) -> None:
        assert redact(redact(text)) == redact(text)
