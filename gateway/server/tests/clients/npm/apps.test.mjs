// Apps: create, get, list, update, delete, with every optional argument and field left out and given.

import assert from "node:assert/strict";
import { test } from "node:test";
import { apiKeys, NotFoundError } from "@wacht/backend";
import { assertRecent, assertRefused, bareApp, client, fresh, newApp, newScheme, sentBodies } from "./connection.mjs";

test("an app of required fields answers with the defaults", async () => {
  const slug = fresh("bare");
  const app = await client.apiKeys.createApiAuthApp(bareApp(slug));
  assert.match(app.deployment_id, /^[1-9]\d*$/);
  assert.equal(app.app_slug, slug);
  assert.equal(app.name, "An app");
  assert.equal(app.key_prefix, "sk_live");
  assert.equal(app.is_active, true);
  assert.deepEqual([app.permissions, app.resources, app.rate_limits], [[], [], []]);
  for (const name of ["user_id", "organization_id", "workspace_id", "description", "rate_limit_scheme_slug", "deleted_at"]) {
    assert.equal(app[name] ?? null, null, name);
  }
  assertRecent(app.created_at);
  assertRecent(app.updated_at);
});

test("an app of all fields is read back as it was written", async () => {
  const rules = [{ unit: "minute", duration: 1, max_requests: 60, mode: "per_ip" }];
  const scheme = await newScheme("app-scheme", rules);
  const request = {
    ...bareApp(fresh("full")),
    organization_id: 101,
    workspace_id: "202",
    description: "Invoices, read and write",
    rate_limit_scheme_slug: scheme.slug,
    permissions: ["invoices:read", "invoices:write"],
    resources: ["invoices/*"],
  };
  const created = await client.apiKeys.createApiAuthApp(request);
  const read = await client.apiKeys.getApiAuthApp(request.app_slug);
  const readGlobally = await apiKeys.getApiAuthApp(request.app_slug);
  for (const app of [created, read, readGlobally]) {
    const { organization_id, workspace_id, ...asWritten } = request;
    assert.deepEqual([app.organization_id, app.workspace_id], ["101", "202"], "ids are answered as strings");
    for (const [name, value] of Object.entries(asWritten)) assert.deepEqual(app[name], value, name);
    assert.deepEqual(app.rate_limits, rules, "what the author left out stays left out");
  }
});

test("an app of a user takes the user as number and as string", async () => {
  assert.equal((await newApp("user", { user_id: 7 })).user_id, "7");
  assert.equal((await newApp("user", { user_id: "9007199254740993" })).user_id, "9007199254740993");
});

test("an update changes what it names and nothing else", async () => {
  const scheme = await newScheme("update-scheme", [{ unit: "hour", duration: 1, max_requests: 500 }]);
  const { app_slug } = await newApp("update");
  const changes = {
    organization_id: "11",
    workspace_id: "12",
    name: "Renamed",
    key_prefix: "pk_live",
    description: "Described",
    is_active: true,
    rate_limit_scheme_slug: scheme.slug,
    permissions: ["a"],
    resources: ["b/*"],
  };
  const updated = await client.apiKeys.updateApiAuthApp(app_slug, changes);
  const untouched = await client.apiKeys.updateApiAuthApp(app_slug, {});
  for (const app of [updated, untouched]) {
    for (const [name, value] of Object.entries(changes)) assert.deepEqual(app[name], value, name);
    assert.equal(app.rate_limits.length, 1);
  }

  const cleared = await client.apiKeys.updateApiAuthApp(app_slug, {
    description: "",
    rate_limit_scheme_slug: "",
    permissions: [],
    resources: [],
  });
  assert.deepEqual([cleared.permissions, cleared.resources, cleared.rate_limits], [[], [], []]);
  assert.equal(cleared.rate_limit_scheme_slug ?? null, null);
  assert.equal(cleared.description ?? "", "");
  assert.equal(cleared.name, "Renamed");
});

test("the list leaves out inactive apps unless asked", async () => {
  const active = (await newApp("listed")).app_slug;
  const inactive = (await newApp("hidden")).app_slug;
  const switchedOff = await client.apiKeys.updateApiAuthApp(inactive, { is_active: false });
  assert.equal(switchedOff.is_active, false);

  const lists = [
    [() => client.apiKeys.listApiAuthApps(), false],
    [() => client.apiKeys.listApiAuthApps({}), false],
    [() => client.apiKeys.listApiAuthApps({ include_inactive: false }), false],
    [() => client.apiKeys.listApiAuthApps({ include_inactive: true }), true],
    [() => apiKeys.listApiAuthApps(undefined, client), false],
    [() => apiKeys.listApiAuthApps(), false],
  ];
  for (const [list, expected] of lists) {
    const slugs = (await list()).map((app) => app.app_slug);
    assert.ok(slugs.includes(active), `${list} lists the active app`);
    assert.equal(slugs.includes(inactive), expected, `${list} and the inactive app`);
  }
});

test("a deleted app is gone and its slug is free", async () => {
  const { app_slug } = await newApp("deleted");
  assert.equal(await client.apiKeys.deleteApiAuthApp(app_slug), undefined);
  await assertRefused(() => client.apiKeys.getApiAuthApp(app_slug), NotFoundError, 404);
  const again = await client.apiKeys.createApiAuthApp(bareApp(app_slug));
  assert.equal(again.is_active, true);
});

test("a client object in place of a request is refused for what it lacks, not for what it has", async () => {
  await assert.rejects(client.apiKeys.createApiAuthApp(), { name: "ValidationError", statusCode: 400 });
  assert.ok(sentBodies.some((body) => body?.includes("defaultHeaders")), "the package sent its own client");
});
