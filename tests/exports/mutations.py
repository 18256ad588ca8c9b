"""One fault each, done to a bag, with what a verifier must say of it."""

from __future__ import annotations

import base64
import json
import shutil

from tests.builders import digest
from tests.exports import forging
from tests.exports.forging import DATA, NAME, OTHER


def edit(path, old, new, count=1):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))


def change_line(bag, index, old, new):
    content = forging.lines(bag)
    assert old in content[index]
    content[index] = content[index].replace(old, new, 1)
    forging.write_lines(bag, content)


def flip_byte(bag):
    change_line(bag, 400, b'"record_type":"token"', b'"record_type":"tokem"')


def flip_byte_in_last_block(bag):
    change_line(bag, 600, b'"token"', b'"tokem"')


def drop_record(bag):
    content = forging.lines(bag)
    forging.write_lines(bag, content[:-1])


def append_record(bag):
    content = forging.lines(bag)
    forging.write_lines(bag, [*content, content[-1]])


def swap_records(bag):
    content = forging.lines(bag)
    content[10], content[11] = content[11], content[10]
    forging.write_lines(bag, content)


def edit_csv(bag):
    edit(bag / "data" / "csv" / "row.csv", b",299,", b",298,")


def edit_bag_info(bag):
    edit(bag / "bag-info.txt", b"Source-Organization: audit", b"Source-Organization: other")


def edit_readme(bag):
    edit(bag / "README.txt", b"HOW", b"NOW")


def extra_tag_file(bag):
    (bag / "notes.txt").write_text("x")


def extra_data_file(bag):
    (bag / "data" / "more.txt").write_text("x")


def edit_checkpoint(bag):
    edit(bag / "tlog" / "checkpoint", b"\n603\n", b"\n602\n")


def crlf_manifest(bag):
    edit(bag / "manifest-sha256.txt", b"\n", b"\r\n", -1)


def crlf_records(bag):
    edit(bag / DATA, b"\n", b"\r\n", -1)


def tamper_and_rebuild_manifests(bag):
    flip_byte(bag)
    forging.rebuild_manifests(bag)


def tamper_and_reattest_with_own_key(bag):
    flip_byte(bag)
    forging.reseal(bag, OTHER)


def forged_leaf(bag):
    content = forging.lines(bag)
    content[20] = b'{"$leaf":"%s"}\n' % base64.b64encode(bytes(32))
    forging.write_lines(bag, content)
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def lying(change):
    """A producer who signs a tree that is not as it should be."""

    def do(bag):
        content = forging.lines(bag)
        change(content)
        forging.write_lines(bag, content)
        shutil.rmtree(bag / "data" / "csv")
        forging.reseal(bag)

    return do


def wrong_counts(content):
    content[0] = content[0].replace(b'\\"row\\":300', b'\\"row\\":299')
    content[0] = content[0].replace(b'\\"token\\":300', b'\\"token\\":301')


def types_out_of_order(content):
    content[302], content[303] = content[303], content[302]


def keys_out_of_order(content):
    content[10], content[11] = content[11], content[10]


def twice(content):
    content[11] = content[10]


def foreign_run(content):
    content[10] = content[10].replace(b'"run_id":"many"', b'"run_id":"more"')


def other_epoch(content):
    content[0] = content[0].replace(b'"epoch":1', b'"epoch":2')


def other_schema(content):
    at = content[0].index(b'"schema_sha256":"') + 17
    content[0] = content[0][:at] + b"0" * 64 + content[0][at + 64 :]


def truncated(content):
    del content[-1]


def not_json(content):
    content[10] = b"{" + content[10]


def lose_payload(bag):
    absent = bag / "data" / "payloads" / "absent.txt"
    assert absent.read_text().count("\n") == 1
    absent.write_text("")
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def said_to_be_purged(bag):
    edit(bag / "data" / "payloads" / "absent.txt", b" missing", b" purged")
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def attested_other(bag):
    def change(told):
        about = told["predicate"]["buildDefinition"]["resolvedDependencies"][0]
        about["name"] = f"{NAME}/run/another"

    forging.attest(bag, change=change)


def spoilt_signature(bag):
    envelope = json.loads((bag / "attestation.dsse.json").read_bytes())
    made = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    made[5] ^= 1
    envelope["signatures"][0]["sig"] = base64.b64encode(made).decode()
    (bag / "attestation.dsse.json").write_text(json.dumps(envelope))


def other_origin(bag):
    forging.reseal(bag, origin="evil.example.com/run/many")


def csv_that_says_something_else(bag):
    edit_csv(bag)
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def csv_with_a_row_more(bag):
    path = bag / "data" / "csv" / "row.csv"
    content = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join([*content[:-1], content[-2], b""]))
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def future_version(bag):
    edit(bag / "data" / "schema.json", b"landscape-export/1", b"landscape-export/2")


def signed_future_version(bag):
    future_version(bag)
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def attested_with_own_key(bag):
    forging.attest(bag, OTHER)


def key_of_another_authority(bag):
    """Under a name of its own, with a key that it publishes itself."""
    forging.reseal(bag, OTHER, name="evil.example.com/landscape")


def true_key_under_another_name(bag):
    forging.reseal(bag, forging.TRUE, name="evil.example.com/landscape")


def second_signature(bag):
    """A key that is trusted signs twice, once wrongly: no line of it may be overlooked."""
    path = bag / "tlog" / "checkpoint"
    text = path.read_text()
    name, signature = text.splitlines()[4][2:].split(" ")
    raw = bytearray(base64.b64decode(signature))
    raw[-1] ^= 1
    path.write_text(f"{text}\u2014 {name} {base64.b64encode(raw).decode()}\n")
    forging.rebuild_manifests(bag)
    forging.attest(bag)


def link(bag):
    (bag / "link").symlink_to("/etc/passwd")


def deep_json(bag):
    (bag / "attestation.dsse.json").write_text("[" * 500_000)


def schema_without_seals(bag):
    edit(bag / "data" / "schema.json", b'"name":"seal"', b'"name":"sale"')
    forging.rebuild_manifests(bag)


def seal_without_reason(content):
    content[0] = content[0].replace(b'"reason":', b'"treason":')


def csv_of_other_bytes(bag):
    edit(bag / "data" / "csv" / "row.csv", b"many", b"ma\xffy")


def level_file(bag):
    path = bag / "tlog" / "1.hashes"
    path.write_bytes(path.read_bytes()[:32] + bytes(32))


MATRIX = [
    (flip_byte, 1, r"records 256 to 511 \(block 1\)"),
    (flip_byte_in_last_block, 1, "one of 512 to 602 was changed"),
    (drop_record, 1, "there are 602 records, but 603 were sealed"),
    (append_record, 1, "there are 604 records, but 603 were sealed"),
    (swap_records, 1, r"record 11 .* is not in order.*records 0 to 255"),
    (edit_csv, 1, r"data/csv/row.csv does not say what record 302 "),
    (edit_bag_info, 1, "bag-info.txt is not what the manifest says"),
    (edit_readme, 1, "README.txt is not what the manifest says"),
    (extra_tag_file, 1, "notes.txt is in no manifest"),
    (extra_data_file, 1, "data/more.txt is in no manifest"),
    (edit_checkpoint, 1, "tlog/checkpoint: the signature of .* is wrong"),
    (crlf_manifest, 1, "manifest-sha256.txt is not the attested one"),
    (crlf_records, 1, "bag-info.txt does not count"),
    (tamper_and_rebuild_manifests, 1, "not the attested one.*records 256 to 511"),
    (tamper_and_reattest_with_own_key, 2, "signed by no key that you trust"),
    (forged_leaf, 1, "records 0 to 255"),
    (lying(wrong_counts), 1, r"record 302 \(.*line 303\) is no token of this run"),
    (lying(types_out_of_order), 1, r"record 302 \(.*line 303\) is no row of this run"),
    (lying(keys_out_of_order), 1, r"record 11 \(.*line 12\) is not in order"),
    (lying(twice), 1, "record 11 .* is not in order"),
    (lying(foreign_run), 1, "record 10 .* is no row of this run"),
    (lying(other_epoch), 1, "record 0 .* is not the seal of epoch 1"),
    (lying(other_schema), 1, "schema.json is not the schema that was sealed"),
    (lying(truncated), 1, "more records than there are"),
    (lose_payload, 1, f"PAYLOAD_MISSING: {digest('x')}, to which record 3 "),
    (said_to_be_purged, 1, f"PAYLOAD_MISSING: {digest('x')} is said to be purged"),
    (attested_other, 1, "about another run, epoch or root"),
    (spoilt_signature, 1, "the signature of attestation.dsse.json is wrong"),
    (other_origin, 1, "a tree of another origin"),
    (csv_that_says_something_else, 1, "row.csv does not say what record 302 "),
    (csv_with_a_row_more, 1, "row.csv has more rows"),
    (future_version, 2, "landscape-export/2"),
    (signed_future_version, 2, "landscape-export/2"),
    (attested_with_own_key, 2, "attestation.dsse.json.*no key that you trust"),
    (key_of_another_authority, 2, "tlog/checkpoint.*no key that you trust"),
    (true_key_under_another_name, 2, "tlog/checkpoint.*no key that you trust"),
    (second_signature, 1, "tlog/checkpoint: .*(wrong|twice)"),
    (link, 1, "link is a link"),
    (deep_json, 1, "nested deeper"),
    (schema_without_seals, 1, "not the attested one.*schema.json is malformed"),
    (lying(seal_without_reason), 1, "record 0 .* is not the seal of an epoch"),
    (csv_of_other_bytes, 1, "row.csv does not say what record 3 "),
    (level_file, 1, r"block 1\) are not .* or tlog/1.hashes is not"),
]
