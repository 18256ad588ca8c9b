/**
 * The attestation of an export: a DSSE envelope around an in-toto statement, about the manifests.
 *
 * Needs `notes.js`.
 */
(() => {
  "use strict";
  const { Failed, Unsure, asText, fromBase64, hex, joined, utf8 } = landscape;

  const WHAT = "attestation.dsse.json";
  const BUILD_TYPE = "https://landscape.dev/landscape-export/v1";
  const STATEMENT = "https://in-toto.io/Statement/v1";
  const PREDICATE = "https://slsa.dev/provenance/v1";
  const PAYLOAD_TYPE = "application/vnd.in-toto+json";

  /** What a DSSE envelope holds, and the trusted key that signed it. */
  async function openEnvelope(content, keys, what) {
    let envelope;
    try {
      envelope = JSON.parse(asText(content, what));
      envelope.signatures.forEach(({ keyid, sig }) => [keyid, sig].map((each) => each.length));
      envelope.payloadType.length;
    } catch {
      throw new Failed(`${what} is malformed`);
    }
    const body = fromBase64(envelope.payload);
    const kind = envelope.payloadType;
    const head = utf8(`DSSEv1 ${utf8(kind).length} ${kind} ${body.length} `);
    const found = [];
    for (const { keyid, sig } of envelope.signatures) {
      const key = keys.find((each) => each.fingerprint === keyid);
      if (key) found.push([key, await key.verifies(fromBase64(sig), joined([head, body]))]);
    }
    if (!found.length) throw new Unsure(`${what} is signed by no key that you trust`);
    const good = found.every(([, verified]) => verified);
    if (!good) throw new Failed(`the signature of ${what} is wrong`);
    return { kind, body, key: found[0][0] };
  }

  /** What it attests, signed by a trusted key and about this very checkpoint. */
  async function readAttestation(content, keys, { origin, size, root }) {
    const { kind, body } = await openEnvelope(content, keys, WHAT);
    if (kind !== PAYLOAD_TYPE) throw new Failed(`the signature of ${WHAT} is wrong`);
    let attested;
    let kinds;
    let told;
    try {
      const statement = JSON.parse(asText(body, WHAT));
      const build = statement.predicate.buildDefinition;
      const about = build.resolvedDependencies[0];
      kinds = [statement._type, statement.predicateType, build.buildType];
      told = [about.name, about.digest.sha256, about.annotations.tree_size];
      attested = {
        runId: build.externalParameters.run_id,
        epoch: build.externalParameters.epoch,
        include: [...build.externalParameters.include],
        subjects: new Map(statement.subject.map((each) => [each.name, each.digest.sha256])),
        finished: statement.predicate.runDetails.metadata.finishedOn,
      };
    } catch {
      throw new Failed(`${WHAT} is malformed`);
    }
    if (kinds.join("\n") !== [STATEMENT, PREDICATE, BUILD_TYPE].join("\n")) {
      throw new Unsure(`${WHAT} is of a kind that this program does not know`);
    }
    if (told.join("\n") !== [origin, hex(root), size].join("\n")) {
      throw new Failed(`${WHAT} is about another run, epoch or root than the checkpoint`);
    }
    const names = [...attested.subjects.keys()].sort().join(" ");
    if (names !== "manifest-sha256.txt tagmanifest-sha256.txt") {
      throw new Failed(`${WHAT} is about other files than the two manifests`);
    }
    return attested;
  }

  Object.assign(landscape, { openEnvelope, readAttestation });
})();
