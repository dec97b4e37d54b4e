// The error class and message that the package's callers see when a call of the control API is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AuthenticationError,
  AuthorizationError,
  ConflictError,
  NotFoundError,
  parseApiError,
  ValidationError,
} from "@wacht/backend";
import { assertRefused, bareApp, client, clientWith, freeClient, fresh, newApp, newScheme } from "./connection.mjs";

const { apiKeys } = client;
const rule = { unit: "second", duration: 1, max_requests: 1 };

function scheme(rules, slug = fresh("refused")) {
  return { slug, name: "A scheme", rules };
}

test("an invalid app is a ValidationError that names the field", async () => {
  const app = () => bareApp(fresh("bad"));
  const requests = [
    ["app_slug", bareApp("Not A Slug")],
    ["app_slug", bareApp("a".repeat(65))],
    ["app_slug", { name: "No slug", key_prefix: "sk" }],
    ["name", { ...app(), name: "" }],
    ["name", { ...app(), name: undefined }],
    ["name", { ...app(), name: 5 }],
    ["key_prefix", { ...app(), key_prefix: "ends_" }],
    ["organization_id", { ...app(), organization_id: "org_abc123" }],
    ["workspace_id", { ...app(), workspace_id: -1 }],
    ["permissions", { ...app(), permissions: "read" }],
    ["no-such-scheme", { ...app(), rate_limit_scheme_slug: "no-such-scheme" }],
    ["user_id", { ...app(), user_id: 5, permissions: ["read"] }],
    ["user_id", { ...app(), user_id: 5, resources: ["a/*"] }],
  ];
  for (const [name, request] of requests) {
    await assertRefused(() => apiKeys.createApiAuthApp(request), ValidationError, 400, name);
  }
  const { app_slug } = await newApp("bad-update");
  await assertRefused(() => apiKeys.updateApiAuthApp(app_slug, { key_prefix: "a b" }), ValidationError, 400, "key_prefix");
});

test("an invalid key is a ValidationError that names the field", async () => {
  const { app_slug } = await newApp("bad-key", { permissions: ["read"] });
  const requests = [
    ["name", {}],
    ["name", { name: "" }],
    ["write", { name: "Too much", permissions: ["read", "write"] }],
    ["expires_at", { name: "Late", expires_at: new Date(Date.now() - 1_000).toISOString() }],
    ["expires_at", { name: "Never", expires_at: "tomorrow" }],
    ["metadata", { name: "Listed", metadata: ["a list"] }],
    ["organization_membership_id", { name: "Member", organization_membership_id: "1" }],
    ["workspace_membership_id", { name: "Member", workspace_membership_id: "1" }],
  ];
  for (const [name, request] of requests) {
    await assertRefused(() => apiKeys.createApiKey(app_slug, request), ValidationError, 400, name);
  }
});

test("an invalid scheme is a ValidationError that names the rule's field or bound", async () => {
  const requests = [
    ["rules", scheme([])],
    ["rules", { slug: fresh("refused"), name: "No rules" }],
    ["60000", scheme([{ ...rule, unit: "millisecond", duration: 60_001 }])],
    ["1800", scheme([{ ...rule, duration: 1_801 }])],
    ["720", scheme([rule, { ...rule, unit: "hour", duration: 721 }])],
    ["max_requests", scheme([{ ...rule, max_requests: 0 }])],
    ["max_requests", scheme([{ ...rule, max_requests: 2 ** 31 }])],
    ["unit", scheme([{ ...rule, unit: "fortnight" }])],
    ["mode", scheme([{ ...rule, mode: "per_planet" }])],
    ["endpoints", scheme([{ ...rule, endpoints: ["no-slash"] }])],
    ["slug", scheme([rule], "Not A Slug")],
  ];
  for (const [name, request] of requests) {
    await assertRefused(() => apiKeys.createRateLimitScheme(request), ValidationError, 400, name);
  }
});

test("a wrong token is an AuthenticationError", async () => {
  const nobody = clientWith("not-a-token").apiKeys;
  const calls = [
    () => nobody.listApiAuthApps({}),
    () => nobody.getApiAuthApp("any"),
    () => nobody.createApiAuthApp(bareApp(fresh("nobody"))),
    () => nobody.updateApiAuthApp("any", {}),
    () => nobody.deleteApiAuthApp("any"),
    () => nobody.listApiKeys("any", {}),
    () => nobody.createApiKey("any", { name: "Nobody's" }),
    () => nobody.revokeApiKey("any", "1", {}),
    () => nobody.rotateApiKey("any", "1"),
    () => nobody.listRateLimitSchemes(),
    () => nobody.getRateLimitScheme("any"),
    () => nobody.createRateLimitScheme(scheme([rule])),
    () => nobody.updateRateLimitScheme("any", {}),
    () => nobody.deleteRateLimitScheme("any"),
  ];
  for (const call of calls) await assertRefused(call, AuthenticationError, 401);
});

test("an app on the free plan is an AuthorizationError", async () => {
  await assertRefused(() => freeClient.apiKeys.createApiAuthApp(bareApp(fresh("free"))), AuthorizationError, 403, "plan");
});

test("what does not exist is a NotFoundError", async () => {
  const slug = fresh("missing");
  const { app_slug } = await newApp("present");
  const other = (await newApp("other")).app_slug;
  const { key } = await apiKeys.createApiKey(app_slug, { name: "A key" });
  const revoked = (await apiKeys.createApiKey(app_slug, { name: "Revoked" })).key;
  await apiKeys.revokeApiKey(app_slug, revoked.id, {});
  const calls = [
    () => apiKeys.getApiAuthApp(slug),
    () => apiKeys.updateApiAuthApp(slug, {}),
    () => apiKeys.deleteApiAuthApp(slug),
    () => apiKeys.listApiKeys(slug, {}),
    () => apiKeys.createApiKey(slug, { name: "Homeless" }),
    () => apiKeys.getRateLimitScheme(slug),
    () => apiKeys.updateRateLimitScheme(slug, {}),
    () => apiKeys.deleteRateLimitScheme(slug),
    () => apiKeys.revokeApiKey(other, key.id, {}),
    () => apiKeys.rotateApiKey(other, key.id),
    () => apiKeys.revokeApiKey(app_slug, "not-a-number", {}),
    () => apiKeys.rotateApiKey(app_slug, "key_abc123"),
    () => apiKeys.revokeApiKey(app_slug, "9223372036854775807", {}),
    () => apiKeys.rotateApiKey(app_slug, "9223372036854775807"),
    () => apiKeys.revokeApiKey(app_slug, revoked.id, {}),
    () => apiKeys.rotateApiKey(app_slug, revoked.id),
    () => apiKeys.getRateLimitScheme("a/../b"),
  ];
  for (const call of calls) await assertRefused(call, NotFoundError, 404);
});

test("a taken slug and a scheme in use are ConflictErrors that name the slug", async () => {
  const taken = await newScheme("taken", [rule]);
  const { app_slug } = await newApp("taken", { rate_limit_scheme_slug: taken.slug });
  const calls = [
    [app_slug, () => apiKeys.createApiAuthApp(bareApp(app_slug))],
    [taken.slug, () => apiKeys.createRateLimitScheme(scheme([rule], taken.slug))],
    [taken.slug, () => apiKeys.deleteRateLimitScheme(taken.slug)],
  ];
  for (const [name, call] of calls) await assertRefused(call, ConflictError, 409, name);
});

test("the package finds the message of our error body itself", () => {
  const error = parseApiError(409, { errors: [{ message: "Taken.", code: 40901 }], message: "Taken." });
  assert.equal(error.constructor, ConflictError);
  assert.equal(error.message, "Taken.");
});
