// Rate-limit schemes: create, get, list, update, delete, with every unit and mode.

import assert from "node:assert/strict";
import { test } from "node:test";
import { apiKeys, NotFoundError } from "@wacht/backend";
import { assertRecent, assertRefused, client, fresh, newScheme } from "./connection.mjs";

test("every unit at its bound is read back as it was written", async () => {
  const longest = {
    millisecond: 60_000,
    second: 1_800,
    minute: 1_440,
    hour: 720,
    day: 30,
    calendar_day: 1,
    month: 1,
    calendar_month: 1,
  };
  const rules = Object.entries(longest).map(([unit, duration]) => ({ unit, duration, max_requests: 2 ** 31 - 1 }));
  const scheme = await newScheme("units", rules);
  assert.deepEqual(scheme.rules, rules);
  assert.deepEqual((await client.apiKeys.getRateLimitScheme(scheme.slug)).rules, rules);
});

test("every mode, with and without endpoints and priority, is read back as it was written", async () => {
  const rules = ["per_app", "per_key", "per_ip", "per_key_and_ip", "per_app_and_ip"].flatMap((mode, at) => [
    { unit: "second", duration: at + 1, max_requests: 10, mode },
    { unit: "minute", duration: at + 1, max_requests: 10, mode, endpoints: ["/v1/*", "/health", "*"], priority: at },
  ]);
  assert.deepEqual((await newScheme("modes", rules)).rules, rules);
});

test("a scheme is created, listed, updated and deleted", async () => {
  const request = {
    slug: fresh("scheme"),
    name: "Burst and day",
    description: "Two rules",
    rules: [
      { unit: "second", duration: 10, max_requests: 5, mode: "per_key" },
      { unit: "day", duration: 1, max_requests: 1_000 },
    ],
  };
  const created = await client.apiKeys.createRateLimitScheme(request);
  assert.match(created.id, /^[1-9]\d*$/);
  assert.match(created.deployment_id, /^[1-9]\d*$/);
  for (const [name, value] of Object.entries(request)) assert.deepEqual(created[name], value, name);
  assertRecent(created.created_at);

  for (const list of [() => client.apiKeys.listRateLimitSchemes(), () => apiKeys.listRateLimitSchemes()]) {
    assert.equal((await list()).filter((scheme) => scheme.slug === request.slug).length, 1);
  }

  const same = await client.apiKeys.updateRateLimitScheme(request.slug, {});
  for (const [name, value] of Object.entries(request)) assert.deepEqual(same[name], value, name);

  const changes = { name: "Hour", description: "One rule", rules: [{ unit: "hour", duration: 1, max_requests: 7 }] };
  const changed = await client.apiKeys.updateRateLimitScheme(request.slug, changes);
  for (const [name, value] of Object.entries(changes)) assert.deepEqual(changed[name], value, name);

  assert.equal(await client.apiKeys.deleteRateLimitScheme(request.slug), undefined);
  await assertRefused(() => client.apiKeys.getRateLimitScheme(request.slug), NotFoundError, 404);
});
