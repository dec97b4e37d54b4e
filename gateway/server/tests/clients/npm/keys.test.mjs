// Keys: create, list, revoke, rotate, with every optional argument left out and given; and that a secret opens what it
// should, and no longer than it should.

import assert from "node:assert/strict";
import { test } from "node:test";
import { apiKeys, gateway } from "@wacht/backend";
import { assertRecent, authzUrl, client, newApp, newScheme, sentBodies, token } from "./connection.mjs";

async function opens(secret) {
  const payload = { principalType: "api_key", principalValue: secret, resource: "/v1/invoices", method: "GET" };
  try {
    return (await gateway.checkPrincipalAuthz(payload, { gatewayUrl: authzUrl })).allowed;
  } catch (error) {
    assert.equal(error.statusCode, 403, String(error));
    return false;
  }
}

test("a key of required fields answers with the defaults", async () => {
  const app = await newApp("bare-key");
  const { key, secret } = await client.apiKeys.createApiKey(app.app_slug, { name: "A key" });
  assert.match(key.id, /^[1-9]\d*$/);
  assert.equal(key.deployment_id, app.deployment_id);
  assert.equal(key.app_slug, app.app_slug);
  assert.deepEqual([key.name, key.key_prefix, key.is_active], ["A key", "sk_live", true]);
  assert.match(secret, /^sk_live_[0-9A-Za-z]{43}$/);
  assert.equal(key.key_suffix, secret.slice(-8));
  assert.deepEqual([key.permissions, key.org_role_permissions, key.workspace_role_permissions], [[], [], []]);
  assert.deepEqual(key.metadata, {});
  const unset = ["organization_id", "workspace_id", "organization_membership_id", "workspace_membership_id"];
  for (const name of [...unset, "expires_at", "last_used_at", "revoked_at", "revoked_reason"]) {
    assert.equal(key[name] ?? null, null, name);
  }
  assert.equal("key_hash" in key, false);
  assertRecent(key.created_at);
  assert.equal(await opens(secret), true);
});

test("a key of all fields is read back as it was written", async () => {
  const rules = [{ unit: "minute", duration: 1, max_requests: 60, mode: "per_app_and_ip" }];
  const scheme = await newScheme("key-scheme", rules);
  const app = await newApp("full-key", {
    organization_id: 31,
    workspace_id: 32,
    rate_limit_scheme_slug: scheme.slug,
    permissions: ["read", "write"],
  });
  const expires_at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 86_400_000).toISOString();
  const request = {
    name: "Nightly export",
    permissions: ["read"],
    metadata: { team: "billing", nested: { list: [1, "two", null, true] }, text: "é🔑" },
    expires_at,
  };
  const { key: created } = await client.apiKeys.createApiKey(app.app_slug, request);
  const [read, ...others] = await client.apiKeys.listApiKeys(app.app_slug);
  assert.deepEqual(others, []);
  for (const key of [created, read]) {
    assert.deepEqual([key.name, key.permissions, key.metadata], [request.name, request.permissions, request.metadata]);
    assert.equal(Date.parse(key.expires_at), Date.parse(expires_at));
    assert.deepEqual([key.organization_id, key.workspace_id], ["31", "32"]);
    assert.deepEqual(key.rate_limits, rules, "the app's rules hold for the key");
  }
});

test("a revoked key opens nothing from then on, whether or not a reason is given", async () => {
  const { app_slug } = await newApp("revoke");
  const kept = await client.apiKeys.createApiKey(app_slug, { name: "Kept" });
  const revocations = [
    ["Leaked in a log", (id) => client.apiKeys.revokeApiKey(app_slug, id, { reason: "Leaked in a log" })],
    [undefined, (id) => client.apiKeys.revokeApiKey(app_slug, id, {})],
    [undefined, (id) => client.apiKeys.revokeApiKey(app_slug, id, undefined)],
    // The options are left out: the package sends its own client object as the body.
    [undefined, (id) => client.apiKeys.revokeApiKey(app_slug, id)],
    [undefined, (id) => apiKeys.revokeApiKey(app_slug, id)],
  ];
  for (const [reason, revoke] of revocations) {
    const { key, secret } = await client.apiKeys.createApiKey(app_slug, { name: "Revoked" });
    assert.equal(await opens(secret), true);
    await revoke(key.id);
    assert.equal(await opens(secret), false, String(revoke));
    const all = await client.apiKeys.listApiKeys(app_slug, { include_inactive: true });
    const revoked = all.find((listed) => listed.id === key.id);
    assert.equal(revoked.is_active, false);
    assertRecent(revoked.revoked_at);
    if (reason) assert.equal(revoked.revoked_reason, reason);
    for (const text of [JSON.stringify(revoked), revoked.revoked_reason ?? ""]) {
      assert.ok(!text.includes(token), "the body's token is kept nowhere");
    }
  }
  const ownClientSent = sentBodies.some((body) => body?.includes("defaultHeaders") && body.includes(token));
  assert.ok(ownClientSent, "the package sent its own client, token and all");

  const lists = [
    () => client.apiKeys.listApiKeys(app_slug),
    () => client.apiKeys.listApiKeys(app_slug, {}),
    () => client.apiKeys.listApiKeys(app_slug, { include_inactive: false }),
    () => apiKeys.listApiKeys(app_slug, undefined, client),
    () => apiKeys.listApiKeys(app_slug),
  ];
  for (const list of lists) assert.deepEqual((await list()).map((key) => key.id), [kept.key.id], String(list));
  assert.equal(await opens(kept.secret), true);
});

test("a rotated key gives way to its successor at once", async () => {
  const { app_slug } = await newApp("rotate");
  const request = { name: "Rotated", permissions: ["read"], metadata: { kept: true } };
  const old = await client.apiKeys.createApiKey(app_slug, request);
  assert.equal(await opens(old.secret), true);

  const successor = await client.apiKeys.rotateApiKey(app_slug, old.key.id);
  assert.notEqual(successor.key.id, old.key.id);
  assert.notEqual(successor.secret, old.secret);
  for (const [name, value] of Object.entries(request)) assert.deepEqual(successor.key[name], value, name);
  assert.deepEqual([await opens(old.secret), await opens(successor.secret)], [false, true]);

  const third = await apiKeys.rotateApiKey(app_slug, successor.key.id);
  assert.deepEqual([await opens(successor.secret), await opens(third.secret)], [false, true]);
  const all = await client.apiKeys.listApiKeys(app_slug, { include_inactive: true });
  assert.equal(all.find((key) => key.id === old.key.id).revoked_reason, "Rotated");
});
