// checkAuthz, checkPrincipalAuthz and what the package derives from their answers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthenticationError, AuthorizationError, gateway, ValidationError, WachtError } from "@wacht/backend";
import { assertRefused, authzUrl, client, newApp, newScheme } from "./connection.mjs";

const options = { gatewayUrl: authzUrl };

function payloadFor(secret, fields = {}) {
  return { principalType: "api_key", principalValue: secret, resource: "/v1/invoices", method: "GET", ...fields };
}

async function newKey(app_slug, fields = {}) {
  return client.apiKeys.createApiKey(app_slug, { name: "Decided", ...fields });
}

test("an allowed request carries the identity, the permissions, the limits and the headers", async () => {
  const rules = [{ unit: "minute", duration: 1, max_requests: 2, mode: "per_key" }];
  const scheme = await newScheme("decision", rules);
  const app = await newApp("decision", {
    organization_id: 41,
    workspace_id: 42,
    rate_limit_scheme_slug: scheme.slug,
  });
  const { key, secret } = await newKey(app.app_slug, {
    permissions: ["invoices:read"],
    metadata: { team: "billing", principal_type: "oauth_access_token" },
  });

  const full = payloadFor(secret, {
    clientIp: "203.0.113.9",
    userAgent: "invoicer/1.0",
    requiredPermissions: ["invoices:read"],
  });
  const allowed = await client.gateway.checkPrincipalAuthz(full, options);
  assert.equal(allowed.allowed, true);
  assert.deepEqual([allowed.reason ?? null, allowed.blocked_rule ?? null, allowed.retry_after ?? null], [null, null, null]);
  assert.ok(allowed.request_id.length > 0);
  assert.deepEqual(allowed.permissions, ["invoices:read"]);
  assert.deepEqual(allowed.rate_limits, [{ rule: "per_key-60s", remaining: 1, limit: 2 }]);
  assert.equal(allowed.metadata.team, "billing");
  assert.equal(allowed.metadata.principal_type, "api_key", "whatever the key's own metadata says");
  const headers = new Headers(allowed.headers);
  assert.equal(headers.get("X-Wacht-Key-ID"), key.id);
  assert.equal(headers.get("X-Wacht-App-Slug"), app.app_slug);
  assert.match(headers.get("RateLimit-Policy"), /"per_key-60s";q=2;w=60/);
  assert.match(headers.get("RateLimit"), /"per_key-60s";r=1/);

  const identity = gateway.resolveAuthzIdentity(allowed);
  assert.equal(identity.principal_type, "api_key");
  assert.deepEqual([identity.key_id, identity.deployment_id], [key.id, app.deployment_id]);
  assert.deepEqual([identity.app_slug, identity.key_name], [app.app_slug, "Decided"]);
  assert.deepEqual([identity.organization_id, identity.workspace_id], ["41", "42"]);

  const context = client.gateway.resolveGatewayPrincipalContext(allowed);
  assert.equal(context.tokenType, "api_key");
  assert.deepEqual([context.ownerUserId, context.organizationId, context.workspaceId], [null, "41", "42"]);
  assert.deepEqual(context.permissions, ["invoices:read"]);
  assert.deepEqual(context.metadata.organization_permissions, ["invoices:read"]);

  const denied = await gateway.checkPrincipalAuthz(payloadFor(secret, { requiredPermissions: ["invoices:write"] }), options);
  assert.deepEqual([denied.allowed, denied.reason], [false, "permission_denied"]);

  assert.equal((await gateway.checkPrincipalAuthz(payloadFor(secret), options)).allowed, true, "the denial charged nothing");
  const limited = await gateway.checkPrincipalAuthz(payloadFor(secret), options);
  assert.deepEqual([limited.allowed, limited.reason, limited.blocked_rule], [false, "rate_limited", "per_key-60s"]);
  assert.ok(Number.isInteger(limited.retry_after) && limited.retry_after >= 1 && limited.retry_after <= 60);
  assert.equal(gateway.resolveAuthzIdentity(limited).key_id, key.id);
});

test("checkAuthz takes the principal as it is, with and without the optional fields", async () => {
  const { app_slug } = await newApp("check");
  const { key, secret } = await newKey(app_slug);
  const bare = { principal: { type: "api_key", value: secret }, resource: "/v1/x", method: "POST" };
  const full = { ...bare, client_ip: "2001:db8::1", user_agent: "x", required_permissions: [] };
  for (const payload of [bare, full]) {
    const allowed = await client.gateway.checkAuthz(payload, options);
    assert.deepEqual([allowed.allowed, allowed.identity.key_id], [true, key.id]);
    assert.deepEqual([allowed.permissions, allowed.metadata.principal_type], [[], "api_key"]);
  }
});

test("the options given are all used", async () => {
  const { app_slug } = await newApp("options");
  const { secret } = await newKey(app_slug);
  const asked = [];
  const recording = (url, init) => (asked.push(url), fetch(url, init));
  const all = { gatewayUrl: `${authzUrl}//`, timeout: 10_000, fetch: recording };
  assert.equal((await gateway.checkPrincipalAuthz(payloadFor(secret), all)).allowed, true);
  assert.deepEqual(asked, [`${authzUrl}/v1/authz/check`]);
});

test("with its options left out the package asks its own host by the same path", async () => {
  const { app_slug } = await newApp("no-options");
  const { secret } = await newKey(app_slug);
  const real = globalThis.fetch;
  const redirected = (url, init) => {
    const { origin, pathname } = new URL(url);
    return origin === "https://gateway.wacht.dev" ? real(authzUrl + pathname, init) : real(url, init);
  };
  globalThis.fetch = redirected;
  try {
    assert.equal((await client.gateway.checkPrincipalAuthz(payloadFor(secret))).allowed, true);
    assert.equal((await gateway.checkPrincipalAuthz(payloadFor(secret))).allowed, true);
  } finally {
    globalThis.fetch = real;
  }
});

test("a refusal that is no decision is an error of the right class", async () => {
  const { app_slug } = await newApp("refused");
  const { key, secret } = await newKey(app_slug);
  const check = (payload) => () => gateway.checkPrincipalAuthz(payload, options);

  for (const value of ["", "not-a-key", `sk_live_${"0".repeat(43)}`, `${secret}x`]) {
    await assertRefused(check(payloadFor(value)), AuthenticationError, 401);
  }
  await assertRefused(check(payloadFor(secret, { method: "NOT A METHOD" })), ValidationError, 400, "method");
  await assertRefused(check(payloadFor(secret, { resource: "v1/no-slash" })), ValidationError, 400, "resource");
  await assertRefused(check(payloadFor(secret, { requiredPermissions: ["a AND"] })), ValidationError, 400);
  await assertRefused(check(payloadFor(secret, { principalType: "oauth_access_token" })), ValidationError, 400);

  const expired = await newKey(app_slug, { expires_at: new Date(Date.now() + 1_500).toISOString() });
  assert.equal((await check(payloadFor(expired.secret))()).allowed, true);
  await client.apiKeys.revokeApiKey(app_slug, key.id, {});
  await assertRefused(check(payloadFor(secret)), AuthorizationError, 403);
  const deadline = Date.now() + 10_000;
  let refusal;
  while (!refusal && Date.now() < deadline) {
    refusal = await check(payloadFor(expired.secret))().then(() => undefined, (error) => error);
  }
  assert.equal(refusal?.constructor, AuthorizationError, "an expired key is refused");

  const { secret: asleep } = await newKey(app_slug);
  await client.apiKeys.updateApiAuthApp(app_slug, { is_active: false });
  await assertRefused(check(payloadFor(asleep)), AuthorizationError, 403);
});

test("a gateway that cannot be reached is an error of the package", async () => {
  await assert.rejects(
    gateway.checkPrincipalAuthz(payloadFor("sk_live_x"), { gatewayUrl: "http://127.0.0.1:1" }),
    WachtError,
  );
});
