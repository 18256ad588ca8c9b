"""Secrets in recorded texts: every known format is masked and named, and nothing else is."""

import time

import pytest

from audit.masking import masked

A20, A24, A40 = ("aB3dE" * 20)[:20], ("aB3dE" * 20)[:24], "aB3d" * 10
A36, A64 = "aB3dE6" * 6, "a1" * 32
PGP = "PGP PRIVATE KEY BLOCK"
HEX32 = "0123456789abcdef" * 2

SHAPES = [
    ("key", "AKIAIOSFODNN7EXAMPLE"),
    ("key", "ASIAIOSFODNN7EXAMPLE"),
    ("key", f"AIza{A36[:35]}"),
    ("token", f"ya29.{A40}"),
    ("key", f"GOCSPX-{A24}"),
    ("token", f"dop_v1_{HEX32}{HEX32}"),
    ("key", f"LTAI{A20}"),
    ("token", f"ghp_{A36}"),
    ("token", f"gho_{A36}"),
    ("token", f"ghs_{A36}"),
    ("token", f"github_pat_{A36}_{A36}"),
    ("token", f"glpat-{A20}"),
    ("token", f"gldt-{A20}"),
    ("token", f"npm_{A36}"),
    ("token", f"pypi-AgEIcHlwaS5vcmc{A40}"),
    ("token", f"rubygems_{HEX32}{HEX32}"),
    ("token", f"dckr_pat_{A24}"),
    ("token", f"ATATT3{A64}"),
    ("key", f"sk-{A40}"),
    ("key", f"sk-proj-{A40}"),
    ("key", f"sk-ant-api03-{A40}"),
    ("key", f"sk-or-v1-{HEX32}"),
    ("token", f"hf_{A36}"),
    ("token", f"r8_{A36}"),
    ("key", f"gsk_{A40}"),
    ("key", f"pplx-{A40}"),
    ("key", f"nvapi-{A40}"),
    ("key", f"lsv2_pt_{HEX32}_0123456789"),
    ("token", f"xoxb-123456789012-{A24}"),
    ("token", f"xoxp-123456789012-{A24}"),
    ("token", f"xapp-1-A0-{A24}"),
    ("key", f"SG.{A24}.{A40}"),
    ("key", f"key-{HEX32}"),
    ("key", f"{HEX32}-us12"),
    ("key", f"SK{HEX32}"),
    ("token", f"123456789:AA{A36[:33]}"),
    ("key", f"sk_live_{A24}"),
    ("key", f"rk_test_{A24}"),
    ("key", f"whsec_{A40}"),
    ("token", f"sq0atp-{A24}"),
    ("token", f"shpat_{HEX32}"),
    ("token", f"dapi{HEX32}"),
    ("token", f"hvs.{A40}"),
    ("token", f"dp.pt.{A40}"),
    ("token", f"glsa_{A36}"),
    ("key", "NRAK-0123456789ABCDEFGHIJKLMNOPQ"),
    ("token", f"sntrys_{A40}"),
    ("key", f"PMAK-{HEX32}"),
    ("key", f"lin_api_{A40}"),
    ("token", f"ntn_{A40}"),
    ("token", f"sbp_{HEX32}01234567"),
    ("token", f"lst_{A40}aBc"),
    ("token", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{A40}"),
    ("private key", f"-----BEGIN RSA PRIVATE KEY-----\n{A64}\n-----END RSA PRIVATE KEY-----"),
    ("private key", f"-----BEGIN OPENSSH PRIVATE KEY-----\\n{A64}\\n"),
    (
        "private key",
        f"-----BEGIN {PGP}-----\n{A64}\n-----END {PGP}-----",
    ),
    ("private key", f"AGE-SECRET-KEY-1{'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L' * 2}"),
]

# Each holds the word hunter2, which must go, and what must stay around it.
PLACED = [
    ("password", "postgresql://app:hunter2@db.example:5432/x", "db.example:5432/x"),
    ("password", "mysql+pymysql://root:hunter2%21@h/x", "@h/x"),
    ("password", "redis://:hunter2@cache/0", "@cache/0"),
    ("password", "amqp://u:p@hunter2@host/v", "@host/v"),
    ("password", "https://user:hunter2@example.com/a?b=c", "example.com/a?b=c"),
    ("credential", "https://hunter2hunter2hunter2@host/x", "@host/x"),
    ("credential", "https://hooks.slack.com/services/T0/B0/hunter2", "hooks.slack.com"),
    ("credential", "https://discord.com/api/webhooks/123/hunter2", "/123/"),
    ("password", "Authorization: Basic hunter2=", "Basic"),
    ("token", "Authorization: Bearer hunter2hunter2hunter2", "Bearer"),
    ("password", '{"password": "hunter2", "host": "db"}', '"host": "db"'),
    ("password", '{"db_password":"say \\"hunter2\\"!", "host": "db"}', '"host": "db"'),
    ("password", '{\\"password\\": \\"hunter2\\"}', "password"),
    ("password", "{'passwd': 'hunter2', 'a': 1}", "'a': 1"),
    ("password", "host=db user=app password=hunter2 dbname=x", "dbname=x"),
    ("password", "PGPASSWORD=hunter2 psql", "psql"),
    ("password", "Driver=x;Server=y;UID=app;PWD={hunter2};Encrypt=yes", "Encrypt=yes"),
    ("password", "db.password: hunter2\nhost: db", "host: db"),
    ("password", "connect --password hunter2 --host db", "--host db"),
    ("password", "CREATE USER x IDENTIFIED BY 'hunter2'", "CREATE USER x"),
    ("secret", "client_secret=hunter2&grant_type=x", "grant_type=x"),
    ("secret", "OAUTH_CLIENT_SECRET: hunter2", "OAUTH_CLIENT_SECRET"),
    ("key", "AccountName=a;AccountKey=hunter2==;EndpointSuffix=core", "EndpointSuffix=core"),
    ("key", "SharedAccessKeyName=n;SharedAccessKey=hunter2=", "SharedAccessKeyName=n"),
    ("key", "AWS_SECRET_ACCESS_KEY=hunter2/x", "AWS_SECRET_ACCESS_KEY"),
    ("key", "X-Api-Key: hunter2", "X-Api-Key"),
    ("key", '{"apiKey": "hunter2"}', "apiKey"),
    ("key", "https://api.example/v1?api_key=hunter2&q=1", "&q=1"),
    ("token", "https://api.example/v1?access_token=hunter2&q=1", "&q=1"),
    ("token", '{"refreshToken": "hunter2"}', "refreshToken"),
    ("signature", "https://a.blob.core.windows.net/c?sv=1&sig=hunter2%3D&se=2", "&se=2"),
    ("signature", "https://s3/b?X-Amz-Signature=hunter2&X-Amz-Expires=9", "X-Amz-Expires=9"),
    ("credential", "Cookie: sessionid=hunter2; a=b\nHost: x", "Host: x"),
    ("credential", '{"connection_string": "hunter2"}', "connection_string"),
    ("password", '{"cut": 1, "password": "hunter2 and then the excerpt en', '"cut": 1'),
]

INNOCENT = [
    "The token 0192ab of row 7 was not found: key=row_id, author=me",
    '{"max_tokens": 100, "token_id": "tok-1", "tokens": 5, "primary_key": "id"}',
    '{"password": null, "api_key": "${API_KEY}", "secret": "{{ secret }}", "pwd": "***"}',
    '{"api_key_fingerprint": "' + "ab" * 32 + '", "public_key": "ssh-ed25519 AAAA"}',
    "compass=north; monkey: banana; design=5; signal: 4; keyboard: us; passport_office: x",
    "authentication failed: the reason is unknown; bearer of news",
    "http://host:80/path?x=@b and file:///data/in.csv and s3://bucket/key.csv",
    "a" * 64,
    "550e8400-e29b-41d4-a716-446655440000",
    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
]


class TestMasked:
    @pytest.mark.parametrize(("kind", "secret"), SHAPES)
    def test_hides_what_has_the_shape_of_a_secret(self, kind, secret):
        for around in ("{}", 'x "{}" y', "failed for {}: 401", '{{"a":"{}"}}'):
            shown = masked(around.format(secret))

            assert secret not in shown
            assert A20[:12] not in shown
            assert f"‹masked: {kind}›" in shown

    @pytest.mark.parametrize(("kind", "text", "kept"), PLACED)
    def test_hides_what_stands_in_the_place_of_a_secret(self, kind, text, kept):
        shown = masked(text)

        assert "hunter2" not in shown
        assert f"‹masked: {kind}›" in shown
        assert kept in shown

    @pytest.mark.parametrize("text", INNOCENT)
    def test_leaves_everything_else(self, text):
        assert masked(text) == text

    def test_changes_nothing_the_second_time(self):
        for _kind, text, _kept in PLACED:
            assert masked(masked(text)) == masked(text)

    @pytest.mark.parametrize(
        "part", ["eyJ", "a://b:", "a-", 'password="', "bearer ", "a_secret", "1:", "\\", "sk-"]
    )
    def test_takes_time_in_proportion_to_the_text(self, part):
        def took(length):
            text = (part * length)[:length] + " password"
            start = time.process_time()
            masked(text)
            return time.process_time() - start

        small, large = took(4_000), took(40_000)

        # Ten times the text; a hundred times the time would be quadratic.
        assert large < 40 * max(small, 0.001)
